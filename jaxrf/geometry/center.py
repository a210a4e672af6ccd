"""Centers of units: the middles of the intervals that say where a unit lies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from jaxrf.geometry.field import Continuation, Field
from jaxrf.geometry.places import reach


def centers(fields: Sequence[Field], unit_shape: tuple[int, ...], lines: Sequence[bool]) -> tuple[np.ndarray, ...]:
    """Centers of all units, for each input axis an array broadcastable to `unit_shape`; NaN where a unit has none.

    Where units lie in several input axes along one of their own, as tokens do, a unit that has no place on one of these
    has none on the others.
    """
    found = [centers_on(field, unit_shape, line) for field, line in zip(fields, lines, strict=True)]
    along = [{axis for axis, size in enumerate(field.lo.shape) if size > 1} for field in fields]
    for axis in range(len(unit_shape)):
        shared = [i for i, axes in enumerate(along) if axes == {axis}]
        unknown = reduce(np.logical_or, (np.isnan(found[i]) for i in shared), np.zeros((), bool))
        if len(shared) > 1 and unknown.any():
            for i in shared:
                found[i] = np.where(unknown, np.nan, found[i])
    return tuple(found)


def centers_on(field: Field, unit_shape: tuple[int, ...], line: bool) -> np.ndarray:
    """Center of every unit on one input axis, broadcastable to `unit_shape`; NaN where a unit has none: see `local_ends`."""
    first, last = local_ends(field, unit_shape, line)
    middles = (first + last - 1) / 2
    return _squeezed(middles.reshape([1] * (len(unit_shape) - middles.ndim) + [*middles.shape]))


def local_ends(field: Field, unit_shape: tuple[int, ...], line: bool) -> tuple[np.ndarray, np.ndarray]:
    """Half-open interval that says where each unit lies on one input axis; NaN where a unit has none.

    It is the unit's unclipped interval. Where the field is global, or is that of a group of units, it is the smallest of
    the local parts; where several are the smallest, their hull. It is unknown where a
    part was on an axis of one position that is gone and was not given back as it went.

    Args:
        field: of the layer on the input axis.
        unit_shape: of the layer.
        line: whether units lie on one line of their own on this input axis. Then those beyond the first and the last
            have a center there too, although they see padding only.
    """
    ends = [_ends(part, unit_shape, line and field.local is None) for part in field.parts]
    if not ends or any(part.aside is not None and part.aside.endless is None for part in field.parts):
        none = np.full([1] * len(unit_shape), np.nan)
        return none, none
    seeing = True if field.local is None else field.lo < field.hi
    ranks = [np.where(~(lo >= hi) & seeing, reach(part), np.inf) for part, (lo, hi) in zip(field.parts, ends)]
    least = reduce(np.minimum, ranks)
    first = reduce(np.minimum, (np.where(rank == least, lo, np.inf) for rank, (lo, _) in zip(ranks, ends)))
    last = reduce(np.maximum, (np.where(rank == least, hi, -np.inf) for rank, (_, hi) in zip(ranks, ends)))
    known = np.isfinite(least) & np.isfinite(first) & np.isfinite(last)
    return np.where(known, first, np.nan), np.where(known, last, np.nan)


def _squeezed(middles: np.ndarray) -> np.ndarray:
    """The same with size 1 along every axis along which centers do not differ."""
    for axis, size in enumerate(middles.shape):
        begin = np.take(middles, range(min(size, 1)), axis)
        if size > 1 and np.array_equal(np.broadcast_to(begin, middles.shape), middles, equal_nan=True):
            middles = begin
    return middles


def _ends(field: Field, unit_shape: tuple[int, ...], beyond: bool) -> tuple[np.ndarray, np.ndarray]:
    """Unclipped intervals of all units; empty ones where a unit sees nothing, unless `beyond` says to go on there.

    NaN where a unit sees something, and how far it would see without the border is not known.
    """
    c, some = field.continuation, field.lo < field.hi
    if c is None:
        aside = field.aside and field.aside.endless
        if aside:
            return np.where(some, aside.lo[0], 0), np.where(some, aside.hi[0], 0)
        return _unknown(_cut(field), field.lo, field.hi)
    lo, hi = _unknown(_too_wide(field, c, unit_shape), *c.at(np.arange(unit_shape[c.axis])))
    if beyond:
        return lo, hi
    return np.where(some, lo, 0), np.where(some, hi, 0)


def _unknown(where: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (np.where(where, np.nan, lo), np.where(where, np.nan, hi)) if where.any() else (lo, hi)


def _cut(field: Field) -> np.ndarray:
    """Which intervals end at a border of the input and are shorter than those that do not, so that they may go on there."""
    size, some = field.hi - field.lo, field.lo < field.hi
    inside = some & (field.lo > 0) & (field.hi < field.extent)
    return some & ~inside & (size < size[inside].min(initial=field.extent)) & inside.any()


def _too_wide(field: Field, c: Continuation, unit_shape: tuple[int, ...]) -> np.ndarray:
    """Which units see less than their place in a pattern says, on an axis that runs through lines of the input.

    Tokens that were taken apart by turns and put together again share such a pattern, which then says too much. Where it
    says the whole input of all of them, it says nothing of where they are.
    """
    if c.step or c.period == 1:
        return np.zeros((), bool)
    lo, hi = c.at(np.arange(unit_shape[c.axis]))
    wider = (lo <= field.lo) & (hi >= field.hi)
    wider &= ((lo < field.lo) & (field.lo > 0)) | ((hi > field.hi) & (field.hi < field.extent))
    everything = field.local is None and bool(((c.lo == 0) & (c.hi == field.extent)).all())
    return (field.lo < field.hi) & (wider | everything)


def pitch(middles: np.ndarray) -> float | None:
    """The distance between centers that are neighbors, from those of all units; None where it is not one number."""
    places = np.unique(middles[np.isfinite(middles)])
    return _only(np.diff(places))


def patch(field: Field, unit_shape: tuple[int, ...], line: bool) -> int | None:
    """The size of the intervals that say where units lie on one input axis; None where it is not one number."""
    first, last = local_ends(field, unit_shape, line)
    sizes = last - first
    found = _only(sizes[np.isfinite(sizes)])
    return None if found is None else int(found)


def _only(numbers: np.ndarray) -> float | None:
    """The number that all of them are; None where they differ, or where there is none."""
    different = np.unique(numbers)
    return float(different[0]) if len(different) == 1 else None
