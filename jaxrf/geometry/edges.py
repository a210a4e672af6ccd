"""What the ends of an axis do to a layer: units that see padding, positions that no unit sees."""

from __future__ import annotations

import numpy as np

from jaxrf.geometry.field import Field


def padded(field: Field, unit_shape: tuple[int, ...]) -> tuple[int, int] | None:
    """How many units, along the axis on which the field repeats, see positions before the input, and behind it.

    None where it does not repeat.
    """
    c = field.continuation
    if c is None:
        return None
    others = tuple(a for a in range(c.lo.ndim) if a != c.axis)
    lo, hi = c.at(np.arange(unit_shape[c.axis]))
    return int((lo.min(axis=others) < 0).sum()), int((hi.max(axis=others) > field.extent).sum())


def unseen(field: Field) -> int:
    """How many positions of the input no unit sees."""
    lo, hi = (np.clip(np.ravel(b), 0, field.extent) for b in np.broadcast_arrays(field.lo, field.hi))
    some = lo < hi
    begins, ends = (np.bincount(b[some], minlength=field.extent + 1) for b in (lo, hi))
    return int((np.cumsum(begins - ends)[: field.extent] == 0).sum())
