"""Parts of a field carried through a product of axes: the scores of pairs of positions, up to the sum over one of them.

score[n, m] = q[n] · k[m]                 two parts: one goes on along n, the other along m
w[n, m] = score[n, m], or 0 by a mask     both hold where the mask lets them through
y[n] = sum_m w[n, m]                      the first goes on along n; the second along n too, as the mask's rows do
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Continuation, Part
from jaxrf.geometry.hull import joined_parts, union
from jaxrf.geometry.maps import Fixed, Pattern, Window, whole
from jaxrf.geometry.supports import classes, compact, varying


class ProductOfAxes(Protocol):
    """What is read of a relation along products of axes; see `jaxrf.geometry.relations.Product`."""

    @property
    def in_shape(self) -> tuple[int, ...]: ...
    @property
    def axes(self) -> tuple[tuple[AxisMap, int | None], ...]: ...
    def replaced(self, axes: tuple[tuple[AxisMap, int | None], ...]) -> ProductOfAxes: ...
    def continued(self, continuation: Continuation | None) -> Continuation | None: ...
    def laid_out(self, a: np.ndarray) -> np.ndarray: ...


def alone(parts: Sequence[Part]) -> Continuation | None:
    """The continuation of a field of one part that holds everywhere."""
    return parts[0].continuation if len(parts) == 1 and parts[0].where is None else None


def pushed_parts(relation: ProductOfAxes, parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts of the result; none where one of them does not go on."""
    found = [_pushed(relation, part) for part in parts]
    return joined_parts([part for part in found if part is not None]) if None not in found else ()


def _pushed(relation: ProductOfAxes, part: Part) -> Part | None:
    c, where = part.continuation, None if part.where is None else compact(part.where)
    if where is None or where.all():
        moved = relation.continued(c)
        return None if moved is None else Part(moved)
    if relation.axes[c.axis][1] is None:
        return _summed_over(relation, c, where)
    moved, left = relation.continued(c), _laid_out(relation, c, where)
    if moved is None or left is None:
        return None
    return Part(moved, None if left.all() else left)


def _laid_out(relation: ProductOfAxes, c: Continuation, where: np.ndarray) -> np.ndarray | None:
    """`where` on the axes of the result: true where it is for some of the positions that are summed over.

    None where it varies along an axis that is not kept or summed over as a whole, or where what is summed over differs.
    """
    for axis in varying(where):
        if _whole(relation, axis) and c.lo.shape[axis] == 1:
            where = np.logical_or.reduce(where, axis=axis, keepdims=True)
        elif not _kept(relation, axis):
            return None
    return relation.laid_out(where)


def _summed_over(relation: ProductOfAxes, c: Continuation, where: np.ndarray) -> Part | None:
    """The part where the axis that it goes on along is summed over: it goes on along the one that the mask pairs it with.

    Masks that differ along further axes, as from head to head, do so each for itself.
    """
    free = [a for a in varying(where) if a != c.axis]
    fixed = [a for a in free if c.lo.shape[a] == 1]
    if not fixed or not _whole(relation, c.axis) or not all(_kept(relation, a) for a in free):
        return None
    pair = max(fixed, key=lambda a: where.shape[a])
    numbers, masks = classes(where, [a for a in free if a != pair])
    joined: Continuation | None = None
    for i, mask in enumerate(masks):
        one, here = _through(relation, c, pair, mask), relation.laid_out(numbers == i)
        if one is None:
            return None
        one = replace(one, lo=np.where(here, one.lo, EMPTY_LO), hi=np.where(here, one.hi, EMPTY_HI))
        joined = one if joined is None else union(joined, one)
        if joined is None:
            return None
    return None if joined is None else Part(joined)


def _through(relation: ProductOfAxes, c: Continuation, pair: int, mask: np.ndarray) -> Continuation | None:
    """A continuation along the axis `pair`, each of whose positions sees those that its row of the mask lets through."""
    out = relation.axes[pair][1]
    rows = mask.transpose(pair, c.axis, *(a for a in range(mask.ndim) if a not in (pair, c.axis))).reshape(
        mask.shape[pair], mask.shape[c.axis]
    )
    n, m = relation.in_shape[c.axis], relation.in_shape[pair]
    axes = list(relation.axes)
    axes[c.axis] = Pattern(n, m, np.broadcast_to(rows, (m, n))), out
    axes[pair] = whole(m), None
    return relation.replaced(tuple(axes)).continued(c)


def _kept(relation: ProductOfAxes, axis: int) -> bool:
    """Whether an axis of the operand is one of the result, position by position."""
    axis_map, out = relation.axes[axis]
    return out is not None and isinstance(axis_map, Window) and axis_map.identity


def _whole(relation: ProductOfAxes, axis: int) -> bool:
    """Whether an axis of the operand is summed over."""
    axis_map, out = relation.axes[axis]
    return out is None and isinstance(axis_map, Fixed) and axis_map.whole
