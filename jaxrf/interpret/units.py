"""Which axes of a layer are units, which are images, which are features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxrf.equations.program import TangentProgram
from jaxrf.interpret.links import Links
from jaxrf.interpret.origins import FEATURES, Marks, Origin, origins

IMAGES: Marks = frozenset({0})


@dataclass(frozen=True)
class UnitAxes:
    """How the axes of a layer's output are read; the same for any number of images and any size of them.

    `units` are the axes that a unit indexes. They are in the order of the input's axes where each of them comes from
    one of these alone, however the layer is laid out; elsewhere, as for tokens, in the layer's own order.
    `batch` is the axis of images (None where there is none), `per_image` how many of its positions belong to one image.
    """

    units: tuple[int, ...]
    batch: int | None
    per_image: int

    def by_image(self, value: np.ndarray, images: int) -> np.ndarray:
        """(image, *axes of the layer): a value of the layer, with its images on an axis of their own, in front."""
        if self.batch is None:
            return np.broadcast_to(value, (images, *value.shape))
        value = np.moveaxis(value, self.batch, 0)
        return np.moveaxis(value.reshape(images, -1, *value.shape[1:]), 1, self.batch + 1)


def unit_axes(program: TangentProgram, spatial: Sequence[int], links: Links) -> Mapping[str, UnitAxes]:
    """How the axes of all layers behind the input are read, by name.

    Ask a program of two images: one image leaves no trace where it is merged with other axes.

    Args:
        program: the traced model.
        spatial: axes of the batched input that are positions.
        links: the program's.
    """
    found = origins(program, spatial, links)
    images = program.input.shape[0]
    return {
        layer.name: _read(layer.tangent.shape, found[layer.tangent], images, frozenset(spatial))
        for layer in program.layers.values()
        if layer.tangent in found
    }


def _read(shape: tuple[int, ...], origin: Origin, images: int, spatial: Marks) -> UnitAxes:
    """The axes of one layer."""
    each = [origin.marks(a) for a in range(len(shape))]
    batch = next((a for a, marks in enumerate(each) if marks >= IMAGES), None)
    if batch is None:  # an axis of a single image may have come and gone
        batch = next((a for a, marks in enumerate(each) if shape[a] == images == 1 and not marks), None)
    per_image = shape[batch] // images if batch is not None else 1
    units = _units(shape, each, batch, spatial)
    if batch is not None and per_image > 1 and each[batch] != IMAGES | FEATURES:  # not heads: windows, copies
        units = sorted([batch, *units])
    return UnitAxes(_in_order(units, origin, spatial), batch, per_image)


def _units(shape: tuple[int, ...], each: Sequence[Marks], batch: int | None, spatial: Marks) -> list[int]:
    """The axes besides that of images that are units, from the marks of `each` axis.

    An axis made of positions and features is one of units behind a shuffle of depth to space, where no other axis has its
    positions and another one is left for features; it is one of features where a map was flattened, or packed by space to
    depth. One of a single element that nothing tells of is one of units where an axis of the image is missing.
    """
    others = [a for a in range(len(shape)) if a != batch and not each[a] >= IMAGES]
    placed = [a for a in others if not each[a] <= FEATURES]
    shuffled = [
        a
        for a in placed
        if each[a] >= FEATURES and not any((each[a] - FEATURES) & m for b, m in enumerate(each) if b != a)
    ]
    units = [a for a in placed if not each[a] >= FEATURES]
    complete = spatial <= frozenset().union(
        *(each[a] for a in [*units, *shuffled, *([] if batch is None else [batch])])
    )
    units += [a for a in others if not each[a] and not (complete and shape[a] == 1)]
    room = len(units) + len(shuffled) < len(others)
    return sorted([*units, *(shuffled if room else [])])


def _in_order(units: list[int], origin: Origin, spatial: Marks) -> tuple[int, ...]:
    """Unit axes in the order of the input's axes, where each comes from one of its own."""
    sources = {a: sorted(origin.marks(a) & spatial) for a in units}  # type: ignore[type-var]
    alone = all(len(axes) == 1 and not origin.marks(a) >= IMAGES for a, axes in sources.items())
    if not alone or len({axes[0] for axes in sources.values()}) < len(units):
        return tuple(units)
    return tuple(sorted(units, key=lambda a: sources[a]))  # type: ignore[arg-type, return-value]
