"""Max-pooling on windows as a maximum of shifted slices: who won, and the pull-back to the winners."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax


@dataclass(frozen=True)
class PoolingSpec:
    """The static side of a pooling over all axes of an array."""

    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]

    def shifts(self) -> Iterator[tuple[int, ...]]:
        """Positions inside the window, in the order in which XLA visits them."""
        return itertools.product(*(range(0, k * d, d) for k, d in zip(self.window, self.dilation)))


def shifted(x: jax.Array, shift: tuple[int, ...], strides: tuple[int, ...], sizes: tuple[int, ...]) -> jax.Array:
    """What each of the `sizes` windows holds at `shift`."""
    stops = [a + (n - 1) * s + 1 for a, s, n in zip(shift, strides, sizes)]
    return lax.slice(x, shift, stops, strides)


def max_gradient(ct: jax.Array, x: jax.Array, spec: PoolingSpec) -> jax.Array:
    """Pull `ct` back to the shape of `x`, each element to the first maximum of its window.

    `x` already holds the padding (minus infinity); a window of a wholly padded place passes nothing that is kept.
    """
    best, owner = None, None
    for k, shift in enumerate(spec.shifts()):
        value = shifted(x, shift, spec.strides, ct.shape)
        if best is None:
            best, owner = value, jnp.zeros(value.shape, jnp.int32)
        else:
            wins = value > best
            best, owner = jnp.where(wins, value, best), jnp.where(wins, k, owner)
    pulled = jnp.zeros(x.shape, ct.dtype)
    for k, shift in enumerate(spec.shifts()):
        part = jnp.where(owner == k, ct, jnp.zeros((), ct.dtype))
        pulled = pulled + spread(part, shift, spec.strides, x.shape)
    return pulled


def sum_gradient(ct: jax.Array, spec: PoolingSpec, shape: tuple[int, ...]) -> jax.Array:
    """Pull the cotangent of a window sum back to `shape`: every place of a window gets its cotangent."""
    config = []
    for axis, size in enumerate(shape):
        reach = (spec.window[axis] - 1) * spec.dilation[axis]
        dilated = (ct.shape[axis] - 1) * spec.strides[axis] + 1
        config.append((reach, size - dilated, spec.strides[axis] - 1))
    wide = lax.pad(ct, jnp.zeros((), ct.dtype), config)
    ones = (1,) * len(shape)
    return lax.reduce_window(
        wide, jnp.zeros((), ct.dtype), lax.add, spec.window, ones, "VALID", window_dilation=spec.dilation
    )


def spread(part: jax.Array, shift: tuple[int, ...], strides: tuple[int, ...], shape: tuple[int, ...]) -> jax.Array:
    """The transpose of `shifted`."""
    config = [
        (a, n - a - ((m - 1) * s + 1), s - 1) for a, s, m, n in zip(shift, strides, part.shape, shape)
    ]
    return lax.pad(part, jnp.zeros((), part.dtype), config)
