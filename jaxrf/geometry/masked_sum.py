"""Sums over axes by a coefficient whose zeros are known: products with matrices, and attention.

y[b, j] = sum_k x[b, k] c[b, k, j]    where c[b, k, j] is known to be zero, y[b, j] does not depend on x[b, k].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.maps import Fixed, Pattern, identity, whole
from jaxrf.geometry.merge import merge
from jaxrf.geometry.relations import Masked, Product, Relation, Several, Shape, nothing
from jaxrf.geometry.supports import classes, compact, factors, onto, varying

MANY = 256
"""So many different masks along other axes are told apart."""


@dataclass(frozen=True, eq=False)
class Choice(Several):
    """One of several relations for each place along some axes of the result, as masks that differ from head to head.

    `numbers` (the rank of the result, size 1 along axes on which it does not vary) says which of the `parts` is where.
    """

    parts: tuple[Product | Masked, ...]
    numbers: np.ndarray
    hull: Product
    sum: MaskedSum

    def push(self, field):
        if self.empty:
            return nothing(field.extent, self.out_shape)
        return reduce(merge, (part.push(field) for part in self.masked))

    @property
    def masked(self) -> tuple[Masked, ...]:
        """Each part, where it is chosen."""
        return tuple(Masked(part, self.numbers == i) for i, part in enumerate(self.parts))

    def regardless(self, axes: Sequence[int]) -> Relation:
        """What an element depends on by some of those along `axes` of the result; by the hull where that is of no simple form."""
        support = self.sum.support
        assert support is not None
        kept = [a for a in range(support.ndim) if a not in axes]
        return replace(self.sum, support=onto(support, kept)).relation or self.hull


@dataclass(frozen=True, eq=False)
class MaskedSum:
    """A sum over the axes of the operand that drive none of the result.

    Attributes:
        in_shape: of the operand.
        out_shape: of the result.
        driven: the result axis of each operand axis, -1 where it is summed over.
        support: where the coefficient can be other than zero, on the axes of the result and then on those that are summed
            over, of size 1 where it does not vary; None: everywhere.
    """

    in_shape: Shape
    out_shape: Shape
    driven: tuple[int, ...]
    support: np.ndarray | None = None

    @property
    def relation(self) -> Relation | None:
        """None where the zeros are not a product of pairs of axes, or differ in too many ways along others."""
        if self.support is None:
            return self._product({})
        rank = len(self.out_shape)
        if all(a < rank for a in varying(self.support)):  # a result sees all that is summed over, or nothing
            return self._some_rows(self.support)
        driven = [a for a in varying(self.support) if a in self.driven]  # driven axes of the result drive no other
        numbers, masks = classes(self.support, driven)
        parts = [self._patterned(mask) or self._some_rows(mask) for mask in masks[: MANY + 1]]
        if len(masks) > MANY or any(part is None for part in parts):
            return None
        if len(parts) == 1:
            return parts[0]
        hull = self._patterned(onto(self.support, [a for a in range(self.support.ndim) if a not in driven]))
        return Choice(tuple(filter(None, parts)), numbers.reshape(numbers.shape[:rank]), hull or self.whole, self)

    def _some_rows(self, support: np.ndarray) -> Masked | None:
        """The relation of the rows that are not empty, where these are of a simple form."""
        rows = onto(support, range(len(self.out_shape)))
        inner = self._patterned(support | ~rows)
        return inner and Masked(inner, rows.reshape(rows.shape[: len(self.out_shape)]))

    @property
    def whole(self) -> Product:
        """The relation without any zeros."""
        return self._product({})

    def _patterned(self, support: np.ndarray) -> Product | None:
        """The product of the patterns of pairs of axes; None where the support is none."""
        summed = [a for a, out in enumerate(self.driven) if out < 0]
        rank = len(self.out_shape)
        support = compact(support)
        pairs = factors(support, range(rank, rank + len(summed)))
        if pairs is None:
            return None
        spare = [out for out in range(rank) if out not in self.driven and out not in pairs.values()]
        maps: dict[int, tuple[AxisMap, int | None]] = {}
        for axis, out in pairs.items():
            a, n = summed[axis - rank], self.in_shape[summed[axis - rank]]
            rows = onto(support, (axis,) if out is None else (axis, out)).reshape(-1, n)
            out = out if out is not None else spare.pop() if spare else None
            if out is not None:
                rows = np.broadcast_to(rows, (self.out_shape[out], n))
                maps[a] = Pattern(n, self.out_shape[out], rows), out
                continue
            places = np.flatnonzero(rows[0])
            lo, hi = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
            if len(places) < hi - lo:
                return None
            maps[a] = Fixed(n, 1, lo, hi), None
        return self._product(maps)

    def _product(self, maps: Mapping[int, tuple[AxisMap, int | None]]) -> Product:
        axes = (
            maps.get(a) or ((identity(n), out) if out >= 0 else (whole(n), None))
            for a, (n, out) in enumerate(zip(self.in_shape, self.driven, strict=True))
        )
        return Product(self.in_shape, self.out_shape, tuple(axes))
