"""Pooling as shifted slices, one axis after the other: maxima, sums, and what pulls their cotangents back.

A window of 3 x 3 is thus 3 + 3 comparisons instead of 9, each of them one pass without branches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from jaxrf.base.platforms import traits

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


def winners(x: jax.Array, spec: PoolingSpec) -> tuple[jax.Array, ...]:
    """Where in each window of `x`, padded with minus infinity, its first maximum is: a position for each of `spec.axes`.

    The first one of a window, in row-major order, is in the first row that has the maximum, and the first there.
    So the winners along the last axis, with their places, compete along the one before.
    """
    places: list[jax.Array] = []
    for axis in spec.axes:
        best = shifted(x, spec, axis, 0)
        place = jnp.zeros(best.shape, jnp.int8 if spec.window[axis] < 128 else jnp.int32)
        inner = [shifted(p, spec, axis, 0) for p in places]
        for k, at in enumerate(spec.shifts(axis)[1:], start=1):
            value = shifted(x, spec, axis, at)
            wins = value > best
            best, place = jnp.where(wins, value, best), jnp.where(wins, place.dtype.type(k), place)
            inner = [jnp.where(wins, shifted(p, spec, axis, at), old) for p, old in zip(places, inner)]
        x, places = best, [place, *inner]
    return tuple(reversed(places))


def max_gradient(ct: jax.Array, owners: tuple[jax.Array, ...], spec: PoolingSpec, sizes: tuple[int, ...]) -> jax.Array:
    """Pull `ct` back to `sizes`, each element to the owner of its window, which is what `winners` found.

    Along the first axis the cotangents go to the row of their winner, and its place in that row goes with them: windows
    whose winners lie in one place of a row agree on it. The array is padded as `winners` knew it.
    """
    places = list(reversed(owners))
    for axis in reversed(spec.axes):
        owner, *inner = places
        places = [_spread(place, owner, spec, axis, sizes[axis], jnp.maximum) for place in inner]
        ct = _spread(ct, owner, spec, axis, sizes[axis])
    return ct


def sum_gradient(ct: jax.Array, spec: PoolingSpec, shape: tuple[int, ...]) -> jax.Array:
    """Pull the cotangent of a window sum back to `shape`: every place of a window gets its cotangent."""
    for axis in reversed(spec.axes):
        ct = _spread(ct, None, spec, axis, shape[axis])
    return ct


def _spread(
    ct: jax.Array,
    owner: jax.Array | None,
    spec: PoolingSpec,
    axis: int,
    size: int,
    join: Callable[[jax.Array, jax.Array], jax.Array] = jnp.add,
) -> jax.Array:
    """From windows along `axis` to `size` positions: position `at` of a window gets its cotangent.

    With an `owner`, only the position that it names does. What several windows give to a position is joined.
    Done by phases: with stride s, position s q + t is at place t, t + s, ... of windows q, q - 1, ...
    """
    stride, shifts = spec.strides[axis], spec.shifts(axis)
    holes = traits().pads_fuse
    if shifts == range(stride) and not holes:
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
        phases[at % stride] = part if phases[at % stride] is none else join(phases[at % stride], part)
    if stride == 1:
        return lax.slice_in_dim(phases[0], 0, size, axis=axis)
    if holes:
        return _alternating(phases, none, axis, size)
    mixed = jnp.stack(phases, axis + 1).reshape(*ct.shape[:axis], count * stride, *ct.shape[axis + 1 :])
    return lax.slice_in_dim(mixed, 0, size, axis=axis)


def _alternating(phases: list[jax.Array], none: jax.Array, axis: int, size: int) -> jax.Array:
    """Position s q + t of the result is position q of phase t, of s phases; those that are `none` are zero."""
    zero, total = jnp.zeros((), none.dtype), None
    for number, phase in enumerate(phases):
        if phase is none:
            continue
        config = [(0, 0, 0)] * phase.ndim
        length = (phase.shape[axis] - 1) * len(phases) + 1
        config[axis] = (number, size - number - length, len(phases) - 1)
        part = lax.pad(phase, zero, config)
        total = part if total is None else total + part
    assert total is not None
    return total


def _repeat(ct: jax.Array, owner: jax.Array | None, stride: int, axis: int, size: int) -> jax.Array:
    """`_spread` for windows side by side: each position gets from one window, without a sum."""
    mixed = _stretched(ct, stride, axis)
    if owner is not None:
        owner = _stretched(owner, stride, axis)
        place = lax.broadcasted_iota(owner.dtype, owner.shape, axis + 1)
        mixed = jnp.where(owner == place, mixed, jnp.zeros((), ct.dtype))
    mixed = mixed.reshape(*ct.shape[:axis], -1, *ct.shape[axis + 1 :])
    config = [(0, 0, 0)] * ct.ndim
    config[axis] = (0, size - mixed.shape[axis], 0)
    return lax.pad(mixed, jnp.zeros((), ct.dtype), config)


def _stretched(a: jax.Array, stride: int, axis: int) -> jax.Array:
    """Each element `stride` times, along a new axis behind `axis`."""
    wide = (*a.shape[: axis + 1], stride, *a.shape[axis + 1 :])
    return lax.broadcast_in_dim(a, wide, [at + (at > axis) for at in range(a.ndim)])
