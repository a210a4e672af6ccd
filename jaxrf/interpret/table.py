"""From fields of variables to rows of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from jaxrf.equations.program import Layer
from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Continuation, Field
from jaxrf.geometry.places import kept, lost
from jaxrf.geometry.render import axis_names
from jaxrf.geometry.row import Row
from jaxrf.geometry.singles import Singles, beside
from jaxrf.geometry.table import Table
from jaxrf.interpret.flops import Flops
from jaxrf.interpret.geometry import Geometry
from jaxrf.interpret.paths import Densities
from jaxrf.interpret.units import UnitAxes


def table(geometry: Geometry, *, model: str, wrt: Layer | None = None) -> Table:
    """The rows of all layers, in order; the last are the outputs.

    With `wrt`, the rows of the layers behind that layer, in positions of its units.
    """
    program = geometry.program
    if wrt is None:
        dense = Densities(geometry)
        rows = [row(geometry, layer, costs=geometry.flops) for layer in program.layers.values()]
        rows = [replace(one, counted=dense) for one in rows]
        return Table(rows, model=model, input_shape=program.input.shape[1:])
    assert wrt.tangent is not None
    found = geometry.boxes_on(wrt.tangent)
    behind = [one for one in program.layers.values() if one.tangent in found.fields and one.tangent is not wrt.tangent]
    rows = [row(geometry, layer, wrt, geometry.flops) for layer in behind]
    shape = _one_image(wrt.tangent.shape, geometry.units[wrt.name])
    return Table(rows, model=f"{model} seen from {wrt.name!r}", input_shape=shape)


def row(geometry: Geometry, layer: Layer, source: Layer | None = None, costs: Mapping[str, Flops] | None = None) -> Row:
    """One layer's row.

    Args:
        geometry: of the traced model.
        layer: whose row.
        source: the layer that fields are on; the input if None.
        costs: of each layer, where the row is to say them.
    """
    program, spatial = geometry.program, geometry.spatial
    found = geometry.boxes if source is None else geometry.boxes_on(source.tangent)  # type: ignore[arg-type]
    images = program.input.shape[0]
    if layer.tangent not in found.fields:
        shape = layer.value.shape[1:] if layer.value is not None and layer.value.shape else ()
        extents = [program.input.shape[a] for a in spatial]
        none = tuple(Field(n, np.array(EMPTY_LO), np.array(EMPTY_HI)) for n in extents)
        note = layer.note or "does not depend on the input"
        return Row(layer.name, layer.kind, tuple(shape), (), none, parameters=layer.parameters, notes=(note,))
    fields, shape = found.fields[layer.tangent], layer.tangent.shape
    axes = geometry.units[layer.name]
    start = geometry.start(source)
    chosen = tuple(_on_units(fields[a], shape, axes) for a in start.units)
    chosen = tuple(replace(f, extent=start.per_image) if a == start.batch else f for a, f in zip(start.units, chosen))
    causes = {n: f.global_cause for n, f in zip(axis_names(len(chosen)), chosen) if f.global_cause}
    if start.batch is not None and images > 1:
        batch = _on_units(fields[start.batch], shape, axes)
        if (np.minimum(batch.hi, images * start.per_image) > np.maximum(start.per_image, batch.lo)).any():
            causes["batch"] = batch.global_cause or "images are mixed"
    cost = costs[layer.name] if costs else None
    return Row(
        name=layer.name,
        kind=layer.kind,
        shape=_one_image(shape, axes),
        unit_shape=tuple(axes.per_image if a == axes.batch else shape[a] for a in axes.units),
        fields=chosen,
        parameters=layer.parameters,
        flops=None if cost is None or cost.own is None else cost.own // images,
        flops_so_far=None if cost is None else cost.so_far // images,
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
    found = replace(field, lo=lo, hi=hi, continuation=continuation)
    gone = tuple(a for a, n in enumerate(shape) if n == 1 and a not in axes.units)
    found = beside(Singles(gone, taken=True), field, found)
    if field.local is None:
        return replace(found, local=()) if lost(field, found) else found
    return replace(found, local=kept((part, _on_units(part, shape, axes)) for part in field.local))
