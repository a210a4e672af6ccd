"""Which axes of a layer are units, which are images, which are features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Field
from jaxrf.interpret.fields import Boxes, boxes
from jaxrf.tangent.program import Layer, TangentProgram


@dataclass(frozen=True)
class UnitAxes:
    """How the axes of a layer's output are read.

    `units` are the axes that a unit indexes, in order; `batch` the axis of images (None where there is none);
    `images` how many there are, `per_image` how many positions of the batch axis belong to one image.
    """

    units: tuple[int, ...]
    batch: int | None
    per_image: int


def unit_axes(shape: tuple[int, ...], batch_field: Field, images: int, spatial: Sequence[int], rank: int) -> UnitAxes:
    """The axes of a layer of `shape` whose dependence on the batch is `batch_field`.

    A layer with the input's rank has the input's axes.
    Elsewhere the last axis holds features, the batch axis is the one along which images lie one after the other,
    and all others are units; so is the batch axis where an image has several.
    """
    if len(shape) == rank and shape[0] == images:
        return UnitAxes(tuple(spatial), 0, 1)
    batch = next((a for a in range(len(shape)) if _moves(batch_field, a)), None)
    if batch is None and images in shape[:-1] and shape[0] != images:
        batch = shape.index(images)
    if batch is None and shape and shape[0] % images == 0:
        batch = 0
    per_image = shape[batch] // images if batch is not None else 1
    features = len(shape) - 1 if len(shape) > 1 and len(shape) - 1 != batch else None
    units = tuple(a for a in range(len(shape)) if a != features and (a != batch or per_image > 1))
    return UnitAxes(units, batch, per_image)


def _moves(field: Field, axis: int) -> bool:
    """Whether elements that see something see other images along `axis`."""
    some = field.lo < field.hi
    first = np.where(some, field.lo, EMPTY_LO).min(axis=axis, initial=EMPTY_LO)
    last = np.where(some, field.lo, EMPTY_HI).max(axis=axis, initial=EMPTY_HI)
    return bool((first < last).any())


def axes_of(program: TangentProgram, layer: Layer, spatial: Sequence[int], inputs: Boxes | None = None) -> UnitAxes:
    """How the axes of a layer's output are read.

    `inputs` are the boxes on the input, where the caller has them.
    """
    assert layer.tangent is not None
    found = inputs or boxes(program, unknown="global")
    batch = found.fields[layer.tangent][0]
    return unit_axes(layer.tangent.shape, batch, program.input.shape[0], spatial, len(program.input.shape))
