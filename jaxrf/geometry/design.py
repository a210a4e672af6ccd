"""What a table says of a network's design: layers that add nothing at this size, sensible sizes, and how to see farther.

Takes the rows of a table; yields a `Design`. Numbers alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxrf.errors import InputError
from jaxrf.geometry.layer_field import LayerField


@dataclass(frozen=True)
class Change:
    """A change of one layer, and the size that the last one then has on the axis, along its longest path.

    Attributes:
        layer: which.
        what: "dilation" or "stride", each times `factor`.
        factor: a whole number.
        size: of the last layer's field, in input positions.
    """

    layer: str
    what: str
    factor: int
    size: int

    def __str__(self) -> str:
        return f"{self.what} of {self.layer!r} times {self.factor}: size {self.size}"


@dataclass(frozen=True)
class Design:
    """What a table says of a design.

    Attributes:
        border: the first layer whose smallest path sees more than the whole input; None where there is none.
        idle: layers from there on that enlarge the field: they bring no new context at this size.
        smallest: per axis, the smallest input at which no layer is idle; None where paths were not followed.
        largest: per axis, the largest input that a unit of the last layer sees whole.
    """

    border: str | None
    idle: tuple[str, ...]
    smallest: tuple[int | None, ...]
    largest: tuple[int, ...]

    def __str__(self) -> str:
        ranges = ", ".join(f"{low or '?'} to {high}" for low, high in zip(self.smallest, self.largest))
        if self.border is None:
            return f"All layers bring new context. Sensible input sizes: {ranges}."
        return (
            f"From {self.border!r} on the smallest path sees more than the whole input: {len(self.idle)} layers bring no new "
            f"context. Sensible input sizes: {ranges}."
        )


def design(rows: Sequence[LayerField]) -> Design:
    """What rows, in the order of a network, say of its design.

    References:
        Richter, Schöning, Wiedenroth, Krumnack (2021), "Should You Go Deeper? Optimizing Convolutional Neural Network
        Architectures without Training": border layers, and layers that are unproductive. There a layer is judged by the
        field of its input, here by that of its output.
    """
    if not rows:
        raise InputError("A table without rows says nothing of a design. Trace a model with layers.")
    growing = [row for row, before in zip(rows[1:], rows) if _grows(row, before)]
    idle = tuple(row.name for row in growing if row.unproductive)
    border = next((row.name for row in rows if row.unproductive), None)
    smallest = []
    for axis in range(len(rows[-1].fields)):
        sizes = [row.min_size[axis] for row in rows]
        known = [math.ceil(size) for size in sizes if size is not None]
        smallest.append(max(known) if len(known) == len(sizes) else None)
    return Design(border, idle, tuple(smallest), rows[-1].size)


def changes(rows: Sequence[LayerField], size: int, axis: int = 0) -> list[Change]:
    """Single changes by which the last layer's field reaches a size on an axis, the smallest fields first.

    Along the longest path, more stride of a layer spreads what all behind it add, and more dilation what it adds itself.
    That is exact for networks of one path, and for residual ones where the longest path stays the longest; trace the
    changed network to be sure.

    Args:
        rows: in the order of the network.
        size: that is wanted, in input positions.
        axis: the spatial axis of the input.

    Raises:
        InputError: a size that is not larger than the last layer's, or a last layer that sees the axis whole.
    """
    last = rows[-1]
    if last.phases[axis] is None:
        raise InputError(
            f"Layer {last.name!r} sees axis {axis} whole or has no stride there: nothing is to be enlarged."
        )
    now = last.size[axis]
    if size <= now:
        raise InputError(f"Layer {last.name!r} has size {now} on axis {axis}, which is {size} or more already.")
    found = []
    sizes = [1, *(row.size[axis] for row in rows)]
    for row, before, here in zip(rows, sizes, sizes[1:]):
        if here <= before or row.phases[axis] is None:
            continue
        factor = 1 + -(-(size - now) // (here - before))
        found.append(Change(row.name, "dilation", factor, now + (factor - 1) * (here - before)))
        if here < now:
            factor = -(-(size - here) // (now - here))
            found.append(Change(row.name, "stride", factor, here + factor * (now - here)))
    return sorted(found, key=lambda change: (change.size, change.factor))


def _grows(row: LayerField, before: LayerField) -> bool:
    pairs = zip(row.min_size, before.min_size)
    return any(one is not None and other is not None and one > other for one, other in pairs)
