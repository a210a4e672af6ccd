"""Which window of each variable a batch of units needs: static sizes, starts from a table.

Walks the tangent program from the target back to the source with one interval per axis and unit.
Yields a `Windows`; computes no values, and all of it is numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

import numpy as np

from jaxrf.engine.lattice import Lattice, meet_all, through
from jaxrf.engine.reach import Reach
from jaxrf.equations.program import Equation, Operand, TangentProgram, Variable
from jaxrf.geometry.axis_map import AxisMap, Interval
from jaxrf.geometry.maps import Pattern, Window
from jaxrf.geometry.relations import Masked, Product, Relation, Reshape, Several
from jaxrf.interpret.fields import relation
from jaxrf.primitives.rule import Span, Spans, rules


@dataclass(eq=False)
class Starts:
    """Rows of window starts, one entry per unit; equal rows are kept once."""

    rows: list[np.ndarray] = field(default_factory=list)
    _known: dict[bytes, int] = field(default_factory=dict)

    def row(self, starts: np.ndarray) -> int:
        """The number of the row that holds `starts`."""
        key = starts.astype(np.int64).tobytes()
        if key not in self._known:
            self._known[key] = len(self.rows)
            self.rows.append(starts.astype(np.int64))
        return self._known[key]

    def table(self, units: int) -> np.ndarray:
        """(rows, units), int32."""
        return np.array(self.rows, np.int32).reshape(-1, units)

    def bounds(self, row: int) -> tuple[int, int]:
        """Smallest and largest start."""
        return int(self.rows[row].min()), int(self.rows[row].max())


@dataclass(frozen=True, eq=False)
class Step:
    """One equation of the pull-back: the operands it pulls to, their windows, and which axes need a mask."""

    equation: Equation
    into: Mapping[int, Spans]
    masked: Mapping[int, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Windows:
    """The static side of a pull-back.

    `regions` are the windows of the variables, `steps` the equations from the target back,
    `unit` the window of the unit itself in the target, `starts` the table that the spans refer to.
    """

    target: Variable
    source: Variable
    unit: Spans
    regions: Mapping[Variable, Spans]
    steps: tuple[Step, ...]
    starts: Starts
    count: int
    """Number of units."""
    varying: Set[Operand] = frozenset()
    """Coefficients that depend on the image."""
    units: Mapping[int, np.ndarray] = field(default_factory=dict)
    """Positions of the units on axes of the target."""

    def coefficients(self) -> list[Variable]:
        """The forward variables that the steps read."""
        found: dict[Variable, None] = {}
        for step in self.steps:
            for operand in step.equation.operands:
                if isinstance(operand, Variable) and not operand.tangent:
                    found[operand] = None
        return list(found)


def windows(
    program: TangentProgram, target: Variable, source: Variable, units: Mapping[int, np.ndarray],
    widths: Mapping[int, int] | None = None, kept: frozenset[int] = frozenset(), whole: bool = False,
) -> Windows:  # fmt: skip
    """The windows of all variables between `source` and `target`.

    Args:
        program: the traced model.
        target: the layer whose units are pulled back.
        source: what they are pulled back to.
        units: position of each unit on each unit axis of the target; other axes are whole.
        widths: how many positions a unit has along an axis, from that one on, where it is more than one.
        kept: axes of the source that are whole.
        whole: use whole arrays for everything but the unit, as a plain pull-back does.
    """
    return _Planner(program, target, source, units, widths or {}, kept, whole).windows()


def whole_arrays(program: TangentProgram, cut: Windows) -> Windows:
    """The same units pulled back through whole arrays, as plain JAX does it, to the same windows of the source."""
    made = windows(program, cut.target, cut.source, cut.units, whole=True)
    region = tuple(
        span if span.start is None else replace(span, start=made.starts.row(cut.starts.rows[span.start]))
        for span in cut.regions[cut.source]
    )
    return replace(made, regions={**made.regions, cut.source: region})


class _Planner:
    def __init__(self, program, target, source, units, widths, kept, whole):
        self.program, self.target, self.source = program, target, source
        self.widths, self.kept, self.whole = widths, kept, whole
        self.equations: list[Equation] = program.ancestors(target, source)
        self.count = len(next(iter(units.values()))) if units else 1
        self.units = units
        self.starts = Starts()
        self.reached = {source} | {eqn.result for eqn in self.equations}
        self.relations: dict[tuple[Equation, int], Relation] = {
            (eqn, i): relation(program, eqn, i, "raise")[0]
            for eqn in self.equations
            for i in eqn.tangents
            if eqn.operands[i] in self.reached
        }
        self.lattices = self._lattices()
        self.reach = Reach(self.equations, self.relations, source)
        self.boxes: dict[Variable, list[Interval | None]] = {}

    def windows(self) -> Windows:
        box: list[Interval | None] = [
            (self.units[axis], self.units[axis] + self.widths.get(axis, 1)) if axis in self.units else None
            for axis in range(len(self.target.shape))
        ]
        unit = tuple(self._span(interval, n) for interval, n in zip(box, self.target.shape))
        self._join(self.target, box)
        regions: dict[Variable, Spans] = {}
        steps = []
        for eqn in reversed(self.equations):
            if eqn.result not in self.boxes:
                continue
            regions[eqn.result] = out = self._region(eqn.result, rules[eqn.primitive].needs_whole(eqn))
            steps.append(self._step(eqn, out))
        regions[self.source] = self._region(self.source, self.kept)
        varying = self.program.image_dependent
        return Windows(
            self.target, self.source, unit, regions, tuple(steps), self.starts, self.count, varying, self.units
        )

    def _step(self, eqn: Equation, out: Spans) -> Step:
        box = [self._interval(span) for span in out]
        into, masked = {}, {}
        for i in eqn.tangents:
            if (eqn, i) not in self.relations:
                continue
            operand = eqn.operands[i]
            assert isinstance(operand, Variable)
            pulled = self.relations[eqn, i].pull(box)
            moves = _moves(self.relations[eqn, i], out)
            natural = [interval if axis in moves else None for axis, interval in enumerate(pulled)]
            within = natural if self.whole else self.reach.cut(operand, natural, self.count)
            if rules[eqn.primitive].sums_parts:
                summed = [out is None for _, out in _axes(self.relations[eqn, i])]
                natural = [b if gone else a for a, b, gone in zip(natural, within, summed)]
            into[i] = tuple(self._span(interval, n) for interval, n in zip(natural, operand.shape))
            masked[i] = tuple(axis for axis, breaks in moves.items() if breaks)
            self._join(operand, within)
        return Step(eqn, into, masked)

    def _region(self, variable: Variable, forced: frozenset[int]) -> Spans:
        """The union of what all uses need, as windows of one size that start on the lattice."""
        spans = []
        for axis, (interval, n) in enumerate(zip(self.boxes[variable], variable.shape)):
            if interval is None or axis in forced or self.whole:
                spans.append(Span(n, n))
                continue
            lo = self.lattices[variable][axis].floor(interval[0])
            spans.append(self._span((lo, interval[1]), n, shrink=True))
        return tuple(spans)

    def _span(self, interval: Interval | None, n: int, shrink: bool = False) -> Span:
        """A moving window, or the whole axis where there is no interval (or, with `shrink`, where it is as large)."""
        if interval is None:
            return Span(n, n)
        size = int((interval[1] - interval[0]).max())
        return Span(n, n) if shrink and size >= n else Span(size, n, self.starts.row(interval[0]))

    def _interval(self, span: Span) -> Interval:
        lo = self.starts.rows[span.start] if span.start is not None else np.zeros(self.count, np.int64)
        return lo, lo + span.size

    def _join(self, variable: Variable, box: list[Interval | None]) -> None:
        old = self.boxes.get(variable)
        self.boxes[variable] = box if old is None else [
            None if a is None or b is None else (np.minimum(a[0], b[0]), np.maximum(a[1], b[1]))
            for a, b in zip(old, box)
        ]  # fmt: skip

    def _lattices(self) -> dict[Operand, list[Lattice]]:
        """Where the window of each variable should start, from the source on."""
        lattices: dict[Operand, list[Lattice]] = {self.source: [Lattice() for _ in self.source.shape]}
        for eqn in self.equations:
            above: list[list[Lattice]] = [[] for _ in eqn.result.shape]
            for i in eqn.tangents:
                link = self.relations.get((eqn, i))
                for axis, (axis_map, out) in enumerate(_axes(link) if link else ()):
                    if out is not None and isinstance(axis_map, Window):
                        above[out].append(through(axis_map, lattices[eqn.operands[i]][axis]))
            lattices[eqn.result] = [meet_all(found) for found in above]
        return lattices


def _axes(link: Relation) -> tuple[tuple[AxisMap | None, int | None], ...]:
    """Map and driving result axis of each operand axis, as far as a relation has them."""
    if isinstance(link, Masked):
        return _axes(link.inner)
    if isinstance(link, Several):
        return _axes(link.hull)
    if isinstance(link, Product):
        return link.axes
    if isinstance(link, Reshape):
        pairs = {ins[0]: outs[0] for ins, outs in link.groups if len(ins) == len(outs) == 1}
        return tuple((Window(n, n), pairs.get(a)) for a, n in enumerate(link.in_shape))
    return tuple((None, None) for _ in link.in_shape)


def _moves(link: Relation, out: Spans) -> dict[int, bool]:
    """Operand axes whose window moves with the result's, and whether values can appear outside the array there."""
    moves = {}
    for axis, (axis_map, result_axis) in enumerate(_axes(link)):
        if result_axis is None or not out[result_axis].moving:
            continue
        if isinstance(axis_map, Window):
            moves[axis] = not axis_map.identity
        elif isinstance(axis_map, Pattern):
            moves[axis] = False
    return moves
