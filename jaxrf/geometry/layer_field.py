"""One layer: where its units look, in numbers.

Takes the fields of a layer's output, one per input axis, and answers questions about them.
It never looks at a model, and nothing here runs JAX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.geometry.center import centers, patch, pitch
from jaxrf.geometry.edges import padded, unseen
from jaxrf.geometry.field import Field
from jaxrf.geometry.index import Unit, checked_index
from jaxrf.geometry.phases import Phases, phases_of, plain, smallest_input

Interval = tuple[int, int]


@dataclass(frozen=True, eq=False, repr=False)
class LayerField:
    """The theoretical receptive field of one layer.

    A unit is an index of those of the layer's axes that hold positions, `unit_shape`: (y, x) for an image-like layer,
    (token,) for a token layer, () where space is gone. They are in the order of the input's axes where each comes from one
    of these, so (y, x) too where the layer is laid out (channel, x, y); elsewhere in the layer's own order.
    All positions and sizes are input positions, one number per spatial axis of the input, in the order of those axes.

    Attributes:
        name: the layer's name in the model.
        kind: what the layer is, usually the name of its class.
        shape: output of the layer for one image, without the batch axis.
        unit_shape: the sizes of the axes that a unit indexes.
        fields: one `Field` per spatial axis of the input; bounds broadcast to `unit_shape`.
        parameters: number of trained numbers of the layer, None where unknown.
        flops: operations of the derivative in this layer and those inside it, a multiply-add counted as two; None where
            unknown. A convolution has as many as in the forward pass, a product of two values, as in attention, twice.
        flops_so_far: the same from the input to this layer, along all paths.
        exact: whether each clipped box is the hull of all paths; where False the box contains that hull.
        notes: sentences that qualify the numbers.
        global_axes: names of the axes that are seen whole ("y", "x", "batch", ...).
        global_cause: what made an axis global, by the name of the axis.
        counted: `density`, or how it is counted when it is asked for; None where that is not known.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    unit_shape: tuple[int, ...]
    fields: tuple[Field, ...]
    parameters: int | None = 0
    flops: int | None = None
    flops_so_far: int | None = None
    exact: bool = True
    notes: tuple[str, ...] = ()
    global_axes: tuple[str, ...] = ()
    global_cause: Mapping[str, str] = field(default_factory=dict)
    counted: float | Callable[[Any], float | None] | None = None

    def __post_init__(self):
        for axis, one in enumerate(self.fields):
            shapes = [one.lo.shape, one.hi.shape]
            if any(_broadcast(shape, self.unit_shape) != self.unit_shape for shape in shapes):
                raise InputError(
                    f"The field of layer {self.name!r} on input axis {axis} has bounds of shapes {shapes[0]} and "
                    f"{shapes[1]}. They must broadcast to the layer's unit shape {self.unit_shape}."
                )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Spatial sizes of the input."""
        return tuple(one.extent for one in self.fields)

    @cached_property
    def phases(self) -> tuple[Phases | None, ...]:
        """Per input axis, the repeated pattern of its unclipped intervals if its start is one line over one unit axis.

        None where there is no continuation, where two input axes run along the same unit axis (tokens),
        and where the interval also changes along another unit axis (windows).
        """
        along = [one.continuation.axis for one in self.fields if one.continuation is not None]
        return tuple(
            phases_of(one.continuation)
            if one.continuation is not None and along.count(one.continuation.axis) == 1
            else None
            for one in self.fields
        )

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Per axis, the smallest and the largest size that a unit has.

        Over the phases of interior units where the field repeats, over all units with clipped boxes elsewhere.
        A unit without any path has size 0.
        """
        sizes = []
        for one in self.fields:
            extents = np.maximum(one.endless.hi - one.endless.lo, 0)
            sizes.append((int(extents.min(initial=2**40)), int(extents.max(initial=0))) if extents.size else (0, 0))
        return tuple(sizes)

    @property
    def size(self) -> tuple[int, ...]:
        """Per axis, the largest size of an interior unit; where the field does not repeat, of any unit.

        An axis that is seen whole has the size of the input.
        """
        return tuple(largest for _, largest in self.sizes)

    @property
    def stride(self) -> tuple[int | Fraction | None, ...]:
        """Per axis, by how much the field moves from one unit to the next: the effective stride.

        A fraction behind upsampling beyond the input; None where no single number says it (global axes, tokens).
        """
        return tuple(p and plain(p.stride) for p in self.phases)

    @property
    def padding(self) -> tuple[int | Fraction | None, ...]:
        """Per axis, how far the field of unit 0 begins before the input: start = stride * unit - padding.

        Where units have phases, that line runs through the first phase of the largest size. None where `stride` is.
        """
        return tuple(p and plain(p.padding) for p in self.phases)

    @property
    def period(self) -> tuple[int | None, ...]:
        """Per axis, after how many units the field repeats its size and place; None where it does not repeat."""
        return tuple(None if one.continuation is None else one.continuation.period for one in self.fields)

    @property
    def min_size(self) -> tuple[int | Fraction | None, ...]:
        """Per axis, the size of the field of the smallest path alone; None where paths were not followed."""
        return tuple(None if one.paths is None else plain(one.paths.min_size) for one in self.fields)

    @property
    def aligned(self) -> bool:
        """Whether all paths agree on stride and center, on every axis where paths were followed."""
        return all(one.paths is None or one.paths.aligned for one in self.fields)

    @property
    def unproductive(self) -> bool:
        """Whether even the smallest path sees more than the whole input, on every axis.

        Further convolutions from here on cannot bring in new context (Richter et al. 2021, "Should You Go Deeper?").
        There the smallest path up to the layer's input counts, here the one up to its output.
        False where the paths of some axis were not followed.
        """
        pairs = list(zip(self.min_size, self.input_shape, strict=True))
        return bool(pairs) and all(size is not None and size > extent for size, extent in pairs)

    @property
    def share(self) -> float:
        """Share of the input area, 0 to 1, that the clipped box of the center unit covers."""
        sizes = (hi - lo for lo, hi in self.box(self.center_unit, clip=True))
        return math.prod(s / extent for s, extent in zip(sizes, self.input_shape, strict=True))

    @cached_property
    def density(self) -> float | None:
        """Share of the positions in the center unit's clipped box, 0 to 1, that have at least one path to it.

        Below 1 the field has holes, as behind dilated convolutions. Counted when it is first asked for, at about the
        cost of `jaxrf.paths`, which gives the holes themselves.
        None where the unit has no path, on rows of `wrt=`, and on a row that was saved or pickled before it was asked for.
        """
        return self.counted(self) if callable(self.counted) else self.counted

    def __getstate__(self) -> dict[str, Any]:
        # What counts paths holds the traced model, which cannot be pickled; what was counted can.
        state = self.__dict__.copy()
        known = None if callable(self.counted) else self.counted
        return state | {"counted": state.pop("density", known)}

    def box(self, unit: Unit, clip: bool = False) -> tuple[Interval, ...]:
        """Half-open intervals of input positions that `unit` depends on, one per input axis.

        Args:
            unit: index of the layer's unit axes.
            clip: False for the box on an endless input, which may leave the input; where the field does not repeat
                that is the clipped one. True for what the unit really sees: clipped on every layer on the way,
                and so exact at borders.

        Returns:
            ((lo, hi), ...); (0, 0) on an axis where the unit has no path to the input.

        Raises:
            InputError: the unit has another rank than the layer, or is not a unit of it.
        """
        index = self._check(unit)
        return tuple(
            _clipped(one, index, self.unit_shape) if clip else self._endless(one, index) for one in self.fields
        )

    def center(self, unit: Unit) -> tuple[float, ...]:
        """Where the unit lies: the middle of its unclipped box, start + (size - 1)/2, in input positions; may be a half.

        A box that other units share, as behind attention and normalization over positions, does not say where a unit lies.
        There it is the middle of the unit's local paths: those of the skip, of what the statistics are taken from,
        of the query. It is nan on an axis where the unit has none, as behind global pooling, and where it sees nothing.

        Raises:
            InputError: the unit has another rank than the layer, or is not a unit of it.
        """
        index = self._check(unit)
        return tuple(float(np.broadcast_to(middle, self.unit_shape)[index]) for middle in self._centers)

    def check_centers(self, units: Iterable[Unit], what: str, instead: str) -> None:
        """Fail where a unit sees the input and no local path says where it lies.

        Args:
            units: positions in the layer.
            what: what needs their centers, as the beginning of a sentence.
            instead: what to do, as a sentence.

        Raises:
            InputError: names the first of these units, and what made its field global.
        """
        for unit in units:
            pairs = zip(self.center(unit), self.box(unit, clip=True), strict=True)
            if any(math.isnan(middle) and lo < hi for middle, (lo, hi) in pairs):
                causes = "; ".join(f"{axis} is seen whole behind {cause}" for axis, cause in self.global_cause.items())
                raise InputError(
                    f"{what} needs the center of unit {tuple(map(int, np.ravel(unit)))} of layer {self.name!r}, which "
                    f"has none: no local path says where it lies{causes and f' ({causes})'}. {instead}"
                )

    @cached_property
    def center_unit(self) -> tuple[int, ...]:
        """The unit whose center is nearest to the middle of the input, (extent - 1)/2.

        Of several that are equally near, the lower middle one: unit axes along which centers do not differ, or do not
        exist, give their middle.

        Raises:
            InputError: the layer has no units.
        """
        if 0 in self.unit_shape:
            raise InputError(
                f"Layer {self.name!r} has no units: its unit shape is {self.unit_shape}. Use a larger input."
            )
        distances = [self._distance(*pair) for pair in zip(self._centers, self.input_shape, strict=True)]
        axes = [tuple(a for a, n in enumerate(d.shape) if n > 1) for d in distances]
        used = [a for some in axes for a in some]
        if len(used) != len(set(used)):
            distances = [sum(distances[1:], distances[0])]
            axes = [tuple(sorted(set(used)))]
        unit = [(n - 1) // 2 for n in self.unit_shape]
        for distance, some in zip(distances, axes, strict=True):
            ties = np.argwhere(distance == distance.min())
            nearest = ties[(len(ties) - 1) // 2]
            for a in some:
                unit[a] = int(nearest[a])
        return tuple(unit)

    def units_seeing(self, position: Unit) -> np.ndarray:
        """Which units depend on an input position: a bool array of the unit shape, from the clipped boxes.

        Raises:
            InputError: the position has another rank than the input's spatial axes, or lies outside of the input.
        """
        where = checked_index(position, self.input_shape, "Position", f"the input of layer {self.name!r}")
        seeing = np.ones(self.unit_shape, bool)
        for p, one in zip(where, self.fields, strict=True):
            seeing = seeing & (one.lo <= p) & (p < one.hi)
        return seeing

    def halo(self, aligned: bool = True) -> tuple[Interval | None, ...]:
        """Context that a tile of input needs on each side so that all of its units get their whole field.

        Of input positions, the units [a, b) own [stride*a, stride*b), rounded down.
        A crop keeps the network's phases if it begins at a multiple of stride * period; round `before` up to one.

        Args:
            aligned: True for tiles that begin and end at multiples of the period, False for tiles at any units.

        Returns:
            (before, after) per axis, in input positions; None where the field has no stride, or runs backwards.
        """
        return tuple(p and p.halo(aligned) for p in self.phases)

    @property
    def look_back(self) -> tuple[int | None, ...]:
        """Per axis, how far units see before the positions that they own; None where the field has no stride.

        Of input positions, unit `u` owns [stride*u, stride*(u + 1)), rounded down, and at least one.
        """
        return tuple(p and (found := p.around()) and found[0] for p in self.phases)

    @property
    def look_ahead(self) -> tuple[int | None, ...]:
        """Per axis, how far units see beyond the positions that they own: 0 where a network is causal.

        None where the field has no stride.
        """
        return tuple(p and (found := p.around()) and found[1] for p in self.phases)

    @property
    def latency(self) -> tuple[int | None, ...]:
        """Per axis, how many positions must follow the first one that a unit owns before it can be computed, at worst.

        For units of one position it is the look-ahead. A causal network that takes frames of 512 positions has 511, and so
        has one behind it that goes back to single positions. None where the field has no stride.
        """
        return tuple(p and (found := p.around()) and found[2] for p in self.phases)

    @property
    def grid(self) -> tuple[int, ...]:
        """Per input axis, at how many places units lie: the grid of tokens; units without a center do not count."""
        return tuple(len(np.unique(middles[np.isfinite(middles)])) for middles in self._centers)

    @property
    def pitch(self) -> tuple[float | None, ...]:
        """Per input axis, the distance of neighboring units, of tokens their stride on the image; None where it is not one number."""
        return tuple(map(pitch, self._centers))

    @property
    def patch(self) -> tuple[int | None, ...]:
        """Per input axis, the size of what says where a unit lies: the patch that a token is of; None where it is not one number."""
        return tuple(patch(one, self.unit_shape, line) for one, line in zip(self.fields, self._lines))

    @property
    def padded(self) -> tuple[tuple[int, int] | None, ...]:
        """Per axis, how many units at its beginning and at its end see padding; None where the field has no pattern."""
        return tuple(padded(one, self.unit_shape) for one in self.fields)

    @property
    def unseen(self) -> tuple[int, ...]:
        """Per axis, how many positions of the input no unit sees, by the clipped boxes."""
        return tuple(map(unseen, self.fields))

    @property
    def smallest_input(self) -> tuple[int | None, ...]:
        """Per axis, the smallest input size whose center unit sees no padding; None where there is no stride.

        It keeps stride, padding and phases as they are here.
        Under padding="SAME" they depend on the input size, so trace the model again at the size found.
        """
        return tuple(p and smallest_input(p) for p in self.phases)

    def _check(self, unit: Unit) -> tuple[int, ...]:
        return checked_index(unit, self.unit_shape, "Unit", f"layer {self.name!r}")

    def _endless(self, one: Field, index: tuple[int, ...]) -> Interval:
        c = one.continuation
        if c is None:
            lo, hi = _clipped(one, index, self.unit_shape)
            aside = one.aside and one.aside.endless
            return _interval(aside.lo[0], aside.hi[0]) if aside and lo < hi else (lo, hi)
        lo, hi = c.at(np.array([index[c.axis]]))
        index = (*index[: c.axis], 0, *index[c.axis + 1 :])
        shape = (*self.unit_shape[: c.axis], 1, *self.unit_shape[c.axis + 1 :])
        return _interval(np.broadcast_to(lo, shape)[index], np.broadcast_to(hi, shape)[index])

    @cached_property
    def _centers(self) -> tuple[np.ndarray, ...]:
        """Per input axis, the centers of all units, broadcastable to the unit shape; nan where there is none."""
        return centers(self.fields, self.unit_shape, self._lines)

    @property
    def _lines(self) -> tuple[bool, ...]:
        """Per input axis, whether units lie on one line of their own there."""
        return tuple(one is not None for one in self.phases)

    @staticmethod
    def _distance(middles: np.ndarray, extent: int) -> np.ndarray:
        """Squared distance, in half positions, of each unit's center from the middle of the input on one axis."""
        away = np.where(np.isnan(middles), 2**30, 2 * middles + 1 - extent)
        return away.astype(np.int64) ** 2


def _broadcast(shape: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(shape, target)
    except ValueError:
        return None


def _clipped(one: Field, index: tuple[int, ...], unit_shape: tuple[int, ...]) -> Interval:
    return _interval(np.broadcast_to(one.lo, unit_shape)[index], np.broadcast_to(one.hi, unit_shape)[index])


def _interval(lo: np.integer, hi: np.integer) -> Interval:
    return (int(lo), int(hi)) if lo < hi else (0, 0)
