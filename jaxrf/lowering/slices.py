"""Pooling as shifted slices, one axis after the other: maxima, sums, and the way back through them.

A window of 3 x 3 is thus 3 + 3 comparisons instead of 9, each of them one pass without branches.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxrf.lowering.laying import laid
from jaxrf.lowering.pooling import FILLS, PoolingLowering, PoolingProblem, PoolingSpec, poolings

Join = Callable[[jax.Array, jax.Array], jax.Array]
JOINS: dict[str, Join] = {"max": jnp.maximum, "min": jnp.minimum, "sum": jnp.add}
# Each position of a window is an operation of the program; longer ones are left to XLA.
MOST_SHIFTS = 64


class Shifts(PoolingLowering):
    """Forward: the array shifted by each position of the window, joined, one axis after the other; NaN is kept."""

    def applies(self, problem):
        spec = problem.spec
        some = 0 not in problem.image and 0 not in problem.result
        return (
            not problem.back and some and max(spec.holes, default=1) == 1 and max(spec.window, default=1) <= MOST_SHIFTS
        )

    def run(self, x, winners, problem):
        spec, join = problem.spec, JOINS[problem.join]
        x = _padded(x, FILLS[problem.join], spec)
        for axis in spec.axes:
            parts = [shifted(x, spec, axis, at) for at in spec.shifts(axis)]
            x = parts[0]
            for part in parts[1:]:
                x = join(x, part)
        return x


def _padded(x: jax.Array, fill: float, spec: PoolingSpec) -> jax.Array:
    config = [(lo, hi, 0) for lo, hi in spec.padding]
    return lax.pad(x, jnp.asarray(fill, x.dtype), config) if any(map(any, config)) else x


def shifted(x: jax.Array, spec: PoolingSpec, axis: int, at: int) -> jax.Array:
    """What each window along `axis` holds at its position `at`."""
    count = (x.shape[axis] - spec.shifts(axis)[-1] - 1) // spec.strides[axis] + 1
    return lax.slice_in_dim(x, at, at + max((count - 1) * spec.strides[axis] + 1, 0), spec.strides[axis], axis)


def winners(x: jax.Array, problem: PoolingProblem) -> tuple[jax.Array, ...]:
    """Where in each window of `x` its first maximum is (minimum, by `join`): a position for each of the spec's `axes`.

    The first one of a window, in row-major order, is in the first row that has the maximum, and the first there.
    So the winners along the last axis, with their places, compete along the one before.
    """
    spec, places = problem.spec, []
    x = _padded(x if problem.join == "max" else -x, FILLS["max"], spec)
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


class Back(PoolingLowering):
    """Back through a pooling, by phases: with stride s, position s q + t is at place t, t + s, ... of windows q, q - 1, ...

    The results of the phases then alternate along the axis; how they are `mixed` is what such ways differ in.
    With winners, the cotangents go along the first axis to the row of their winner, and its place in that row goes with them:
    windows whose winners lie in one place of a row agree on it.
    """

    def applies(self, problem):
        return problem.back and max(problem.spec.holes, default=1) == 1

    def run(self, x, winners, problem):
        spec, sizes = problem.spec, problem.spec.padded(problem.image)
        places = list(reversed(winners))
        for axis in reversed(spec.axes):
            owner, inner = (places[0], places[1:]) if places else (None, [])
            places = [self.spread(place, owner, spec, axis, sizes[axis], jnp.maximum) for place in inner]
            x = self.spread(x, owner, spec, axis, sizes[axis])
        return laid(x, [(-lo, -hi, 0) for lo, hi in spec.padding])

    def spread(
        self, ct: jax.Array, owner: jax.Array | None, spec: PoolingSpec, axis: int, size: int, join: Join = jnp.add
    ) -> jax.Array:
        """Bring windows along `axis` to `size` positions: position `at` of a window gets its cotangent.

        With an `owner`, only the position that it names does. What several windows give to a position is joined.
        """
        stride, shifts = spec.strides[axis], spec.shifts(axis)
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
        return self.mixed(phases, none, axis, size)

    @abstractmethod
    def mixed(self, phases: list[jax.Array], none: jax.Array, axis: int, size: int) -> jax.Array:
        """`size` positions, of which s q + t is position q of phase t, of s phases; those that are `none` are zero."""


class Stack(Back):
    """Phases side by side along a new axis, which is then merged; windows side by side have no phases, but copies."""

    def spread(self, ct, owner, spec, axis, size, join=jnp.add):
        if spec.shifts(axis) == range(spec.strides[axis]):
            return _repeat(ct, owner, spec.strides[axis], axis, size)
        return super().spread(ct, owner, spec, axis, size, join)

    def mixed(self, phases, none, axis, size):
        merged = (*none.shape[:axis], none.shape[axis] * len(phases), *none.shape[axis + 1 :])
        return lax.slice_in_dim(jnp.stack(phases, axis + 1).reshape(merged), 0, size, axis=axis)


class Pads(Back):
    """Each phase padded with holes, and their sum."""

    def mixed(self, phases, none, axis, size):
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
    """`spread` for windows side by side: each position gets from one window, without a sum."""
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


poolings.register("shifts")(Shifts())
poolings.register("stack")(Stack())
poolings.register("pads")(Pads())
