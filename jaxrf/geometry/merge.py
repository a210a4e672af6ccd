"""Fields joined where paths meet, and the field of the input itself."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from jaxrf.geometry.field import Continuation, Field, Paths


def source(shape: tuple[int, ...], axis: int) -> Field:
    """The field of an array on its own axis: every element sees its own position."""
    view = [1] * len(shape)
    view[axis] = shape[axis]
    at = np.arange(shape[axis], dtype=np.int64).reshape(view)
    one = np.zeros([1] * len(shape), np.int64)
    paths = Paths(Fraction(1), Fraction(0), Fraction(0), Fraction(1), True)
    return Field(shape[axis], at, at + 1, Continuation(axis, 1, 1, one, one + 1), paths)


def merge(a: Field, b: Field) -> Field:
    """The union of two fields of the same elements.

    Law: associative and commutative in `lo` and `hi`; an empty field is its identity.
    """
    if _nothing(a):
        return b
    if _nothing(b):
        return a
    lo, hi = np.minimum(a.lo, b.lo), np.maximum(a.hi, b.hi)
    continuation = _merge_continuations(a.continuation, b.continuation)
    cause = a.global_cause or b.global_cause
    paths = _merge_paths(a.paths, b.paths)
    if continuation is not None and continuation in (a.continuation, b.continuation):
        paths = a.paths if continuation is a.continuation else b.paths
    return Field(a.extent, lo, hi, continuation, paths, cause)


def _nothing(field: Field) -> bool:
    """Whether no element has a path, on an endless input neither."""
    ends = field.continuation
    return bool((field.lo >= field.hi).all()) and (ends is None or bool((ends.lo >= ends.hi).all()))


def _copies(a: Continuation, b: Continuation) -> bool:
    """Whether two continuations differ in place and direction only, as a border does that is wrapped or reflected."""
    sizes = [set(np.unique(np.maximum(one.hi - one.lo, 0))) for one in (a, b)]
    return a.axis == b.axis and abs(a.step * b.period) == abs(b.step * a.period) and sizes[0] == sizes[1]


def _merge_continuations(a: Continuation | None, b: Continuation | None) -> Continuation | None:
    if a is None or b is None:
        return None
    if a.marginal or b.marginal:
        return (b if a.marginal else a) if _copies(a, b) else None
    if a.axis != b.axis or a.step * b.period != b.step * a.period:
        return None
    period = math.lcm(a.period, b.period)
    index = np.arange(period)
    (a_lo, a_hi), (b_lo, b_hi) = a.at(index), b.at(index)
    step = a.step * (period // a.period)
    return Continuation(a.axis, period, step, np.minimum(a_lo, b_lo), np.maximum(a_hi, b_hi))


def _merge_paths(a: Paths | None, b: Paths | None) -> Paths | None:
    if a is None or b is None:
        return None
    lo, hi = min(a.center_lo, b.center_lo), max(a.center_hi, b.center_hi)
    aligned = a.aligned and b.aligned and a.stride == b.stride and lo == hi
    return replace(a, center_lo=lo, center_hi=hi, min_size=min(a.min_size, b.min_size), aligned=aligned)
