"""Maps that mean nothing because the forward pass left the range of its type, and why.

A mask of a ReLU, or any other coefficient of the derivative, is made of values. Where these are NaN, infinite, or zero
only because they are too small for their type, so is what is made of them: the map says nothing, and its unit is not dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.base.compiler import jit
from jaxrf.engine.run import Pullback
from jaxrf.equations.program import Equation
from jaxrf.primitives import rules

IMAGES = "NaN or infinity in their images"
OVERFLOW = "values of the forward pass that are NaN or infinite, as where it overflows"
UNDERFLOW = "a forward pass that underflows to zero"


class Lost:
    """Finds lost maps of one prepared pull-back."""

    def __init__(self, pullback: Pullback) -> None:
        self.pullback = pullback

    @cached_property
    def curved(self) -> bool:
        """Whether the derivative depends on the image at all; if not, no value of the forward pass can spoil it."""
        windows = self.pullback.windows
        return any(v in windows.varying for v in windows.coefficients())

    def marked(
        self, maps: np.ndarray, values: np.ndarray, images: np.ndarray, leaves: Sequence[jax.Array]
    ) -> tuple[np.ndarray, dict[str, int]]:
        """The maps, with NaN throughout those that are lost, and how many were lost for what cause.

        Args:
            maps: (image, unit, *spatial).
            values: (image, unit, channel), forward values of the units; of all that were pooled where they were.
            images: (image, ...), as the program took them.
            leaves: the model's variables.
        """
        if not self.curved or not values.shape[-1]:
            return maps, {}
        broken, silent = np.any(~np.isfinite(values), axis=-1), np.all(values == 0, axis=-1)
        if self.pullback.pool is not None:
            broken, silent = np.any(broken, 1, keepdims=True), np.all(silent, 1, keepdims=True)
        if silent.any():
            low, high = self._out_of_range(leaves, images)
            silent, broken = silent & low[:, None] & ~high[:, None], broken | silent & high[:, None]
        seen = np.all(np.isfinite(images.reshape(len(images), -1)), axis=1, keepdims=True)
        found = {IMAGES: broken & ~seen, OVERFLOW: broken & seen, UNDERFLOW: silent}
        lost = np.logical_or.reduce(list(found.values()))
        if lost.any():
            maps = np.where(lost.reshape(*lost.shape, *[1] * (maps.ndim - 2)), np.nan, maps)
        return maps, {cause: int(where.sum()) for cause, where in found.items() if where.any()}

    def _out_of_range(self, leaves: Sequence[jax.Array], images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Say for each image whether a product of operands that are not zero is too small for its type all over, or too large."""
        shape = self.pullback.program.image.shape
        low, high = (np.asarray(a) for a in self._extremes(leaves, images.reshape(-1, *shape)))
        return np.repeat(low, shape[0])[: len(images)], np.repeat(high, shape[0])[: len(images)]

    @cached_property
    def _extremes(self) -> Any:
        program = self.pullback.program
        products = [
            e
            for e in program.needed(self.pullback.windows.coefficients())
            if _multiplies(e) and e.result in program.image_dependent
        ]
        wanted = list(dict.fromkeys(v for e in products for v in (*e.operands, *e.results)))

        def one(leaves: list[jax.Array], image: jax.Array) -> tuple[jax.Array, jax.Array]:
            values = program.evaluate(wanted, {**dict(zip(program.arguments, leaves)), program.image: image})
            largest = {v: jnp.abs(x).max(initial=0) for v, x in zip(wanted, values)}
            low, high = jnp.zeros((), bool), jnp.zeros((), bool)
            for e in products:
                factors = [v for v in e.operands if jnp.issubdtype(v.dtype, jnp.inexact)]
                there = jnp.array([largest[v] > 0 for v in factors]).all()
                low |= there & (largest[e.result] < jnp.finfo(e.result.dtype).tiny)
                high |= ~jnp.isfinite(largest[e.result])
            return low, high

        return jit(jax.vmap(one, in_axes=(None, 0)), quick=True)

    def undecided(self, leaves: Sequence[jax.Array], images: np.ndarray) -> float:
        """Share of the numbers in the derivative at one image that are made of values too small for their type, 0 to 1.

        In a second forward pass products are rounded away from zero where all of their terms are below the smallest
        normal number. A number of the derivative counts where both passes differ by more than a thousandth of the largest beside
        it, as the mask of a ReLU does: one that is as small itself, or has a bias of usual size added, does not.
        Costs four forward passes.
        """
        return float(self._shares(leaves, images)) if self.curved else 0.0

    @cached_property
    def _shares(self) -> Any:
        program, windows = self.pullback.program, self.pullback.windows
        wanted = [v for v in windows.coefficients() if v in windows.varying]

        def share(leaves: list[jax.Array], images: jax.Array) -> jax.Array:
            known = {**dict(zip(program.arguments, leaves)), program.image: images}
            pairs = zip(program.evaluate(wanted, known), program.evaluate(wanted, known, _away_from_zero))
            changed = [_differing(a, b) for a, b in pairs]
            return jnp.stack([c.mean() for c in changed if c.size] or [jnp.zeros(())]).max()

        return jit(share, quick=True)


def _differing(a: jax.Array, b: jax.Array) -> jax.Array:
    if not jnp.issubdtype(a.dtype, jnp.inexact):
        return a != b
    return jnp.abs(b - a) > 1e-3 * jnp.abs(a).max(initial=0)


def _away_from_zero(equation: Equation, values: Sequence[jax.Array]) -> list[jax.Array] | None:
    """A product, with the smallest normal number where all of its terms are too small; None for other equations.

    Its sign is that of the product of fourth roots, which has these terms within range.
    """
    if not _multiplies(equation):
        return None
    (plain,), (size,), (sign,) = (equation.evaluate(*map(f, values)) for f in (jnp.asarray, _magnitude, _root))
    tiny = jnp.finfo(plain.dtype).tiny
    return [jnp.where((jnp.abs(size) < tiny) & (sign != 0), jnp.sign(sign) * tiny, plain)]


def _magnitude(value: jax.Array) -> jax.Array:
    return jnp.abs(value) if jnp.issubdtype(value.dtype, jnp.floating) else value


def _root(value: jax.Array) -> jax.Array:
    """The fourth root of magnitudes, with their signs."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return value
    return jnp.sign(value) * jnp.sqrt(jnp.sqrt(jnp.abs(value)))


def _multiplies(equation: Equation) -> bool:
    """Whether an equation of the forward pass multiplies values, by the rule of its primitive."""
    if equation.primitive not in rules or not np.issubdtype(equation.result.dtype, np.floating):
        return False
    return any(rules[equation.primitive].powers(equation, i) for i in range(len(equation.operands)))
