"""From a model and options to a prepared layer: trace, find the boxes, plan the windows, crop, choose the batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxrf.adapters import Subject
from jaxrf.base.provenance import provenance
from jaxrf.engine.batching import Batching
from jaxrf.engine.channels import check_channels
from jaxrf.engine.cost import forward_bytes
from jaxrf.engine.crop import Crop, find_crop, same_boxes, same_constants, same_places, total_step
from jaxrf.engine.plan import Plan, make_plan, parse_memory, reading
from jaxrf.engine.pool import Pool, make_pool
from jaxrf.engine.run import Pullback
from jaxrf.engine.scores import check_normalizable, scores
from jaxrf.engine.signs import check_request, make_signs
from jaxrf.engine.stem import find_stem
from jaxrf.engine.units import positions
from jaxrf.engine.windows import Windows, windows
from jaxrf.equations.program import Layer, TangentProgram, Variable
from jaxrf.errors import InputError
from jaxrf.geometry.row import Row
from jaxrf.inputs.images import Images
from jaxrf.interpret import table as tables
from jaxrf.interpret.geometry import Geometry
from jaxrf.interpret.units import UnitAxes
from jaxrf.planning.memory import held
from jaxrf.planning.options import Settled
from jaxrf.planning.prepared import Prepared
from jaxrf.planning.programs import Programs, choose
from jaxrf.tangent.draws import draws

TOGETHER = "the max-pool of the stem and the convolution before it are pulled back through at once"


def prepare_layers(programs: Programs, images: Images, options: Settled) -> dict[str, Prepared]:
    """The layers that are asked for, by their names in the table.

    Raises:
        InputError, UnknownNameError: the options do not fit the model.
        PlanError: a layer does not fit into memory.
    """
    layers = {}
    for name in options.layers:
        layer = prepare(programs, images, options, name)
        layers[layer.row.name] = layer
        if options.memory is not None:  # results of one layer are there while the next one runs
            left = parse_memory(options.memory) - layer.plan.held.fixed
            options = replace(options, memory=max(left, 1))
    return layers


def prepare(programs: Programs, images: Images, request: Settled, layer: str | None) -> Prepared:
    """One layer: trace, find the boxes, plan the windows.

    Args:
        programs: of the model.
        images: their shape and type, and how many come at a time.
        request: what is asked for.
        layer: its name; None for the output.

    Raises:
        InputError, UnknownNameError: the request does not fit the model.
        PlanError: it does not fit into memory.
    """
    subject = programs.subject
    scores[request.score]  # an unknown name is said before anything is traced
    check_normalizable(request.score, request.average)
    averaging = check_request(request.estimator, request.score, subject.variables is not None)
    geometry = programs.geometry
    target = choose(geometry.program, layer, request.output)
    source = choose(geometry.program, request.wrt, None) if request.wrt is not None else None
    if source and (target.tangent not in geometry.boxes_on(source.tangent).fields or target.tangent is source.tangent):  # type: ignore[arg-type]
        raise InputError(f"Layer {target.name!r} does not lie behind layer {request.wrt!r}.")
    row = tables.row(geometry, target, source)
    chosen = positions(request.units, row)
    _check_seen(row, chosen, f"layer {request.wrt!r}" if request.wrt else "the input")
    seen = tables.row(geometry, target) if source else row
    whole, images_interact = _program(programs, target, images.first, "batch" in seen.global_axes)
    program, above = whole.program, geometry.units[target.name]
    size = int(np.prod(_tangent(program, target.name).shape)) // int(np.prod(row.unit_shape)) // program.image.shape[0]
    repeats = check_channels(request.channels, size, target.name).maps(size)
    value = program.layers[target.name].value
    forward = 0 if value is None else forward_bytes(program, value)
    below = geometry.start(source)
    place = Place(subject, request, target.name, row, above, below, chosen, repeats, images_interact, forward)
    windows, crop, shift = place.windows(program), Crop(None, "the images are one batch"), None
    if not images_interact:
        whole, windows, crop, shift = _cropped(place, programs, whole, windows)
    program = whole.program
    pull, plan = _pullback(place, program, windows, crop, images)
    if averaging:
        pull = replace(pull, signs=make_signs(whole, pull.windows, request.channels), stem=None)
    facts = provenance(subject.name, target.name, request.wrt, program.image.dtype)
    if pull.signs is not None:
        facts["estimator"] = pull.signs.record()
    if request.treat_as_constant:
        facts["treat_as_constant"] = list(request.treat_as_constant)
    facts["protocol"] = request.protocol
    facts["init"] = {name: str(how) for name, how in request.init.items()} if request.init is not None else None
    return Prepared(replace(subject, variables=None), request, pull, plan, row, place.above, chosen, shift, facts)


def _program(programs: Programs, target: Layer, first: int, mixed: bool) -> tuple[Geometry, bool]:
    """The program to run, and whether its images interact.

    They are where they are `mixed`, and where random numbers are drawn for each: the batch of the `first` images then
    is one call of the model, as the user would make it.

    Raises:
        InputError: the layer is mixed of all images and has no axis of them, and there are several.
    """
    known = programs.geometry
    if not mixed:
        alone = programs.of()
        if alone is known or draws(alone.program, alone.program.layers[target.name]) == draws(known.program, target):
            return alone, False
    if known.units[target.name].batch is None and first > 1:
        raise InputError(
            f"Layer {target.name!r} is made of all images of a batch and has no axis of images, so that none of its units "
            "belongs to one of them. Return a value for each image, as mean((1, 2, 3)) does in place of mean()."
        )
    return programs.of(first), True


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

    `above` are the axes of the layer, `below` those of what is pulled back to; `forward` are the bytes that the model's own
    forward pass takes up to the layer.
    """

    subject: Subject
    request: Settled
    layer: str
    row: Row
    above: UnitAxes
    below: UnitAxes
    units: np.ndarray
    repeats: int
    images_interact: bool
    forward: int

    def windows(self, program: TangentProgram, shift: Sequence[int] | None = None) -> Windows:
        """The windows of all units, moved back by `shift` units where the program is one of a crop."""
        target, batch = _tangent(program, self.layer), self.above.batch
        units = self.units - np.asarray(shift, np.int64) if shift is not None else self.units
        at = {axis: np.repeat(units[:, i], self.repeats) for i, axis in enumerate(self.above.units)}
        if not self.images_interact or batch is None:
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


def _cropped(place: Place, programs: Programs, whole: Geometry, unit_windows: Windows):
    """What is known of the program to run, its windows and crop, and by how many positions the crop is moved; the whole image if it must be."""
    program, spatial, row = whole.program, whole.spatial, place.row
    if not place.request.crop or place.request.wrt is not None:
        return (
            whole,
            unit_windows,
            Crop(None, "a crop was not asked for" if not place.request.crop else "wrt is a layer"),
            None,
        )
    strides = {one.continuation.axis: s for one, s in zip(row.fields, row.stride) if isinstance(s, int)}  # type: ignore[union-attr]
    everywhere = list(strides) == list(range(len(row.unit_shape))) and len(strides) == len(spatial)
    step = None
    if everywhere:  # not behind global attention, of which all boxes take n² intervals
        step = total_step(whole.all_boxes, [step.equation.result for step in unit_windows.steps], spatial)
    if step is None:
        return whole, unit_windows, Crop(None, "some layer on the way has no stride"), None
    crop = find_crop(program, unit_windows, spatial, step)
    if crop.box is None:
        return whole, unit_windows, crop, None
    shape = list(place.subject.input_shape)
    for axis, (lo, hi) in zip(spatial, crop.box):
        shape[axis - 1] = hi - lo
    try:
        small = programs.of(shape=tuple(shape))
    except InputError:
        return whole, unit_windows, Crop(None, "the model does not take an input of the crop's size"), None
    shift = tuple(lo for lo, _ in crop.box)
    moved = place.windows(small.program, [lo // s for lo, s in zip(shift, strides.values())])
    if not same_boxes(unit_windows, moved, shift, spatial):
        return whole, unit_windows, Crop(None, "its boxes differ from those of the crop"), None
    if not same_places(crop, small.program, moved, spatial):
        return whole, unit_windows, Crop(None, "values come from fixed places of the image"), None
    if not same_constants(whole, unit_windows, small.program, moved, crop.box):
        return whole, unit_windows, Crop(None, "the model computes with the size of its input"), None
    return small, moved, crop, shift


def _pullback(
    place: Place, program: TangentProgram, unit_windows: Windows, crop: Crop, images: Images
) -> tuple[Pullback, Plan]:
    request = place.request
    devices = tuple(request.devices or ())
    reads, unit_windows = reading(program, unit_windows, place.images_interact)
    pull = Pullback(
        program, program.layers[place.layer], unit_windows, place.below, request.score, request.channels,
        batching=Batching(), images_interact=place.images_interact, devices=devices,
        stem=None if place.images_interact else find_stem(unit_windows, place.below.units),
    )  # fmt: skip
    if request.pool_units:
        pull = replace(pull, pool=_pool(place, pull, crop))
    map_bytes = int(np.prod(pull.map_shape)) * unit_windows.target.dtype.itemsize
    draws = place.subject.variables is None
    chosen = make_plan(
        program, unit_windows, place.layer, map_bytes, reads=reads, memory=request.memory, crop=crop, draws=draws,
        available=images.first, certificate=place.forward, held=held(pull, images, draws, request.memory),
        images_interact=place.images_interact, devices=len(devices) or 1,
    )  # fmt: skip
    if pull.stem is not None:
        chosen = replace(chosen, why=(*chosen.why, TOGETHER))
    return replace(pull, batching=chosen.batching, reads=chosen.reads), chosen


def _pool(place: Place, pull: Pullback, crop: Crop) -> Pool:
    """The frame in which units are averaged.

    Raises:
        InputError: units have no centers.
    """
    place.row.check_centers(
        place.units,
        "pool_units lays maps over each other by the centers of their units: it",
        "Choose units or a layer that have centers, or map the units one by one.",
    )
    centers = np.array([place.row.center(tuple(unit)) for unit in place.units])
    shift = np.array([lo for lo, _ in crop.box]) if crop.box else 0
    centers = np.tile(np.repeat(centers, place.repeats, axis=0), (pull.groups, 1))
    return make_pool(pull.origin + shift, centers, pull.map_shape)
