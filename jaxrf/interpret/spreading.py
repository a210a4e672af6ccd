"""Where cotangents of different positions become alike, and where they are added up again.

Pulling back an average pool gives one cotangent to several positions: it spreads.
Pulling back an overlapping pool, an upsampling or a broadcast adds cotangents of several positions: it gathers.
Between one that spreads, above, and one that gathers, below, correlations of positions matter.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from jaxrf.equations.program import Equation, Variable
from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.kinds import Kinds
from jaxrf.geometry.relations import Masked, Product, Relation, Reshape, Several
from jaxrf.interpret.axes import Positions
from jaxrf.interpret.geometry import Geometry
from jaxrf.interpret.links import Link
from jaxrf.primitives.operation import Kind, about


def spread_and_gathered(
    geometry: Geometry, equations: Sequence[Equation], random: Collection[Equation]
) -> tuple[set[Equation], set[Equation]]:
    """Those of the products with `random` weights below an equation that spreads, and those above one that gathers.

    Statistics that join a main path are left out, such as the mean in `x - mean(x)` or a pooled gate:
    each position's part in them is small.

    Args:
        geometry: of the traced model.
        equations: of the pull-back, from the target to the source.
        random: equations that pull back by independent weights, which neither spread nor gather in this sense.
    """
    known = geometry.positions
    aside = _statistics(known)
    links = [[link for link in known.links.get(eqn, []) if link not in aside] for eqn in equations]
    alike: set[Variable] = set()
    for eqn, mine in zip(equations, links):
        for link in mine:
            if eqn.result in alike or (eqn not in random and _spreads(link, known)):
                alike.add(link.source)
    added: set[Variable] = set()
    for eqn, mine in zip(reversed(equations), reversed(links)):
        for link in mine:
            if link.source in added or (eqn not in random and _gathers(link, known)):
                added.add(eqn.result)
    return {eqn for eqn in random if eqn.result in alike}, {eqn for eqn in random if added.intersection(eqn.operands)}


def _statistics(known: Positions) -> set[Link]:
    """Links that went through a sum over all positions, up to where they join a path that did not."""
    reduced: set[Variable] = set()
    through: set[Link] = set()
    for eqn, links in known.links.items():
        mine = {link for link in links if link.source in reduced or _sums_all(link, known)}
        if mine and (len(mine) == len(links) or about(eqn.primitive).kind is not Kind.ADD):
            reduced.add(eqn.result)
        through |= mine
    # A path that is never joined is the main one: only what is left behind at a join is a statistic.
    joined: set[Variable] = set()
    aside: set[Link] = set()
    for eqn, links in reversed(known.links.items()):
        for link in links:
            left = about(eqn.primitive).kind is Kind.ADD and eqn.result not in reduced
            if link in through and (left or eqn.result in joined):
                joined.add(link.source)
                aside.add(link)
    return aside


def _sums_all(link: Link, known: Positions) -> bool:
    """Whether a sum or maximum runs over a whole axis of positions."""
    kinds, relation = known.kinds[link.source], link.relation
    if not about(link.equation.primitive).reduces or not isinstance(relation, Product):
        return False
    return any(position and m.in_size > 1 and out is None for position, (m, out) in zip(kinds, relation.axes))


def _spreads(link: Link, known: Positions) -> bool:
    """Whether one position of the result sees several positions of the operand."""
    if about(link.equation.primitive).kind is Kind.CHOICE:  # what is pulled back goes to the one that was chosen
        return False
    axes = _axes(link.relation)
    if axes is None:
        return not isinstance(link.relation, Reshape)
    return any(position and _seen(axis_map) > 1 for position, (axis_map, _) in zip(known.kinds[link.source], axes))


def _gathers(link: Link, known: Positions) -> bool:
    """Whether one position of the operand is seen by several positions of the result."""
    axes = _axes(link.relation)
    if axes is None:
        return not isinstance(link.relation, Reshape)
    kinds: Kinds = known.kinds[link.equation.result]
    driven = {out for _, out in axes}
    repeated = any(p and n > 1 and a not in driven for a, (p, n) in enumerate(zip(kinds, link.relation.out_shape)))
    return repeated or any(
        position and out is not None and axis_map.reach > 1
        for position, (axis_map, out) in zip(known.kinds[link.source], axes)
    )


def _seen(axis_map: AxisMap) -> int:
    """At most how many input positions one output position depends on."""
    index, valid = axis_map.taps(np.arange(axis_map.out_size))
    inside = valid & (index >= 0) & (index < axis_map.in_size)
    return int(inside.sum(axis=0).max(initial=0))


def _axes(relation: Relation) -> Sequence[tuple[AxisMap, int | None]] | None:
    """Axis by axis, as far as a relation is so."""
    if isinstance(relation, Masked):
        return _axes(relation.inner)
    if isinstance(relation, Several):
        return relation.hull.axes
    return relation.axes if isinstance(relation, Product) else None
