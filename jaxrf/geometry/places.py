"""Where the elements of a field lie: by the field itself, or by its local parts where it is global.

A mean over all positions says nothing of the place of a unit, the skip beside it does; the scores of attention lie at
their query and at their key, and of their sum over keys only the query is left.
Parts are fields of their own, which are carried on beside the field that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from jaxrf.geometry.continuing import moving_end
from jaxrf.geometry.field import Continuation, Field
from jaxrf.geometry.hull import disjoint, hull, nothing

Parts = tuple[Field, ...]


def kept(pairs: Iterable[tuple[Field, Field]]) -> Parts:
    """The parts behind a relation that still say where elements lie, of pairs (before it, behind it)."""
    return tuple(b for before, b in pairs if bool((b.lo < b.hi).any()) and not lost(before, b))


def lost(before: Field, behind: Field) -> bool:
    """Whether a relation took the place from elements: all now see the same, which none of them saw alone before."""
    if behind.continuation is not None or not behind.alike:
        return False
    return behind.global_cause is not None or _size(behind) > _size(before)


def beside_nothing(field: Field, empty: Field) -> Field:
    """`field` joined with one without any path: known zeros, which leave each element where it stands.

    What attention scores of zero say of the place of a query is said by nothing else.
    """
    if nothing(field):
        return field if field.local or not empty.local else empty
    mine = field.parts
    more = tuple(part for part in empty.local or () if not any(_axes(part) & _axes(own) for own in mine))
    return replace(field, local=(*mine, *more)) if more else field


def joined(a: Field, b: Field, found: Field) -> Parts | None:
    """The local parts of `found`, the hull of two fields: those of both, where their hull does not say it.

    Of parts along the same axes counts the hull where they repeat alike, as branches of a network do, else the smaller.
    A part that sees a whole group in which the other moves, as a window does for its positions, gives way.
    Elements that are all alike do not tell where one lies, nor do parts of several kinds where every element sees all on
    one side, as in a cumulative sum that is computed in parallel.
    """
    if a.local is None and b.local is None:
        alike = a.lo.shape == b.lo.shape and a.hi.shape == b.hi.shape
        if found.continuation is not None and (alike or not (_apart(a, b) or _finer(a, b))):
            return None
        if found.continuation is None and (_agree(a, b) or (disjoint(a, b) and (_alone(a) or _alone(b)))):
            return None
    parts: Parts = ()
    for part in (*a.parts, *b.parts):
        if not _alone(part):
            parts = _with(parts, part)
    return () if len(parts) > 1 and _one_sided(found) else parts


def _alone(field: Field) -> bool:
    """Whether all elements lie at one place, and none goes on to others on an endless input."""
    return field.continuation is None and field.aside is None and field.alike


def _with(parts: Parts, new: Field) -> Parts:
    for i, old in enumerate(parts):
        one = None if _apart(old, new) else _one(old, new)
        if one is not None:
            return (*parts[:i], one, *parts[i + 1 :])
    return (*parts, new)


def _one(a: Field, b: Field) -> Field | None:
    """What two parts along the same axes agree on; None where they are those of different elements."""
    finer = _finer(a, b)
    if finer is not None:
        return finer
    both = hull(a, b)
    if both.continuation is not None or both.aside is not None:
        return both
    if disjoint(a, b):
        return None
    if reach(a) == reach(b):
        return both
    return a if reach(a) < reach(b) else b


def _one_sided(field: Field) -> bool:
    """Whether elements see everything up to an end that moves on evenly."""
    sizes = np.broadcast_shapes(field.lo.shape, field.hi.shape)
    if field.continuation is not None or sum(size > 1 for size in sizes) != 1:
        return False
    lo, hi = (np.broadcast_to(end, sizes).ravel() for end in (field.lo, field.hi))
    return moving_end(lo, hi, field.extent) is not None


def _axes(field: Field) -> frozenset[int]:
    """Axes along which elements lie at different places."""
    sizes = np.broadcast_shapes(field.lo.shape, field.hi.shape)
    moving = {axis for axis, size in enumerate(sizes) if size > 1}
    return frozenset(moving if field.continuation is None else {*moving, field.continuation.axis})


def _apart(a: Field, b: Field) -> bool:
    """Whether each of two fields moves along an axis on which the other stands still, as query and key do."""
    mine, theirs = _axes(a), _axes(b)
    return not (mine <= theirs or theirs <= mine)


def _finer(a: Field, b: Field) -> Field | None:
    """The one of two fields that moves along an axis on which the other stands still and contains it; None if neither."""
    for fine, coarse in ((a, b), (b, a)):
        more = _axes(fine) - _axes(coarse)
        if not more or not _axes(coarse) <= _axes(fine):
            continue
        some = fine.lo < fine.hi
        inside = (coarse.lo <= fine.lo) & (fine.hi <= coarse.hi) | ~some
        if inside.all() and any(_moves(fine, some, axis) for axis in more):
            return fine
    return None


def _moves(field: Field, some: np.ndarray, axis: int) -> bool:
    """Whether both ends move together along an axis, as positions do; channels of several sizes do not."""
    lo, hi, some = (np.broadcast_to(x, some.shape) for x in (field.lo, field.hi, some))
    both = np.take(some, range(1, some.shape[axis]), axis) & np.take(some, range(some.shape[axis] - 1), axis)
    steps = np.where(both, np.diff(lo, axis=axis) * np.diff(hi, axis=axis), 0)
    return bool((steps >= 0).all() and (steps > 0).any())


def _agree(a: Field, b: Field) -> bool:
    """Whether the fields are the same, or all elements of both lie at one place; on an endless input neither goes on."""
    if _alone(a) and _alone(b):
        return bool(a.lo.min() == b.lo.min() and a.hi.max() == b.hi.max())
    if a.endless is not a or b.endless is not b:
        return False
    return bool((a.lo == b.lo).all() and (a.hi == b.hi).all())


def _size(ends: Field | Continuation) -> int:
    """The largest size of an element."""
    return int((ends.hi - ends.lo).max(initial=0))


def reach(field: Field) -> int:
    """The largest size of an element, on an endless input where the field goes on there."""
    return _size(field.endless)
