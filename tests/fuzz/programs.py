"""Random programs: two to five steps drawn from a table, on images of one to three axes, in any layout.

Whoever looks at a program from outside sees only a function of arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from tests.fuzz.grid import FEATURES, IMAGES, Grid, Weights
from tests.fuzz.steps import STEPS, Step

LARGEST = 260
"""Elements of one image that a step may make."""


@dataclass(frozen=True)
class Program:
    """A random program: `function(variables, images)`.

    Attributes:
        seed: its number, which says all of it.
        input_shape: of one image.
        axes: what the axes of the batched input are.
        named: whether the weights are variables; else they are constants.
    """

    seed: int
    input_shape: tuple[int, ...]
    axes: tuple[Any, ...]
    named: bool

    @staticmethod
    def number(seed: int) -> Program:
        draw = np.random.default_rng([seed, 0])
        sizes = [(17,), (7, 6), (4, 3, 5)][draw.integers(3)]
        channels, where = int(draw.integers(1, 4)), range(len(sizes))
        if draw.random() < 0.3:
            return Program(seed, (channels, *sizes), (IMAGES, FEATURES, *where), bool(draw.integers(2)))
        return Program(seed, (*sizes, channels), (IMAGES, *where, FEATURES), bool(draw.integers(2)))

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        return tuple(a for a, kind in enumerate(self.axes) if kind not in (IMAGES, FEATURES))

    def run(self, images: jax.Array, weights: Weights) -> tuple[Grid, list[str]]:
        """The output, and the names of the steps that led to it."""
        draw = np.random.default_rng([self.seed, 1])
        grid, names = Grid(images, self.axes), []
        for _ in range(draw.integers(2, 6)):
            name = str(draw.choice(list(STEPS)))
            seed = int(draw.integers(2**32))
            if self._fits(STEPS[name], grid, seed):
                grid = STEPS[name](grid, np.random.default_rng(seed), weights)
                names.append(name)
        return grid, names

    def _fits(self, act: Step, grid: Grid, seed: int) -> bool:
        """Whether a step leaves at least two positions along each axis, and not too much."""
        draw, weights = np.random.default_rng(seed), Weights(grid.array.dtype)
        shape = jax.eval_shape(lambda x: act(grid.holding(x), draw, weights).last().array, grid.array).shape
        return 0 not in shape and min(shape[1:-1]) >= 2 and np.prod(shape[1:]) <= LARGEST

    def function(self, variables: Sequence[jax.Array] | None, images: jax.Array) -> jax.Array:
        return self.run(images, Weights(images.dtype, variables))[0].array

    def look(self, dtype: Any) -> tuple[tuple[Any, ...], list[str], list[np.ndarray]]:
        """What the axes of the output are, the names of the steps, and the weights that they draw."""
        weights, seen = Weights(dtype), []

        def collect(images: jax.Array) -> None:
            seen.append(self.run(images, weights))

        jax.eval_shape(collect, jax.ShapeDtypeStruct((1, *self.input_shape), dtype))
        grid, names = seen[-1]
        return grid.axes, names, weights.made
