"""Hulls of fields where paths meet: their intervals, their continuations, and what their paths agree on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxrf.geometry.field import Aside, Continuation, Field, Part, Paths


def hull(a: Field, b: Field) -> Field:
    """The smallest intervals that hold those of both fields, element by element; it says nothing of `local`."""
    lo, hi = np.minimum(a.lo, b.lo), np.maximum(a.hi, b.hi)
    cause = a.global_cause or b.global_cause
    main = _beside_its_border(a, b)
    if main is not None:
        return Field(a.extent, lo, hi, main.continuation, main.paths, cause)
    continuation = union(a.continuation, b.continuation)
    along = _merge_parts(a, b) if continuation is None else ()
    aside = _merge_asides(a, b) if continuation is None else None
    return Field(a.extent, lo, hi, continuation, _paths(a.paths, b.paths), cause, along=along, aside=aside)


def along_of(field: Field) -> tuple[Part, ...]:
    """The parts of a field; its continuation alone where it has one."""
    return field.along if field.continuation is None else (Part(field.continuation),)


def _merge_parts(a: Field, b: Field) -> tuple[Part, ...]:
    mine, theirs = along_of(a), along_of(b)
    if not mine or not theirs or any(part.continuation.marginal for part in (*mine, *theirs)):
        return ()
    return joined_parts([*mine, *theirs])


def _merge_asides(a: Field, b: Field) -> Aside | None:
    """What both say of an axis that is gone; what is the same for all elements says nothing of it."""
    if a.aside is None or b.aside is None:
        one, other = (a, b) if b.aside is None else (b, a)
        return one.aside if one.aside is None or (other.continuation is None and other.alike) else Aside(None)
    same = (a.aside.place, a.aside.count, a.aside.above) == (b.aside.place, b.aside.count, b.aside.above)
    return replace(a.aside, endless=union(a.aside.endless, b.aside.endless)) if same else Aside(None)


def joined_parts(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The same parts, with those joined that hold for the same elements and go on along the same axis.

    None of them where two of these do not go on together.
    """
    found: list[Part] = []
    for part in parts:
        for i, other in enumerate(found):
            same = part.where is other.where or (
                part.where is not None and other.where is not None and np.array_equal(part.where, other.where)
            )
            if part.continuation.axis == other.continuation.axis and same:
                joined = union(part.continuation, other.continuation)
                if joined is None:
                    return ()
                found[i] = Part(joined, part.where)
                break
        else:
            found.append(part)
    return tuple(found)


def nothing(field: Field) -> bool:
    """Whether no element has a path, on an endless input neither."""
    ends = field.continuation
    return bool((field.lo >= field.hi).all()) and (ends is None or bool((ends.lo >= ends.hi).all()))


def disjoint(a: Field, b: Field) -> bool:
    """Whether no element has paths in both."""
    return not bool(((a.lo < a.hi) & (b.lo < b.hi)).any())


def _beside_its_border(a: Field, b: Field) -> Field | None:
    """The one of two fields of which the other is the border; an endless input has none, so that it alone goes on."""
    if a.continuation is None and b.continuation is None:
        return None
    if a.continuation is None or b.continuation is None:
        main, border = (b, a) if a.continuation is None else (a, b)
        return _in_the_middle(main) if _repeats(border, main) else None
    if a.continuation.marginal or b.continuation.marginal:
        return (b if a.continuation.marginal else a) if _copies(a.continuation, b.continuation) else None
    return None


def _in_the_middle(field: Field) -> Field:
    """The field of what is not a border, however short it is."""
    assert field.continuation is not None
    return replace(field, continuation=replace(field.continuation, marginal=False))


def union(a: Continuation | None, b: Continuation | None) -> Continuation | None:
    """The continuation of a union; None where its parts do not go on together."""
    if a is None or b is None or a.marginal or b.marginal:
        return None
    if a.axis != b.axis or a.step * b.period != b.step * a.period:
        return None
    period = math.lcm(a.period, b.period)
    index = np.arange(period)
    (a_lo, a_hi), (b_lo, b_hi) = a.at(index), b.at(index)
    step = a.step * (period // a.period)
    return Continuation(a.axis, period, step, np.minimum(a_lo, b_lo), np.maximum(a_hi, b_hi), cut=a.cut or b.cut)


def _copies(a: Continuation, b: Continuation) -> bool:
    """Whether two continuations differ in place and direction only, as a border does that is wrapped or reflected."""
    sizes = [set(np.unique(np.maximum(one.hi - one.lo, 0))) for one in (a, b)]
    return a.axis == b.axis and abs(a.step * b.period) == abs(b.step * a.period) and sizes[0] == sizes[1]


def _repeats(border: Field, main: Field) -> bool:
    """Whether all elements of `border` lie beside `main` and see what its outermost element sees, as edge padding does.

    An endless input has no such border, so that only the continuation of `main` counts.
    A sum or a mean that is put beside a map, as a class token is, is none, however much the outermost element sees.
    """
    assert main.continuation is not None
    axis = main.continuation.axis
    shape = np.broadcast_shapes(main.lo.shape, main.hi.shape, border.lo.shape, border.hi.shape)
    if border.local is not None or border.lo.shape[axis] != shape[axis]:
        return False
    others = tuple(a for a in range(len(shape)) if a != axis)
    inside, beside = (np.flatnonzero((one.lo < one.hi).any(axis=others)) for one in (main, border))
    if len({main.lo.shape[axis], main.hi.shape[axis], shape[axis]}) > 1 or not len(inside):
        return False
    if ((inside[0] <= beside) & (beside <= inside[-1])).any():
        return False
    nearest = np.clip(beside, inside[0], inside[-1])
    pairs = ((border.lo, main.lo), (border.hi, main.hi))
    return all(bool((np.take(b, beside, axis) == np.take(m, nearest, axis)).all()) for b, m in pairs)


def _paths(a: Paths | None, b: Paths | None) -> Paths | None:
    if a is None or b is None:
        return None
    lo, hi = min(a.center_lo, b.center_lo), max(a.center_hi, b.center_hi)
    aligned = a.aligned and b.aligned and a.stride == b.stride and lo == hi
    return replace(a, center_lo=lo, center_hi=hi, min_size=min(a.min_size, b.min_size), aligned=aligned)
