"""Where an input is cut, so that each unit is computed from all that it sees.

Takes a row of the table and a size, and yields a `TilePlan`: numbers alone, for any runner.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.geometry.layer_field import LayerField
from jaxrf.pieces.cuts import AxisCut, AxisPlan, Context


@dataclass(frozen=True)
class Piece:
    """One tile, in slices: `window` per axis of the input; `inside` the tile's units, and their `place` among all units."""

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
            if wanted.stop is not None and part.shape[axis] != wanted.stop - wanted.start:
                raise InputError(
                    f"A tile gives a value of shape {found.shape}, from which units {wanted.start} to {wanted.stop} of axis "
                    f"{axis} were to be taken; they are not all there. The plan is of another layer or function."
                )
        return part


@dataclass(frozen=True)
class TilePlan:
    """Tiles that give the same as the whole: iterate over it for each `Piece`, print it for what it costs.

    Attributes:
        layer: whose units are computed.
        axes: one `AxisPlan` per spatial axis of the input.
        unit_shape: of the layer on the whole input.
        depth: per axis, what a tile needs before and after what it owns, in input positions and rounded up to the step:
            the depth of `dask.array.map_overlap`.
        exact: whether each unit has all that it sees; False with a smaller context.
    """

    layer: str
    axes: tuple[AxisPlan, ...]
    unit_shape: tuple[int, ...]
    depth: tuple[tuple[int, int], ...]
    exact: bool = True

    def __repr__(self) -> str:
        return f"TilePlan({self.title})"

    @property
    def title(self) -> str:
        """How many tiles of what size, and of which layer."""
        size = " x ".join(map(str, self.tile))
        return f"{len(self)} tile{'s' * (len(self) != 1)} of {size} for {self.layer!r}"

    @property
    def tile(self) -> tuple[int, ...]:
        """Input positions of each tile, overlap included."""
        return tuple(axis.length for axis in self.axes)

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
        place, inside = ([slice(None)] * len(self.unit_shape) for _ in range(2))
        for axis, (_, offset, first, last) in zip(self.axes, parts):
            if axis.along is not None:
                place[axis.along], inside[axis.along] = slice(first, last), slice(first - offset, last - offset)
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
        across = tuple(spatial_axes or range(1, len(self.axes) + 1))
        into = tuple(unit_axes or range(1, len(self.unit_shape) + 1))
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
                for axis, units in zip(into, self.unit_shape):
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
        5 tiles for 'output': the same as the whole, 60% computed twice
          axis 0: 5 of 128 every 84, overlapping by 44 or more
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
    axes, depth, unit_shape = [], [], list(row.unit_shape)
    for i, (n, most, step) in enumerate(zip(sizes, tiles, steps)):
        cut = AxisCut.of(row, i, step, whole=most is None)
        axes.append(cut.plan(n, cut.units(n), n if most is None else most, contexts[i]))
        depth.append((0, 0) if most is None else cut.depth(contexts[i]))
        if cut.along is not None:
            unit_shape[cut.along] = axes[-1].units
    return TilePlan(row.name, tuple(axes), tuple(unit_shape), tuple(depth), context is None)


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
