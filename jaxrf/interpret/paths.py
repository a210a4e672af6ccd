"""The path interpretation: how many paths join each input position to a unit.

Counts are pulled back from the unit, coefficients set to one, through the relations that boxes are made of.
Elementwise arithmetic between two steps is one step, however many terms its derivative has: x · sigmoid(x) counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxrf.equations.program import Layer, TangentProgram, Variable
from jaxrf.errors import InputError
from jaxrf.geometry.counting import Counts, pull, unit_counts
from jaxrf.geometry.kinds import let_through
from jaxrf.geometry.row import Row
from jaxrf.interpret.axes import Positions
from jaxrf.interpret.geometry import Geometry

Sources = dict[Variable, dict[Variable, np.ndarray]]
"""For each variable those that it is computed from position by position, and at which of the positions."""


def count(geometry: Geometry, layer: Layer, row: Row, unit: Sequence[int], log: bool = False) -> np.ndarray:
    """Counts of the paths from every input position to one unit of a layer.

    Args:
        geometry: of the traced model; of several images the first one's paths count.
        layer: the layer of the unit.
        row: the layer's row, for its box.
        unit: position in the layer.
        log: natural logarithms instead of whole numbers.

    Returns:
        Over the unit's clipped box: int64, or Python integers (dtype object) where they are larger; with `log` float64,
        minus infinity for none.

    Raises:
        InputError: no path leads to the unit.
    """
    assert layer.tangent is not None
    box = row.box(unit, clip=True)
    unit = tuple(int(u) for u in np.atleast_1d(unit))
    program, known = geometry.program, geometry.positions
    found = None
    if layer.tangent in known.kinds and all(lo < hi for lo, hi in box):
        at, kinds = dict(zip(known.units[layer.name].units, unit)), known.kinds[layer.tangent]
        start = tuple(at.get(axis, 0) if position else 0 for axis, position in enumerate(kinds))
        found = _pulled(program, known, layer.tangent, unit_counts(kinds, start, log))
    if found is not None:
        counts = _on_box(found, geometry.spatial, box)
        if (counts > found.none).any():
            return counts
    raise InputError(f"No path leads from the input to unit {unit} of layer {layer.name!r}. Choose another unit.")


def _pulled(program: TangentProgram, known: Positions, target: Variable, one: Counts) -> Counts | None:
    """Counts at the input."""
    sources = _sources(program, known)
    found: dict[Variable, Counts] = {}

    def enter(variable: Variable, counts: Counts) -> None:
        if counts.empty:
            return
        for source, passed in sources.get(variable, {}).items():
            moved = counts.at(variable.shape, passed)
            if source is not variable:
                moved = moved.laid_out(variable.shape, known.kinds[source], source.shape)
            found[source] = found[source].join(moved) if source in found else moved

    enter(target, one)
    for equation in reversed(list(known.links)):
        counts = found.pop(equation.result, None)
        if counts is None:
            continue
        for link in known.links[equation]:
            if not known.pointwise(link):
                enter(link.source, pull(link.relation, counts, known.kinds[link.source]))
    return found.get(program.input)


def _sources(program: TangentProgram, known: Positions) -> Sources:
    """The variables that a variable is computed from position by position: results of other steps, or the input.

    A variable whose own equation is such a step, for any of its operands, is among them itself.
    Two ways from one of them are one, wherever either of them is not masked.
    """
    everywhere = np.ones((), bool)
    sources: Sources = {program.input: {program.input: everywhere}}
    for equation, links in known.links.items():
        reached: dict[Variable, np.ndarray] = {}
        for link in links:
            if not known.pointwise(link):
                reached[equation.result] = everywhere
                continue
            passed = let_through(link.relation, known.kinds[equation.result])
            for source, mask in sources[link.source].items():
                reached[source] = reached.get(source, False) | (mask & passed)
        sources[equation.result] = reached
    return sources


def _on_box(counts: Counts, spatial: Sequence[int], box: Sequence[tuple[int, int]]) -> np.ndarray:
    """The counts of the first image's positions on a box that holds them all."""
    result = np.full([hi - lo for lo, hi in box], counts.none, counts.values.dtype)
    first = counts.values[max(0, -counts.start[0]) : 1 - counts.start[0]] if counts.start[0] <= 0 else counts.values[:0]
    if 0 in first.shape:
        return result
    inner = first.transpose(*spatial, *(a for a in range(first.ndim) if a not in spatial))
    inner = inner.reshape([first.shape[a] for a in spatial])
    place = []
    for (lo, hi), axis, size in zip(box, spatial, inner.shape):
        first, last = max(lo, counts.start[axis]), min(hi, counts.start[axis] + size)
        place.append((slice(first - lo, last - lo), slice(first - counts.start[axis], last - counts.start[axis])))
    result[tuple(a for a, _ in place)] = inner[tuple(b for _, b in place)]
    largest = result.max(initial=0) if not counts.log else 0
    return result.astype(np.int64) if not counts.log and largest < 2**63 else result


@dataclass(frozen=True, eq=False)
class Densities:
    """Called with a row of the program's table: the share of its center unit's box that has a path, None where none has."""

    geometry: Geometry

    def __call__(self, row: Row) -> float | None:
        layer = self.geometry.program.layers[row.name]
        if layer.tangent not in self.geometry.positions.kinds or 0 in row.unit_shape:
            return None
        try:
            found = count(self.geometry, layer, row, row.center_unit, log=True)
        except InputError:  # the center unit sees nothing
            return None
        return float((found > -np.inf).mean())
