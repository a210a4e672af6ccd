"""Sums of reads at known positions as one known map: an interpolation that is written with indices and weights of its own.

`x[:, i] * (1 - w) + x[:, j] * w` reads what a resize by a matrix reads, and is one step from `x` as that is. Its parts alone
are not: at a border an index is clamped and its weight zero, so that neither part goes on as the sum does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from jaxrf.equations.program import Variable
from jaxrf.geometry.maps import Pattern, Window, identity
from jaxrf.geometry.relations import Masked, Product, Relation

Term = Mapping[int, np.ndarray]
"""For each axis that is read at known positions, where: (result, base). Other axes are read one to one."""
LIMIT = 16
"""Sums that fall into more products of axes are not followed: three axes of two positions make eight."""


@dataclass(frozen=True, eq=False)
class Moved:
    """A variable as a sum of reads of another one, its `base`; `summed` where it is a sum of several."""

    base: Variable
    terms: tuple[Term, ...]
    summed: bool = False

    def relation(self, shape: tuple[int, ...]) -> Product | None:
        """How a sum of `shape` depends on its base; None where it is not a sum, or no product of axes."""
        if not self.summed or len(self.terms) != 1:
            return None
        (term,) = self.terms
        maps = [
            Pattern(n, m, term[a]) if a in term else identity(n) for a, (n, m) in enumerate(zip(self.base.shape, shape))
        ]
        return Product(self.base.shape, shape, tuple((axis_map, a) for a, axis_map in enumerate(maps)))


def moved(links: Sequence[tuple[Variable, Relation]], known: Mapping[Variable, Moved]) -> Moved | None:
    """What the result of an equation is a sum of reads of; None where it is none, or reads more than one variable.

    Args:
        links: its operands, and how the result depends on each.
        known: the operands that are such sums.
    """
    each = [_through(known.get(variable), variable, link) for variable, link in links]
    if len(each) == 1 or None in each or len({one.base for one in each if one}) > 1:
        return each[0] if len(each) == 1 else None
    terms: list[Term] = reduce(_added, (term for one in each if one for term in one.terms), [])
    return Moved(each[0].base, tuple(terms), True) if each[0] and len(terms) <= LIMIT else None


def _through(old: Moved | None, variable: Variable, link: Relation) -> Moved | None:
    """A variable that is `old` behind one operation on its positions: a read, known zeros, or arithmetic."""
    if isinstance(link, Masked):
        inner = _through(old, variable, link.inner)
        kept = _by_axis(link.support, link.out_shape)
        return None if inner is None or kept is None else _masked(inner, kept, link.out_shape)
    if not isinstance(link, Product) or [out for _, out in link.axes] != list(range(len(link.out_shape))):
        return None
    if link.plain:
        return old
    read: dict[int, np.ndarray] = {}
    for a, (axis_map, _) in enumerate(link.axes):
        if isinstance(axis_map, Pattern) and axis_map.support.sum(axis=1).max(initial=0) <= 1:
            read[a] = axis_map.support
        elif not (isinstance(axis_map, Window) and axis_map.identity):
            return None
    if old is None or old.summed:
        return Moved(variable, (read,))
    both = [
        {a: read[a] @ term[a] if a in read and a in term else {**term, **read}[a] for a in {**term, **read}}
        for term in old.terms
    ]
    return Moved(old.base, tuple(both))


def _masked(one: Moved, kept: Mapping[int, np.ndarray], shape: tuple[int, ...]) -> Moved:
    """Without the positions that are not `kept`, along each axis."""
    own = {a: np.eye(shape[a], dtype=bool) for a in kept}
    terms = [{**term, **{a: kept[a][:, None] & term.get(a, own[a]) for a in kept}} for term in one.terms]
    return Moved(one.base, tuple(terms), one.summed)


def _by_axis(support: np.ndarray, shape: tuple[int, ...]) -> dict[int, np.ndarray] | None:
    """A mask as one per axis along which it varies; None where it is not a product of these."""
    support = support.reshape([1] * (len(shape) - support.ndim) + [*support.shape])
    found, product = {}, np.ones([1] * len(shape), bool)
    for a, n in enumerate(support.shape):
        along = support.any(axis=tuple(b for b in range(len(shape)) if b != a))
        product = product & along.reshape([n if b == a else 1 for b in range(len(shape))])
        if not along.all():
            found[a] = along
    return found if np.array_equal(product, support) else None


def _added(terms: list[Term], new: Term) -> list[Term]:
    """Terms and one more; those that differ along one axis are one."""
    for i, old in enumerate(terms):
        if old.keys() != new.keys():
            continue
        other = [a for a in old if not np.array_equal(old[a], new[a])]
        if not other:
            return terms
        if len(other) == 1:
            return _added(terms[:i] + terms[i + 1 :], {**new, other[0]: old[other[0]] | new[other[0]]})
    return [*terms, new]
