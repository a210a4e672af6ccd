"""Centers of units: the middles of the intervals that say where a unit lies."""

from __future__ import annotations

from functools import reduce

import numpy as np

from jaxrf.geometry.field import Field
from jaxrf.geometry.places import reach


def centers(field: Field, unit_shape: tuple[int, ...], line: bool) -> np.ndarray:
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
    ranks = [np.where((lo < hi) & seeing, reach(part), np.inf) for part, (lo, hi) in zip(field.parts, ends)]
    least = reduce(np.minimum, ranks)
    first = reduce(np.minimum, (np.where(rank == least, lo, np.inf) for rank, (lo, _) in zip(ranks, ends)))
    last = reduce(np.maximum, (np.where(rank == least, hi, -np.inf) for rank, (_, hi) in zip(ranks, ends)))
    known = np.isfinite(least)
    return np.where(known, first, np.nan), np.where(known, last, np.nan)


def _squeezed(middles: np.ndarray) -> np.ndarray:
    """The same with size 1 along every axis along which centers do not differ."""
    for axis, size in enumerate(middles.shape):
        begin = np.take(middles, range(min(size, 1)), axis)
        if size > 1 and np.array_equal(np.broadcast_to(begin, middles.shape), middles, equal_nan=True):
            middles = begin
    return middles


def _ends(field: Field, unit_shape: tuple[int, ...], beyond: bool) -> tuple[np.ndarray, np.ndarray]:
    """Unclipped intervals of all units; empty ones where a unit sees nothing, unless `beyond` says to go on there."""
    c, some = field.continuation, field.lo < field.hi
    if c is None:
        aside = field.aside and field.aside.endless
        return (np.where(some, aside.lo[0], 0), np.where(some, aside.hi[0], 0)) if aside else (field.lo, field.hi)
    lo, hi = c.at(np.arange(unit_shape[c.axis]))
    if beyond:
        return lo, hi
    return np.where(some, lo, 0), np.where(some, hi, 0)


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
