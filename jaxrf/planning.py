"""From a model and options to a prepared layer: trace, find the boxes, plan the windows, crop, choose the batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxrf.adapters import Subject
from jaxrf.engine.channels import check_channels
from jaxrf.engine.crop import Crop, find_crop, same_boxes, same_constants, same_places, total_step
from jaxrf.engine.plan import Plan, make_plan
from jaxrf.engine.pool import make_pool
from jaxrf.engine.run import Pullback
from jaxrf.engine.scores import check_normalizable, scores
from jaxrf.engine.signs import check_request, make_signs
from jaxrf.engine.units import positions
from jaxrf.engine.windows import Windows, windows
from jaxrf.errors import InputError
from jaxrf.geometry.row import Row
from jaxrf.inputs import Images
from jaxrf.interpret import table as tables
from jaxrf.interpret.fields import boxes
from jaxrf.interpret.units import UnitAxes, unit_axes
from jaxrf.options import Settled
from jaxrf.prepared import Prepared
from jaxrf.programs import choose, geometry_program, traced
from jaxrf.provenance import provenance
from jaxrf.tangent.draws import draws
from jaxrf.tangent.program import Layer, TangentProgram, Variable


def prepare_layers(subject: Subject, images: Images, options: Settled) -> dict[str, Prepared]:
    """The layers that are asked for, by their names in the table.

    Raises:
        InputError, UnknownNameError: the options do not fit the model.
        PlanError: a layer does not fit into memory.
    """
    layers = [prepare(subject, images, options, name) for name in options.layers]
    return {layer.row.name: layer for layer in layers}


def prepare(subject: Subject, images: Images, request: Settled, layer: str | None) -> Prepared:
    """One layer: trace, find the boxes, plan the windows.

    Args:
        subject: the model.
        images: their shape and type, and how many come at a time.
        request: what is asked for.
        layer: its name; None for the output.

    Raises:
        InputError, UnknownNameError: the request does not fit the model.
        PlanError: it does not fit into memory.
    """
    scores[request.score]  # an unknown name is said before anything is traced
    check_normalizable(request.score, request.average)
    averaging = check_request(request.estimator, request.score, subject.variables is not None)
    flat = geometry_program(subject, request.treat_as_constant)
    target = choose(flat, layer, request.output)
    source = choose(flat, request.wrt, None) if request.wrt is not None else None
    found = boxes(flat, source.tangent if source else None)
    if target.tangent not in found.fields or (source and target.tangent is source.tangent):
        raise InputError(f"Layer {target.name!r} does not lie behind layer {request.wrt!r}.")
    axes = unit_axes(flat, subject.spatial_axes)
    below = axes[source.name] if source else UnitAxes(tuple(subject.spatial_axes), 0, 1)
    row = tables.row(flat, target, found, axes, subject.spatial_axes, source=below)
    chosen = positions(request.units, row)
    _check_seen(row, chosen, f"layer {request.wrt!r}" if request.wrt else "the input")
    seen = tables.row(flat, target, boxes(flat), axes, subject.spatial_axes) if source else row
    program, tied = _program(
        subject, request, images.first, flat, target, axes[target.name], "batch" in seen.global_axes
    )
    size = int(np.prod(_tangent(program, target.name).shape)) // int(np.prod(row.unit_shape)) // program.image.shape[0]
    check_channels(request.channels, size, target.name)
    repeats = size if request.channels == "each" else 1
    place = Place(subject, request, target.name, row, axes[target.name], below, chosen, repeats, tied)
    windows, crop, shift = place.windows(program), Crop(None, "the images are one batch"), None
    if not tied:
        program, windows, crop, shift = _cropped(place, program, windows)
    pull, plan = _pullback(place, program, windows, crop, images.first)
    if averaging:
        pull = replace(pull, signs=make_signs(program, windows, subject.spatial_axes, request.channels))
    facts = provenance(subject.name, target.name, request.wrt, program.image.dtype)
    if pull.signs is not None:
        facts["estimator"] = pull.signs.record()
    if request.treat_as_constant:
        facts["treat_as_constant"] = list(request.treat_as_constant)
    facts["protocol"] = request.protocol
    facts["init"] = {name: str(how) for name, how in request.init.items()} if request.init is not None else None
    return Prepared(replace(subject, variables=None), request, pull, plan, row, place.above, chosen, shift, facts)


def _program(
    subject: Subject, request: Settled, first: int, flat: TangentProgram, target: Layer, axes: UnitAxes,
    mixed: bool,
) -> tuple[TangentProgram, bool]:  # fmt: skip
    """The program to run, and whether its images are tied to each other.

    They are where they are `mixed`, and where random numbers are drawn for each: the batch of the `first` images then
    is one call of the model, as the user would make it. `flat` is the program that was traced for boxes.

    Raises:
        InputError: the layer is mixed of all images and has no axis of them, and there are several.
    """
    if not mixed:
        program = traced(subject, request.treat_as_constant)
        if flat.image.shape[0] == 1 or draws(program, program.layers[target.name]) == draws(flat, target):
            return program, False
    program = traced(subject, request.treat_as_constant, batch=first)
    if axes.batch is None and first > 1:
        raise InputError(
            f"Layer {target.name!r} is made of all images of a batch and has no axis of images, so that none of its units "
            "belongs to one of them. Return a value for each image, as mean((1, 2, 3)) does in place of mean()."
        )
    return program, True


def _check_seen(row: Row, units: np.ndarray, source: str) -> None:
    """Check that some unit has a path to the source.

    Raises:
        InputError: none has.
    """
    if any(all(lo < hi for lo, hi in row.box(unit, clip=True)) for unit in units.tolist()):
        return
    first = tuple(units[0].tolist())
    found = f"Unit {first} of layer {row.name!r} has" if len(units) == 1 else f"All {len(units)} units asked for have"
    raise InputError(
        f"{found} an empty field: no path joins {'it' if len(units) == 1 else f'them, the first being {first},'} to "
        f"{source}, as in padding or behind known zeros. Choose units of layer {row.name!r} that see {source}."
    )


def _tangent(program: TangentProgram, layer: str) -> Variable:
    found = program.layers[layer].tangent
    assert found is not None
    return found


@dataclass(frozen=True, eq=False)
class Place:
    """Which units of which layer are pulled back to what: the same on the whole image and on a crop.

    `above` are the axes of the layer, `below` those of what is pulled back to.
    """

    subject: Subject
    request: Settled
    layer: str
    row: Row
    above: UnitAxes
    below: UnitAxes
    units: np.ndarray
    repeats: int
    tied: bool

    def windows(self, program: TangentProgram, shift: Sequence[int] | None = None) -> Windows:
        """The windows of all units, moved back by `shift` units where the program is one of a crop."""
        target, batch = _tangent(program, self.layer), self.above.batch
        units = self.units - np.asarray(shift, np.int64) if shift is not None else self.units
        at = {axis: np.repeat(units[:, i], self.repeats) for i, axis in enumerate(self.above.units)}
        if not self.tied or batch is None:
            return windows(program, target, self.source(program), at)
        images = program.image.shape[0]
        rows = target.shape[batch] // images
        first = np.repeat(rows * np.arange(images), len(units) * self.repeats)
        at = {axis: np.tile(column, images) for axis, column in at.items()}
        own, widths = {batch: first + at.get(batch, 0)}, {batch: 1 if batch in at else rows}
        kept = frozenset() if self.below.batch is None else frozenset({self.below.batch})
        return windows(program, target, self.source(program), at | own, widths, kept)

    def source(self, program: TangentProgram) -> Variable:
        """What is pulled back to."""
        return program.input if self.request.wrt is None else _tangent(program, self.request.wrt)


def _cropped(place: Place, program: TangentProgram, plan: Windows):
    """The program, windows and crop to run, and by how many positions the crop is moved; the whole image if it must be."""
    spatial, row = tuple(place.subject.spatial_axes), place.row
    if not place.request.crop or place.request.wrt is not None:
        return (
            program,
            plan,
            Crop(None, "a crop was not asked for" if not place.request.crop else "wrt is a layer"),
            None,
        )
    passed = [step.equation.result for step in plan.steps]
    step = total_step(boxes(program, keep=passed), passed, spatial)
    strides = {one.continuation.axis: s for one, s in zip(row.fields, row.stride) if isinstance(s, int)}  # type: ignore[union-attr]
    if step is None or list(strides) != list(range(len(row.unit_shape))) or len(strides) != len(spatial):
        return program, plan, Crop(None, "some layer on the way has no stride"), None
    crop = find_crop(program, plan, spatial, step)
    if crop.box is None:
        return program, plan, crop, None
    shape = list(place.subject.input_shape)
    for axis, (lo, hi) in zip(spatial, crop.box):
        shape[axis - 1] = hi - lo
    try:
        small = traced(replace(place.subject, input_shape=tuple(shape)), place.request.treat_as_constant)
    except InputError:
        return program, plan, Crop(None, "the model does not take an input of the crop's size"), None
    shift = tuple(lo for lo, _ in crop.box)
    moved = place.windows(small, [lo // s for lo, s in zip(shift, strides.values())])
    if not same_boxes(plan, moved, shift, spatial):
        return program, plan, Crop(None, "its boxes differ from those of the crop"), None
    if not same_places(crop, small, moved, spatial):
        return program, plan, Crop(None, "values come from fixed places of the image"), None
    if not same_constants(program, plan, small, moved, crop.box, spatial):
        return program, plan, Crop(None, "the model computes with the size of its input"), None
    return small, moved, crop, shift


def _pullback(place: Place, program: TangentProgram, plan: Windows, crop: Crop, images: int) -> tuple[Pullback, Plan]:
    request = place.request
    devices = tuple(request.devices or ())
    pull = Pullback(
        program, program.layers[place.layer], plan, place.below, request.score, request.channels,
        per_batch=1, side=1, batches_per_call=1, tied=place.tied, devices=devices,
    )  # fmt: skip
    map_bytes = int(np.prod(pull.map_shape)) * plan.target.dtype.itemsize
    chosen = make_plan(
        program, plan, place.layer, map_bytes, memory=request.memory, crop=crop,
        draws=place.subject.variables is None, available=images, tied=place.tied, devices=len(devices) or 1,
    )  # fmt: skip
    pool = None
    if request.pool_units:
        place.row.check_centers(
            place.units,
            "pool_units lays maps over each other by the centers of their units: it",
            "Choose units or a layer that have centers, or map the units one by one.",
        )
        centers = np.array([place.row.center(tuple(unit)) for unit in place.units])
        shift = np.array([lo for lo, _ in crop.box]) if crop.box else 0
        centers = np.tile(np.repeat(centers, place.repeats, axis=0), (pull.groups, 1))
        pool = make_pool(pull.origin + shift, centers, pull.map_shape)
    pull = replace(
        pull,
        per_batch=chosen.units_per_batch,
        side=chosen.images_at_once * chosen.turns,
        turns=chosen.turns,
        batches_per_call=chosen.batches_per_call,
        pool=pool,
    )
    return pull, chosen
