"""Continuations: found in the elements of a field, shortened, and carried through a change of axes.

Numbers only: nothing here knows of relations, models or JAX.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from jaxrf.geometry.field import Continuation, Field, Paths

Shape = tuple[int, ...]


def plausible(lo: np.ndarray, hi: np.ndarray, endless: tuple[np.ndarray, np.ndarray], extent: int) -> bool:
    """Whether intervals can be those of an `endless` pattern that was cut at the ends of an axis of `extent` positions.

    Those that the pattern has inside must be the same. Most of the others must be what clipping or clamping leaves:
    a reflected or wrapped border may differ, but it is the smaller part.

    >>> at = np.arange(4)
    >>> plausible(np.array([0, 0, 1, 2]), np.array([1, 2, 3, 4]), (at - 1, at + 1), 4)
    True
    >>> plausible(np.array([0, 2, 0, 2]), np.array([2, 4, 2, 4]), (2 * at, 2 * at + 2), 4)         # two rows of tokens
    False
    """
    first, stop = endless
    inside = (first >= 0) & (stop <= extent)
    same = (first == lo) & (stop == hi)
    cut = (np.maximum(first, 0) <= lo) & (hi <= np.minimum(stop, extent))
    clamped = (np.clip(first, 0, extent - 1) == lo) & (np.clip(stop, 1, extent) == hi)
    fits = np.where(inside, same, cut | clamped | (lo >= hi))
    return bool(fits[inside].all()) and int(fits.sum()) * 2 > len(lo)


def refit(field: Field, shape: Shape) -> Field:
    """The field with a continuation read off its inner elements, where they repeat along exactly one axis."""
    varying = [axis for axis, size in enumerate(np.broadcast_shapes(field.lo.shape, field.hi.shape)) if size > 1]
    if len(varying) != 1:
        return field
    axis = varying[0]
    full = [1] * len(shape)
    full[axis] = shape[axis]
    lo, hi = (np.broadcast_to(a, full).ravel() for a in (field.lo, field.hi))
    for period in range(1, max(1, len(lo) // 4) + 1):
        found = repeated(lo, hi, field.extent, period)
        if found is not None:
            step, rows = found
            first, stop = extended(lo, hi, rows, step, np.arange(period))
            full[axis] = period
            continuation = Continuation(axis, period, step, first.reshape(full), stop.reshape(full))
            return replace(field, continuation=continuation, along=())
    return field


def repeated(lo: np.ndarray, hi: np.ndarray, extent: int, period: int) -> tuple[int, np.ndarray] | None:
    """Find by how much intervals move on in `period` elements, and an inner element of each phase, if they do so.

    Ask for periods of up to a quarter of the elements: an odd resize nearly repeats, and fewer do not tell it apart.
    Inner intervals touch neither end of the axis; those of each phase nearest to the middle are taken.
    """
    inner = (lo > 0) & (hi < extent) & (lo < hi)
    both = inner[:-period] & inner[period:]
    moves = (lo[period:] - lo[:-period])[both]
    rows = np.flatnonzero(both)
    if len(rows) < max(2, period):
        return None
    phases = [rows[rows % period == phase] for phase in range(period)]
    if not all(map(len, phases)):
        return None
    chosen = np.array([phase[len(phase) // 2] for phase in phases])
    step = int(np.median(moves))
    endless = extended(lo, hi, chosen, step, np.arange(len(lo)))
    return (step, chosen) if step and plausible(lo, hi, endless, extent) else None


def extended(
    lo: np.ndarray, hi: np.ndarray, rows: np.ndarray, step: int, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends at the elements `at`, where each goes on as that of its phase among `rows` does, by `step` in a period."""
    source = rows[at % len(rows)]
    moved = step * (at // len(rows) - source // len(rows))
    return lo[source] + moved, hi[source] + moved


def moving_end(lo: np.ndarray, hi: np.ndarray, extent: int) -> tuple[int, int] | None:
    """Step and first position of the ends that move on evenly, where all intervals have the other end of the axis.

    >>> moving_end(np.array([0, 0, 0]), np.array([2, 3, 4]), 4)
    (1, 1)
    """
    for pinned, end, moving in ((lo, 0, hi - 1), (hi, extent, lo)):
        steps = np.diff(moving)
        if (pinned == end).all() and len(steps) > 1 and steps[0] > 0 and (steps == steps[0]).all():
            return int(steps[0]), int(moving[0])
    return None


def shortest(continuation: Continuation) -> Continuation:
    """The same continuation with the smallest period that describes it."""
    period, axis = continuation.period, continuation.axis
    for shorter in range(1, period):
        if period % shorter or (continuation.step * shorter) % period:
            continue
        candidate = replace(
            continuation,
            period=shorter,
            step=continuation.step * shorter // period,
            lo=np.take(continuation.lo, np.arange(shorter), axis=axis),
            hi=np.take(continuation.hi, np.arange(shorter), axis=axis),
        )
        lo, hi = candidate.at(np.arange(period))
        if np.array_equal(lo, continuation.lo) and np.array_equal(hi, continuation.hi):
            return candidate
    return continuation


def regrouped(
    old: Continuation, groups: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], ins: Shape, outs: Shape
) -> Continuation | None:
    """The continuation of the same elements in the same order under other axes; `groups` of axes have equal products.

    An axis keeps its steps where it is the slowest of the merged ones, as the rows of an image do among its tokens.
    A faster one, as the columns do, repeats without moving on: its step is 0. A later split finds its steps again.
    """
    group = next((pair for pair in groups if old.axis in pair[0]), None)
    if group is None:  # an axis of one element
        return None
    mine, theirs = group
    place = mine.index(old.axis)
    if place and any(a.shape[axis] > 1 for axis in mine[:place] for a in (old.lo, old.hi)):
        return None
    period, step = (old.period, old.step) if place == 0 else (ins[old.axis], 0)
    inner = math.prod(ins[a] for a in mine[place + 1 :])
    outer = math.prod(outs[o] for o in theirs[1:])
    many = math.lcm(period * inner, outer) // outer
    moved = step * (many * outer // (period * inner))
    lo, hi = _table(old, groups, ins, outs, mine[place:], many * outer // inner, many)
    found = shortest(Continuation(theirs[0], many, moved, lo, hi, cut=old.cut))
    return found if step else _moving(found, outs) or found


def _table(
    old: Continuation, groups: Sequence, ins: Shape, outs: Shape, mine: Shape, rows: int, many: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of `rows` elements of the continued axis, laid out on the new axes, with `many` along its group's first.

    Elements of a faster axis begin again behind its end; `mine` are the axes of the group from the continued one on.
    """
    slowest = next(group for group, _ in groups if old.axis in group)[0] == old.axis
    at = np.arange(rows) if slowest else np.arange(rows) % ins[old.axis]
    return tuple(_laid_out(a, groups, ins, outs, old.axis, mine, many) for a in old.at(at))  # type: ignore[return-value]


def _laid_out(
    a: np.ndarray, groups: Sequence, ins: Shape, outs: Shape, axis: int, mine: Shape, many: int
) -> np.ndarray:
    wide, new = [*a.shape], [1] * len(outs)
    for group, theirs in groups:
        if axis in group:
            for i in mine:
                wide[i] = a.shape[i] if i == axis else ins[i]
            for o in theirs:
                new[o] = outs[o]
            new[theirs[0]] = many
        elif any(a.shape[i] > 1 for i in group):
            for i in group:
                wide[i] = ins[i]
            for o in theirs:
                new[o] = outs[o]
    return np.broadcast_to(a, wide).reshape(new)


def _moving(still: Continuation, shape: Shape) -> Continuation | None:
    """A continuation of step 0 along the axis on which its intervals do move on, by equal steps; None if none does.

    That is the first one on which they vary: a later one, as that of positions in a window, has ends of its own.
    """
    lo, hi = (_squeezed(a) for a in still.at(np.arange(shape[still.axis])))
    varying = [axis for axis, size in enumerate(np.broadcast_shapes(lo.shape, hi.shape)) if size > 1]
    if not varying:
        return None
    full = np.broadcast_shapes(lo.shape, hi.shape)
    lo, hi, axis = np.broadcast_to(lo, full), np.broadcast_to(hi, full), varying[0]
    for period in range(1, full[axis] // 2 + 1):
        before, behind = np.arange(full[axis] - period), np.arange(period, full[axis])
        moves = [np.take(a, behind, axis) - np.take(a, before, axis) for a in (lo, hi)]
        step = int(moves[0].flat[0])
        if step and all((m == step).all() for m in moves):
            first, stop = (_squeezed(np.take(a, np.arange(period), axis), axis) for a in (lo, hi))
            return Continuation(axis, period, step, first, stop)
    return None


def _squeezed(a: np.ndarray, keep: int | None = None) -> np.ndarray:
    """`a` with size 1 along every axis, but `keep`, along which it does not vary."""
    for axis in range(a.ndim):
        first = np.take(a, [0], axis)
        if axis != keep and a.shape[axis] > 1 and (a == first).all():
            a = first
    return a


def merged_paths(paths: Paths, inner: int) -> Paths:
    """Paths of an axis that was merged with `inner` faster elements, on average over them.

    >>> merged_paths(Paths(Fraction(2), Fraction(1), Fraction(1), Fraction(3), True), 2).stride
    Fraction(1, 1)
    """
    shift = paths.stride * Fraction(inner - 1, 2 * inner)
    return replace(
        paths, stride=paths.stride / inner, center_lo=paths.center_lo - shift, center_hi=paths.center_hi - shift
    )
