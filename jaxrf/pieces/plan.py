"""Where an input is cut, so that each unit is computed from all that it sees.

Takes a row of the table and a size, and yields a `TilePlan`: numbers alone, for any runner.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

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
        units: of the layer on the whole input.
        length: positions of each piece.
        starts: where each piece begins.
        offsets: the unit of the whole that is the first one of each piece.
        borders: piece `k` keeps the units from `borders[k]` to `borders[k + 1]`.
        step: pieces begin at multiples of it.
        seam: start, offset and units from-to of one more piece, which holds others than the first two on both sides of
            the border between them; None where there is no place for one.
    """

    size: int
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
class Piece:
    """One tile: `window` of the input, `inside` of the tile's units, `place` of these among all units; slices per axis."""

    window: tuple[slice, ...]
    inside: tuple[slice, ...]
    place: tuple[slice, ...]

    def value(
        self, function: Callable[[Any], Any], image: Any, spatial_axes: Sequence[int], unit_axes: Sequence[int]
    ) -> np.ndarray:
        """The value that a function gives on the window, of the units inside.

        Raises:
            InputError: they are not all there.
        """
        found = np.asarray(function(image[_index(spatial_axes, self.window, len(image.shape))]))
        part = found[_index(unit_axes, self.inside, found.ndim)]
        for axis, wanted in zip(unit_axes, self.inside):
            if part.shape[axis] != wanted.stop - wanted.start:
                raise InputError(
                    f"A tile gives a value of shape {found.shape}, from which units {wanted.start} to {wanted.stop} of axis "
                    f"{axis} were to be taken; they are not all there. The plan is of another layer or function."
                )
        return part


@dataclass(frozen=True)
class TilePlan:
    """Tiles that give the same as the whole: iterate over it for its `Piece`s, print it for what it costs.

    Attributes:
        layer: whose units are computed.
        axes: one `AxisPlan` per spatial axis of the input.
        unit_axes: which axis of the units runs along each of them.
        depth: per axis, what a tile needs before and after what it owns, in input positions and rounded up to the step:
            the depth of `dask.array.map_overlap`.
        exact: whether each unit has all that it sees; False with a smaller context.
    """

    layer: str
    axes: tuple[AxisPlan, ...]
    unit_axes: tuple[int, ...]
    depth: tuple[tuple[int, int], ...]
    exact: bool = True

    @property
    def tile(self) -> tuple[int, ...]:
        """Input positions of each tile, overlap included."""
        return tuple(axis.length for axis in self.axes)

    @property
    def units(self) -> tuple[int, ...]:
        """The layer's units on the whole input, in the order of the unit axes."""
        return tuple(self.axes[self.unit_axes.index(i)].units for i in range(len(self.axes)))

    @property
    def waste(self) -> float:
        """Positions that are computed more than once, as a share of those of the input: 0.5 for half as many again."""
        return math.prod(len(a.starts) * a.length / a.size for a in self.axes) - 1

    def __len__(self) -> int:
        return math.prod(len(axis.starts) for axis in self.axes)

    def __iter__(self) -> Iterator[Piece]:
        for parts in itertools.product(*(axis.pieces for axis in self.axes)):
            yield self._piece(parts)

    @property
    def seams(self) -> list[Piece]:
        """One more tile over a border between two tiles, for each axis that has one: what is computed twice must agree."""
        found = []
        for i, axis in enumerate(self.axes):
            if axis.seam is not None:
                found.append(self._piece([axis.seam if i == j else a.pieces[0] for j, a in enumerate(self.axes)]))
        return found

    def _piece(self, parts: Sequence[tuple[int, int, int, int]]) -> Piece:
        window = tuple(slice(start, start + axis.length) for axis, (start, *_) in zip(self.axes, parts))
        place, inside = [slice(0)] * len(self.axes), [slice(0)] * len(self.axes)
        for (_, offset, first, last), to in zip(parts, self.unit_axes):
            place[to], inside[to] = slice(first, last), slice(first - offset, last - offset)
        return Piece(window, tuple(inside), tuple(place))

    def run(
        self,
        function: Callable[[Any], Any],
        image: Any,
        *,
        spatial_axes: Sequence[int] | None = None,
        unit_axes: Sequence[int] | None = None,
        out: Any = None,
    ) -> np.ndarray:
        """`function` on each tile, put together.

        Args:
            function: from a part of the image to its value of the layer, both arrays.
            image: anything with a shape that slices give arrays of: an array, a memory map.
            spatial_axes: axes of the image that are positions, in the order of the plan; those between the first and
                the last if None.
            unit_axes: axes of the value that are the layer's units; those between the first and the last if None.
            out: where to write, such as a memory map; a new array if None.

        Returns:
            The layer's value on the whole image.

        Raises:
            InputError: the image has another size than the plan, or a tile another number of units.
        """
        given = range(1, len(self.axes) + 1)
        across, into = tuple(spatial_axes or given), tuple(unit_axes or given)
        found = tuple(image.shape[a] for a in across)
        if found != tuple(axis.size for axis in self.axes):
            raise InputError(
                f"The image has {found} positions and the plan is of {tuple(axis.size for axis in self.axes)}. "
                "Make a plan of this size."
            )
        for piece in self:
            part = piece.value(function, image, across, into)
            if out is None:
                shape = list(part.shape)
                for axis, units in zip(into, self.units):
                    shape[axis] = units
                out = np.empty(shape, part.dtype)
            out[_index(into, piece.place, part.ndim)] = part
        return out

    def __str__(self) -> str:
        kind = "the same as the whole" if self.exact else "the same but for context that is left out"
        lines = [
            f"{len(self)} tile{'s' * (len(self) != 1)} for {self.layer!r}: {kind}, {self.waste:.0%} computed twice"
        ]
        return "\n".join([*lines, *(f"  axis {i}: {axis}" for i, axis in enumerate(self.axes))])


def tile_plan(
    row: LayerField,
    size: int | Sequence[int],
    tile: int | Sequence[int | None] | None,
    *,
    divisible_by: int | Sequence[int] = 1,
    context: Context | None = None,
) -> TilePlan:
    """Where to cut an input into tiles, so that running them one by one gives the same as the whole.

    Args:
        row: of the layer that is wanted, from `jaxrf.trf`; of any input whose size is that of `size` modulo the step.
        size: positions of the input, one number per spatial axis or one for all.
        tile: the most positions of a tile, overlap included; None for an axis that stays whole.
        divisible_by: what the model asks of its input's size; of networks that go back to their input's stride, the
            row knows it. Tiles begin at its multiples.
        context: positions before and after what a unit owns, per axis, in place of what it sees; see `jaxrf.halo`.

    Returns:
        A `TilePlan`: iterate over it, `print` it, or `run` it.

    Raises:
        InputError: an axis is seen whole, or has no stride; a size that the model would not take; a tile that is too
            small, with the smallest that would do.

    Example:
        >>> import jaxrf
        >>> from jaxrf import zoo
        >>> row = jaxrf.trf(zoo.unet(depth=2, width=4), (64, 64, 1))[-1]
        >>> print(jaxrf.tile_plan(row, (400, 64), 128))
        7 tiles for 'output': the same as the whole, 124% computed twice
          axis 0: 7 of 128 every 48, overlapping by 80 or more
          axis 1: whole, 64
    """
    count = len(row.fields)
    sizes, divisors = each("size", size, count), each("divisible_by", divisible_by, count)
    for i, (n, divisor) in enumerate(zip(sizes, divisors)):
        if n % divisor:
            raise InputError(
                f"An input of {n} positions on axis {i} is not divisible by {divisor}, so that the model would not take it. "
                f"Pad it to {-(-n // divisor) * divisor}, or cut it to {n // divisor * divisor}."
            )
    return planned(row, sizes, each("tile", tile, count, none=True), divisors, context)


def planned(
    row: LayerField, sizes: Sequence[int], tiles: Sequence[int | None], steps: Sequence[int], context: Context | None
) -> TilePlan:
    """A plan whose tiles begin at multiples of `steps`; all else as for `tile_plan`, with one entry per axis.

    Raises:
        InputError: as for `tile_plan`.
    """
    count = len(row.fields)
    contexts = [None] * count if context is None else list(context)
    if len(contexts) != count or any(c is not None and (len(c) != 2 or min(c) < 0) for c in contexts):
        raise InputError(f"context={context!r} is not a pair (before, after) of at least 0 for each of {count} axes.")
    axes, depth = [], []
    for i, (n, most, step) in enumerate(zip(sizes, tiles, steps)):
        cut = AxisCut.of(row, i, step, whole=most is None)
        axes.append(cut.plan(n, cut.units(n), n if most is None else most, contexts[i]))
        depth.append((0, 0) if most is None else cut.depth(contexts[i]))
    return TilePlan(row.name, tuple(axes), _unit_axes(row), tuple(depth), context is None)


@dataclass(frozen=True)
class AxisCut:
    """How one axis of a layer may be cut.

    Attributes:
        where: the axis and layer, for messages.
        phases: of the layer on this axis; None for one that stays whole.
        step: pieces begin at multiples of it.
        traced: size of the input and number of units at which the row was traced.
    """

    where: str
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
        units = row.unit_shape[_unit_axes(row)[axis]]
        phases, traced = row.phases[axis], (row.input_shape[axis], units)
        if whole:
            return cls(where, None, 1, traced)
        if phases is None or phases.step <= 0:
            raise InputError(cannot_cut(row, axis))
        return cls(where, phases, math.lcm(phases.step, divisor), traced)

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
            return AxisPlan(size, units, size, (0,), (0,), (0, units), self.step)
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
        valid, last = self.valid(context), size - length
        starts, borders = [0], [0]
        while starts[-1] < last:
            border = min(valid.until(starts[-1] + length), units)
            if border == units:  # nobody sees the rest of the input
                break
            start = min(valid.latest_start(border), last)
            if start <= starts[-1] or border <= borders[-1]:
                return None
            starts.append(start)
            borders.append(border)
        offsets = tuple(valid.offset(start) for start in starts)
        middle = starts[len(starts) > 1] // 2 // self.step * self.step
        first, until = valid.from_(middle), min(valid.until(middle + length), units)
        seam = (middle, valid.offset(middle), first, until) if middle and first < until else None
        return AxisPlan(size, units, length, tuple(starts), offsets, (*borders, units), self.step, seam)


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
    begin, end = owned(phases, np.arange(phases.period))
    return replace(phases, lo=begin - context[0], hi=end + context[1])


def owned(phases: Phases, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and one-past-last position that units own: [stride*u, stride*(u + 1)) rounded down, at least one."""
    begin = units * phases.step // phases.period
    return begin, np.maximum((units + 1) * phases.step // phases.period, begin + 1)


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
        found = f"its units have {len(row.unit_shape)} axes and its input {len(row.fields)}, as tokens and vectors do"
    else:
        found = "its field does not move along by one stride, as behind masks that grow, flips and windows that wrap"
    return (
        f"Layer {row.name!r} cannot be cut on axis {axis}: {found}. Choose a layer before it, or run this axis whole: "
        "tile=None."
    )


def _unit_axes(row: LayerField) -> tuple[int, ...]:
    """The unit axis along each axis of the input; those without a pattern take what is left, in order."""
    count = len(row.fields)
    if len(row.unit_shape) != count:
        raise InputError(cannot_cut(row, 0))
    along = [
        one.continuation.axis if p is not None and one.continuation else None for one, p in zip(row.fields, row.phases)
    ]
    left = iter(a for a in range(count) if a not in along)
    return tuple(next(left) if a is None else a for a in along)


def each(name: str, value: Any, count: int, none: bool = False) -> list[Any]:
    """One whole number of at least 1 (or None, where that is allowed) for each axis, from one for all or one for each.

    Raises:
        InputError: it is something else.
    """
    given = [value] * count if value is None or np.ndim(value) == 0 else list(value)
    whole = all((none and v is None) or (isinstance(v, int | np.integer) and not isinstance(v, bool)) for v in given)
    if len(given) != count or not whole or any(v is not None and v < 1 for v in given):
        raise InputError(
            f"{name}={value!r} is not a whole number of at least 1 for each of the {count} spatial axes; give one number "
            "for all or one for each."
        )
    return [None if v is None else int(v) for v in given]


def _index(axes: Sequence[int], slices: Sequence[slice], rank: int) -> tuple[slice, ...]:
    index = [slice(None)] * rank
    for axis, one in zip(axes, slices):
        index[axis] = one
    return tuple(index)
