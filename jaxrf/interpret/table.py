"""From fields of variables to rows of layers: which axes are units, which are images, which are features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Continuation, Field
from jaxrf.geometry.render import axis_names
from jaxrf.geometry.row import Row
from jaxrf.geometry.table import Table
from jaxrf.interpret.fields import Boxes, boxes, flops
from jaxrf.tangent.program import Layer, TangentProgram, Variable


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


def table(
    program: TangentProgram, spatial: Sequence[int], *, model: str, unknown: str = "raise", wrt: Layer | None = None
) -> Table:
    """The rows of all layers, in order; the last are the outputs.

    With `wrt`, the rows of the layers behind that layer, in positions of its units.
    """
    inputs = boxes(program, unknown=unknown)
    reached = [layer.tangent for layer in program.layers.values() if layer.tangent in inputs.fields]
    costs = flops(program, reached)  # type: ignore[arg-type]
    if wrt is None:
        rows = [row(program, layer, inputs, spatial, costs) for layer in program.layers.values()]
        return Table(rows, model=model, input_shape=program.input.shape[1:])
    found, source = boxes(program, wrt.tangent, unknown), axes_of(program, wrt, spatial, inputs)
    behind = [one for one in program.layers.values() if one.tangent in found.fields and one.tangent is not wrt.tangent]
    rows = [row(program, layer, found, spatial, costs, source, inputs) for layer in behind]
    return Table(rows, model=f"{model} seen from {wrt.name!r}", input_shape=_one_image(wrt.tangent.shape, source))  # type: ignore[union-attr]


def row(
    program: TangentProgram, layer: Layer, found: Boxes, spatial: Sequence[int],
    costs: dict[Variable, int] | None = None, source: UnitAxes | None = None, inputs: Boxes | None = None,
) -> Row:  # fmt: skip
    """One layer's row.

    `source` says which axes of the variable that `found` starts from are positions, where that is not the input;
    `inputs` then are the boxes on the input, where the caller has them.
    """
    images = program.input.shape[0]
    if layer.tangent not in found.fields:
        shape = layer.value.shape[1:] if layer.value is not None and layer.value.shape else ()
        extents = [program.input.shape[a] for a in spatial]
        none = tuple(Field(n, np.array(EMPTY_LO), np.array(EMPTY_HI)) for n in extents)
        note = layer.note or "does not depend on the input"
        return Row(layer.name, layer.kind, tuple(shape), (), none, parameters=layer.parameters, notes=(note,))
    fields, shape = found.fields[layer.tangent], layer.tangent.shape
    axes = axes_of(program, layer, spatial, found if source is None else inputs)
    start = source or UnitAxes(tuple(spatial), 0, 1)
    chosen = tuple(_on_units(fields[a], shape, axes) for a in start.units)
    chosen = tuple(replace(f, extent=start.per_image) if a == start.batch else f for a, f in zip(start.units, chosen))
    causes = {n: f.global_cause for n, f in zip(axis_names(len(chosen)), chosen) if f.global_cause}
    if start.batch is not None and images > 1:
        batch = _on_units(fields[start.batch], shape, axes)
        if (np.minimum(batch.hi, images * start.per_image) > np.maximum(start.per_image, batch.lo)).any():
            causes["batch"] = batch.global_cause or "images are mixed"
    return Row(
        name=layer.name,
        kind=layer.kind,
        shape=_one_image(shape, axes),
        unit_shape=tuple(axes.per_image if a == axes.batch else shape[a] for a in axes.units),
        fields=chosen,
        parameters=layer.parameters,
        flops=costs[layer.tangent] // images if costs else None,
        exact=not found.loose[layer.tangent],
        notes=tuple(note for note in (layer.note, *found.loose[layer.tangent]) if note),
        global_axes=tuple(causes),
        global_cause=causes,
    )


def _one_image(shape: tuple[int, ...], axes: UnitAxes) -> tuple[int, ...]:
    """The part of `shape` that one image has."""
    kept = (a for a in range(len(shape)) if a != axes.batch or axes.per_image > 1)
    return tuple(axes.per_image if a == axes.batch else shape[a] for a in kept)


def _on_units(field: Field, shape: tuple[int, ...], axes: UnitAxes) -> Field:
    """The field of the first image's units: the hull over features, laid out on the unit axes."""

    def reduce(a: np.ndarray, hull: np.ufunc, kept: int | None = None) -> np.ndarray:
        for axis in range(len(shape)):
            if axis == axes.batch and a.shape[axis] > 1 and axis != kept:
                a = np.take(a, np.arange(axes.per_image), axis=axis)
            if axis not in axes.units and axis != kept:
                a = hull.reduce(a, axis=axis, keepdims=True)
        return a.transpose(*axes.units, *(i for i in range(a.ndim) if i not in axes.units)).reshape(
            [a.shape[i] for i in axes.units]
        )

    c, continuation = field.continuation, None
    if c is not None and c.axis in axes.units:
        place = axes.units.index(c.axis)
        lo, hi = reduce(c.lo, np.minimum, c.axis), reduce(c.hi, np.maximum, c.axis)
        continuation = Continuation(place, c.period, c.step, lo, hi)
    lo, hi = reduce(field.lo, np.minimum), reduce(field.hi, np.maximum)
    return replace(field, lo=lo, hi=hi, continuation=continuation)
