"""Where one axis may be cut: which units a piece of the input computes as the whole does.

Takes the phases of a layer on the axis; yields an `AxisPlan`. Numbers alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from jaxrf.errors import InputError
from jaxrf.geometry.layer_field import LayerField
from jaxrf.geometry.phases import Phases

Context = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class AxisPlan:
    """The pieces of one axis.

    Attributes:
        size: positions of the whole input.
        along: the axis of the units that runs along it; None where none does, and it stays whole.
        units: of the layer on the whole input, along that axis.
        length: positions of each piece.
        starts: where each piece begins.
        offsets: the unit of the whole that is the first one of each piece.
        borders: piece `k` keeps the units from `borders[k]` to `borders[k + 1]`.
        step: pieces begin at multiples of it.
        seam: start, offset and units from-to of one more piece, which holds others than the first two on both sides of
            the border between them; None where there is no place for one.
    """

    size: int
    along: int | None
    units: int
    length: int
    starts: tuple[int, ...]
    offsets: tuple[int, ...]
    borders: tuple[int, ...]
    step: int
    seam: tuple[int, int, int, int] | None = None

    @property
    def pieces(self) -> list[tuple[int, int, int, int]]:
        """Start, offset and units from-to of each piece."""
        return list(zip(self.starts, self.offsets, self.borders, self.borders[1:]))

    def __str__(self) -> str:
        if len(self.starts) == 1:
            return f"whole, {self.size}"
        least = min(a + self.length - b for a, b in itertools.pairwise(self.starts))
        return f"{len(self.starts)} of {self.length} every {self.starts[1]}, overlapping by {least} or more"


@dataclass(frozen=True)
class AxisCut:
    """How one axis of a layer may be cut.

    Attributes:
        where: the axis and layer, for messages.
        along: the axis of the units that runs along it; None where none does, and it stays whole.
        phases: of the layer on this axis; None where it has none.
        step: pieces begin at multiples of it.
        traced: size of the input and number of units at which the row was traced.
    """

    where: str
    along: int | None
    phases: Phases | None
    step: int
    traced: tuple[int, int]

    @classmethod
    def of(cls, row: LayerField, axis: int, divisor: int = 1, whole: bool = False) -> AxisCut:
        """The cut of an axis of a row.

        Raises:
            InputError: it cannot be cut, with the cause.
        """
        where = f"axis {axis} of layer {row.name!r}"
        phases, continuation = row.phases[axis], row.fields[axis].continuation
        if phases is None or phases.step <= 0 or continuation is None:
            if not whole:
                raise InputError(cannot_cut(row, axis))
            return cls(where, None, None, 1, (row.input_shape[axis], 0))
        traced = row.input_shape[axis], row.unit_shape[continuation.axis]
        return cls(where, continuation.axis, phases, math.lcm(phases.step, divisor), traced)

    def units(self, size: int) -> int:
        """How many units the layer has on an input of so many positions.

        Raises:
            InputError: the row was traced at a size that does not tell.
        """
        known, units = self.traced
        if size == known:
            return units
        step = 0 if self.phases is None else self.phases.step
        if not step or (size - known) % step:
            like = f"a size of {known} modulo {step}" if step else "the same size"
            raise InputError(
                f"A row traced on {known} positions does not tell what {size} give on {self.where}: strides and padding "
                f"fall differently. Needed is {like}; trace the model at the size of the image."
            )
        return units + (size - known) // step * self._period

    def depth(self, context: tuple[int, int] | None) -> tuple[int, int]:
        """Context before and after what tiles own that begin at multiples of the step, rounded up to it."""
        assert self.phases is not None
        before, after = context or self.phases.halo(aligned=True) or (0, 0)
        return -(-before // self.step) * self.step, -(-after // self.step) * self.step

    def plan(self, size: int, units: int, most: int, context: tuple[int, int] | None = None) -> AxisPlan:
        """The pieces of an input of so many positions, each at most `most` long.

        Raises:
            InputError: pieces of that length cannot cover it; the smallest that can is named.
        """
        if most < 1:
            raise InputError(f"tile={most} for {self.where}; needed is at least 1.")
        length = size if most >= size else most - (most - size) % self.step
        if length >= size or self.phases is None:
            return AxisPlan(size, self.along, units, size, (0,), (0,), (0, units), self.step)
        found = self._pieces(size, units, length, context) if length > 0 else None
        if found is not None:
            return found
        smallest = self.smallest(size, units, context)
        before, after = self.depth(context)
        raise InputError(
            f"tile={most} is too small for {self.where}: tiles begin at multiples of {self.step}, and need {before} "
            f"positions of context before and {after} after what they own. "
            + (f"Use tile={smallest} or more." if smallest < size else f"Run all of its {size} positions: tile=None.")
        )

    def smallest(self, size: int, units: int, context: tuple[int, int] | None = None) -> int:
        """The smallest length of pieces that cover so many positions; the size itself where no smaller one does."""
        first = size % self.step or self.step
        lengths = range(first, size, self.step)
        lo, hi = 0, len(lengths)
        while lo < hi:  # longer pieces do where shorter ones did
            middle = (lo + hi) // 2
            if self._pieces(size, units, lengths[middle], context) is None:
                lo = middle + 1
            else:
                hi = middle
        return lengths[lo] if lo < len(lengths) else size

    def valid(self, context: tuple[int, int] | None = None) -> Valid:
        """Which units a piece computes as the whole does."""
        assert self.phases is not None
        return Valid(self.phases if context is None else with_context(self.phases, context), self.step)

    @property
    def _period(self) -> int:
        assert self.phases is not None
        return self.phases.period

    def _pieces(self, size: int, units: int, length: int, context: tuple[int, int] | None) -> AxisPlan | None:
        valid, last, held = self.valid(context), size - length, self.units(length)
        starts, borders = [0], [0]
        while starts[-1] < last:
            # With less context than theory asks for, a network without padding has fewer units on a piece.
            border = min(valid.until(starts[-1] + length), units, valid.offset(starts[-1]) + held)
            if border == units:  # nobody sees the rest of the input
                break
            start = min(valid.latest_start(border), last)
            if start <= starts[-1] or border <= borders[-1]:
                return None
            starts.append(start)
            borders.append(border)
        offsets = tuple(valid.offset(start) for start in starts)
        middle = starts[len(starts) > 1] // 2 // self.step * self.step
        first, until = valid.from_(middle), min(valid.until(middle + length), units, valid.offset(middle) + held)
        seam = (middle, valid.offset(middle), first, until) if middle and first < until else None
        return AxisPlan(size, self.along, units, length, tuple(starts), offsets, (*borders, units), self.step, seam)


@dataclass(frozen=True)
class Valid:
    """Which units see nothing beyond a cut, for cuts at multiples of a step."""

    phases: Phases
    step: int

    @property
    def per_step(self) -> int:
        """Units in a step."""
        return self.step // self.phases.step * self.phases.period

    def offset(self, start: int) -> int:
        """The unit that is the first one of a piece that begins at `start`."""
        return start // self.step * self.per_step

    @cached_property
    def _first(self) -> int:
        """The first unit from which on none sees a position below 0."""
        lo, _ = self.phases.at(np.arange(self.phases.period))
        some = self.phases.lo < self.phases.hi
        turns = -(lo[some] // self.phases.step)  # by so many periods later, each phase sees nothing below 0
        return int((turns * self.phases.period + np.flatnonzero(some)).max()) - self.phases.period + 1

    def from_(self, start: int) -> int:
        """The first unit from which on none sees a position before `start`."""
        return self.offset(start) + self._first

    def until(self, end: int) -> int:
        """The first unit that sees a position at `end` or behind; that many units before it are the piece's own."""
        p = self.phases
        some = np.flatnonzero(p.lo < p.hi)
        turns = (end - p.hi[some]) // p.step + 1  # the first period in which each phase sees beyond the end
        return int((turns * p.period + some).min())

    def latest_start(self, unit: int) -> int:
        """The last start of a piece that computes all units from `unit` on."""
        return (unit - self._first) // self.per_step * self.step


def with_context(phases: Phases, context: tuple[int, int]) -> Phases:
    """Phases whose units see what they own and a context, in place of their field."""
    begin, end = phases.owned(np.arange(phases.period))
    return replace(phases, lo=begin - context[0], hi=end + context[1])


def cannot_cut(row: LayerField, axis: int) -> str:
    """Why an axis cannot be cut, and what to do."""
    causes = list(row.global_cause.values())
    names = [name for name in row.global_axes if name != "batch"]
    if names:
        return (
            f"Layer {row.name!r} cannot be cut on axis {axis}: it sees its input whole ({', '.join(names)}), behind "
            f"{causes[0]}. Statistics of the whole image can be frozen: use running averages (use_running_average=True), "
            "or measure them once and pass them as arguments; attention can be kept to windows. Otherwise run this axis "
            "whole, tile=None, or choose a layer before it."
        )
    if len(row.unit_shape) != len(row.fields):
        found = f"its units have {len(row.unit_shape)} axes and its input {len(row.fields)}, as those of tokens have"
    else:
        found = "its field does not move along by one stride, as behind masks that grow, flips and windows that wrap"
    return (
        f"Layer {row.name!r} cannot be cut on axis {axis}: {found}. Choose a layer before it, or run this axis whole: "
        "tile=None."
    )
