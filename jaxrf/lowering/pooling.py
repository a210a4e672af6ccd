"""Pooling as shifted slices, one axis after the other: maxima, sums, and what pulls their cotangents back.

A window of 3 x 3 is thus 3 + 3 comparisons instead of 9, each of them one pass without branches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

# Each position of a window is an operation of the program; longer ones are left to XLA.
MOST_SHIFTS = 64


@dataclass(frozen=True)
class PoolingSpec:
    """The static side of a pooling over all axes of an array, whose padding it already holds."""

    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def axes(self) -> list[int]:
        """The axes along which anything happens, the last first."""
        moved = zip(self.window, self.strides)
        return [axis for axis, (k, s) in enumerate(moved) if k > 1 or s > 1][::-1]

    def shifts(self, axis: int) -> range:
        """Positions of the window along `axis`."""
        return range(0, self.window[axis] * self.dilation[axis], self.dilation[axis])


def max_pool_forward(x: jax.Array, spec: PoolingSpec) -> jax.Array:
    """The maximum of each window of `x`, which already holds the padding (minus infinity); NaN where it holds one."""
    return _pool(x, spec, jnp.maximum)


def min_pool_forward(x: jax.Array, spec: PoolingSpec) -> jax.Array:
    """The minimum of each window of `x`, which already holds the padding (infinity); NaN where it holds one."""
    return _pool(x, spec, jnp.minimum)


def sum_pool_forward(x: jax.Array, spec: PoolingSpec) -> jax.Array:
    """The sum of each window of `x`, which already holds the padding (zeros)."""
    return _pool(x, spec, jnp.add)


def _pool(x: jax.Array, spec: PoolingSpec, join: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
    for axis in spec.axes:
        parts = [shifted(x, spec, axis, at) for at in spec.shifts(axis)]
        x = parts[0]
        for part in parts[1:]:
            x = join(x, part)
    return x


def shifted(x: jax.Array, spec: PoolingSpec, axis: int, at: int) -> jax.Array:
    """What each window along `axis` holds at its position `at`."""
    count = (x.shape[axis] - spec.shifts(axis)[-1] - 1) // spec.strides[axis] + 1
    return lax.slice_in_dim(x, at, at + max((count - 1) * spec.strides[axis] + 1, 0), spec.strides[axis], axis)


def max_gradient(ct: jax.Array, x: jax.Array, spec: PoolingSpec) -> jax.Array:
    """Pull `ct` back to the shape of `x`, each element to the first maximum of its window.

    The first one of a window, in row-major order, is in the first row that has the maximum, and the first there.
    So the winners along the last axis compete along the one before, and the cotangents go the same way back.
    `x` already holds the padding (minus infinity); a window of a wholly padded place passes nothing that is kept.
    """
    steps: list[tuple[int, int, jax.Array]] = []
    for axis in spec.axes:
        best, owner = _first_maximum(x, spec, axis)
        steps.append((axis, x.shape[axis], owner))
        x = best
    for axis, size, owner in reversed(steps):
        ct = _spread(ct, owner, spec, axis, size)
    return ct


def _first_maximum(x: jax.Array, spec: PoolingSpec, axis: int) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window along `axis`, and which of its positions has it first."""
    best = shifted(x, spec, axis, 0)
    owner = jnp.zeros(best.shape, jnp.int8 if spec.window[axis] < 128 else jnp.int32)
    for k, at in enumerate(spec.shifts(axis)[1:], start=1):
        value = shifted(x, spec, axis, at)
        wins = value > best
        best, owner = jnp.where(wins, value, best), jnp.where(wins, owner.dtype.type(k), owner)
    return best, owner


def sum_gradient(ct: jax.Array, spec: PoolingSpec, shape: tuple[int, ...]) -> jax.Array:
    """Pull the cotangent of a window sum back to `shape`: every place of a window gets its cotangent."""
    for axis in reversed(spec.axes):
        ct = _spread(ct, None, spec, axis, shape[axis])
    return ct


def _spread(ct: jax.Array, owner: jax.Array | None, spec: PoolingSpec, axis: int, size: int) -> jax.Array:
    """From windows along `axis` to `size` positions: position `at` of a window gets its cotangent.

    With an `owner`, only the position that it names does.
    Done by phases: with stride s, position s q + t is at place t, t + s, ... of windows q, q - 1, ...
    """
    stride, shifts = spec.strides[axis], spec.shifts(axis)
    if shifts == range(stride):
        return _repeat(ct, owner, stride, axis, size)
    count, reach = -(-size // stride), shifts[-1] // stride
    config = [(0, 0, 0)] * ct.ndim
    config[axis] = (reach, count - ct.shape[axis], 0)
    ct = lax.pad(ct, jnp.zeros((), ct.dtype), config)
    owner = None if owner is None else lax.pad(owner, jnp.zeros((), owner.dtype), config)
    none = jnp.zeros((*ct.shape[:axis], count, *ct.shape[axis + 1 :]), ct.dtype)
    phases = [none] * stride
    for k, at in enumerate(shifts):
        first = reach - at // stride
        part = lax.slice_in_dim(ct, first, first + count, axis=axis)
        if owner is not None:
            part = jnp.where(lax.slice_in_dim(owner, first, first + count, axis=axis) == k, part, none)
        phases[at % stride] = part if phases[at % stride] is none else phases[at % stride] + part
    if stride == 1:
        return lax.slice_in_dim(phases[0], 0, size, axis=axis)
    mixed = jnp.stack(phases, axis + 1).reshape(*ct.shape[:axis], count * stride, *ct.shape[axis + 1 :])
    return lax.slice_in_dim(mixed, 0, size, axis=axis)


def _repeat(ct: jax.Array, owner: jax.Array | None, stride: int, axis: int, size: int) -> jax.Array:
    """`_spread` for windows side by side: each position gets from one window, without a sum."""
    wide = (*ct.shape[: axis + 1], stride, *ct.shape[axis + 1 :])
    mixed = lax.broadcast_in_dim(ct, wide, [a + (a > axis) for a in range(ct.ndim)])
    if owner is not None:
        place = lax.broadcasted_iota(owner.dtype, wide, axis + 1)
        owner = lax.broadcast_in_dim(owner, wide, [a + (a > axis) for a in range(ct.ndim)])
        mixed = jnp.where(owner == place, mixed, jnp.zeros((), ct.dtype))
    mixed = mixed.reshape(*ct.shape[:axis], -1, *ct.shape[axis + 1 :])
    config = [(0, 0, 0)] * ct.ndim
    config[axis] = (0, size - mixed.shape[axis], 0)
    return lax.pad(mixed, jnp.zeros((), ct.dtype), config)
