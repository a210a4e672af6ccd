"""Arrays that know what their axes are, the weights of a random program, and a convolution in any layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
from jax import lax

IMAGES, FEATURES = "n", "c"


@dataclass(frozen=True)
class Grid:
    """An array; `axes` says what each of its axes is: images, features, or the number of a spatial axis of the input."""

    array: jax.Array
    axes: tuple[Any, ...]

    @property
    def spatial(self) -> list[int]:
        """Places of the spatial axes, in the order of the input's."""
        return [self.axes.index(k) for k in range(len(self.axes) - 2)]

    @property
    def features(self) -> int:
        return self.axes.index(FEATURES)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of positions, in the order of the input's axes."""
        return tuple(self.array.shape[a] for a in self.spatial)

    @property
    def channels(self) -> int:
        return self.array.shape[self.features]

    def holding(self, array: jax.Array) -> Grid:
        return replace(self, array=array)

    def ordered(self, *axes: Any) -> Grid:
        """The same with its axes in another order."""
        return Grid(self.array.transpose([self.axes.index(a) for a in axes]), axes)

    def last(self) -> Grid:
        """Images first, features last, the spatial axes between in their order."""
        return self.ordered(IMAGES, *range(len(self.axes) - 2), FEATURES)


@dataclass
class Weights:
    """Normal weights, each drawn once: constants of the program, or its variables where they are `given`."""

    dtype: Any
    given: Sequence[jax.Array] | None = None
    made: list[np.ndarray] = field(default_factory=list)

    def __call__(self, draw: np.random.Generator, *shape: int, terms: int = 1) -> Any:
        value = (draw.standard_normal(shape) / np.sqrt(terms)).astype(self.dtype)
        self.made.append(value)
        return value if self.given is None else self.given[len(self.made) - 1]


def some(draw: np.random.Generator, low: int, high: int, n: int) -> list[int]:
    return draw.integers(low, high, n).tolist()


def convolved(g: Grid, kernel: Any, groups: int = 1, **options: Any) -> Grid:
    """A convolution by `kernel` (out, in, *spatial) in the grid's own layout."""
    d = len(g.spatial)
    spec = (g.axes.index(IMAGES), g.features, *g.spatial)
    numbers = lax.ConvDimensionNumbers(spec, tuple(range(d + 2)), spec)
    options = {"window_strides": (1,) * d, "padding": "SAME"} | options
    return g.holding(
        lax.conv_general_dilated(g.array, kernel, dimension_numbers=numbers, feature_group_count=groups, **options)
    )


def same(g: Grid, draw: np.random.Generator, weights: Weights, channels: int | None = None, most: int = 4) -> Grid:
    """A convolution that keeps the positions, and the features if `channels` is None."""
    taps = some(draw, 1, most, len(g.spatial))
    out = g.channels if channels is None else channels
    return convolved(g, weights(draw, out, g.channels, *taps, terms=g.channels * int(np.prod(taps))))
