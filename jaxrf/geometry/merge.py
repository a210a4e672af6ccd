"""Fields joined where paths meet, and the field of the input itself."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from jaxrf.geometry.field import Continuation, Field, Paths
from jaxrf.geometry.hull import hull, nothing
from jaxrf.geometry.places import beside_nothing, joined


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

    Law: associative and commutative in `lo` and `hi`; an empty field is their identity.
    """
    if nothing(a):
        return beside_nothing(b, a)
    if nothing(b):
        return beside_nothing(a, b)
    found = hull(a, b)
    local = joined(a, b, found)
    return found if local is None else replace(found, local=local)
