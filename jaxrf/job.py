"""One map, prepared and run: a subject, a layer and its units become a program, its samples become a result."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxrf.adapters import Subject, adapt, check_finite
from jaxrf.engine.channels import check_channels
from jaxrf.engine.crop import Crop, find_crop, same_boxes, total_step
from jaxrf.engine.plan import Plan, make_plan
from jaxrf.engine.pool import make_pool
from jaxrf.engine.run import Pullback
from jaxrf.engine.scores import scores
from jaxrf.engine.units import Grid, positions
from jaxrf.engine.windows import Windows, windows
from jaxrf.errors import InputError, unknown
from jaxrf.geometry.row import Row
from jaxrf.init import Initializer, with_init
from jaxrf.inputs import Images, as_images
from jaxrf.interpret import table as tables
from jaxrf.interpret.cut import treat_as_constant
from jaxrf.interpret.emptiness import check_not_empty
from jaxrf.interpret.fields import boxes
from jaxrf.interpret.image_axis import check_images_apart
from jaxrf.protocols import protocols
from jaxrf.provenance import provenance
from jaxrf.result import Result
from jaxrf.statistics import Gathered, Until, gathered
from jaxrf.statistics.averages import check_average
from jaxrf.statistics.until import as_until
from jaxrf.tangent.program import Layer, TangentProgram, Variable
from jaxrf.tangent.trace import OUTPUT, output_name, trace
from jaxrf.typing import PyTree, Units


def traced(subject: Subject, constant: Sequence[str] = (), batch: int = 1) -> TangentProgram:
    """The tangent program, with the statistics inside the layers `constant` held constant."""
    return treat_as_constant(trace(subject, batch), constant, subject.spatial_axes, "global")


def geometry_program(subject: Subject, constant: Sequence[str] = ()) -> TangentProgram:
    """The program for boxes: traced with two images, so that it is seen whether they are mixed.

    Raises:
        InputError: the model fails on such an input, a layer comes out empty, or the axis of images is missing.
    """
    try:
        program = traced(subject, constant, batch=2)
    except InputError:
        program = traced(subject, constant)  # a model that takes one image only
    check_not_empty(program, subject.spatial_axes, subject.name)
    check_images_apart(program, subject.name)
    return program


def seed_numbers(seeds: int | Sequence[int] | None, subject: Subject) -> list[int | None]:
    """Which random initializations to run; [None] for the given variables.

    Raises:
        InputError: seeds for given variables, repeated ones, or a model that cannot be drawn.
    """
    if subject.variables is not None:
        if seeds is not None:
            raise InputError("seeds draw random weights, but variables were given. Pass one of them.")
        check_finite(subject.variables)
        return [None]
    if subject.init is None:
        raise InputError(
            f"{subject.name} has no weights and cannot draw them. Pass variables, or a model with an initialization."
        )
    numbers = list(range(seeds)) if isinstance(seeds, int) else [0] if seeds is None else [int(s) for s in seeds]
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise InputError(f"seeds={seeds!r} must be a count of at least 1, or different whole numbers from 0 on.")
    return list(numbers)


def choose(program: TangentProgram, name: str | None, output: str | None) -> Layer:
    """The layer of a name; None for the output.

    Raises:
        UnknownNameError: no such layer or output.
        InputError: several outputs and no choice, or a layer that does not depend on the input.
    """
    layers = program.layers
    if name is None:
        name = output_name("" if output is None else output)
        if output is None and OUTPUT not in layers:
            leaves = [o.removeprefix(OUTPUT + "/") for o in program.outputs]
            raise InputError(f"The model's output is no single array: it has {leaves}. Say which with output={leaves[0]!r}.")
        if name not in layers:
            raise unknown("output", output, [o.removeprefix(OUTPUT + "/") for o in program.outputs])
    if name not in layers:
        raise unknown("layer", name, layers)
    if layers[name].tangent is None:
        raise InputError(f"Layer {name!r} has no effective field: {layers[name].note}.")
    return layers[name]


@dataclass(frozen=True)
class Request:
    """What is to be mapped; the options of `jaxrf.erf` that do not say how the model is called."""

    units: Units | Grid = "center"
    layer: str | None = None
    wrt: str | None = None
    channels: str | int = "probe"
    score: str = "square"
    output: str | None = None
    pool_units: bool = False
    memory: int | float | str | None = None
    devices: Sequence[jax.Device] | None = None
    crop: bool = True
    average: str = "weighted"
    until: float | Until | None = None
    treat_as_constant: Sequence[str] = ()


def open_job(
    model: Any, variables: PyTree | None, inputs: Any, *, request: Request, call: Mapping[str, Any],
    seeds: int | Sequence[int] | None = None, input_shape: Sequence[int] | None = None,
    init: Mapping[str, Initializer | str] | None = None, protocol: str | None = None,
) -> tuple[Job, Images, list[int | None]]:  # fmt: skip
    """From the user's words to a prepared job, its images and its seeds."""
    images = as_images(inputs, tuple(input_shape) if input_shape is not None else None)
    subject = adapt(model, images.shape, variables=variables, dtype=images.dtype, **call)
    if protocol is not None:
        protocols[protocol].check_size(tuple(images.shape[axis - 1] for axis in subject.spatial_axes))
        request = protocols[protocol].applied_to(request)
    request = replace(request, until=as_until(request.until))
    if isinstance(request.until, Until) and seeds is None and subject.variables is None:
        seeds = request.until.cap
    numbers = seed_numbers(seeds, subject)
    if init is not None and subject.variables is not None:
        raise InputError("init says how weights are drawn, but variables were given. Pass one of them.")
    job = prepare(with_init(subject, init) if init is not None else subject, images, request)
    job.description.update(protocol=protocol, init={k: str(v) for k, v in init.items()} if init is not None else None)
    return job, images, numbers


def prepare(subject: Subject, images: Images, request: Request) -> Job:
    """Trace, find the boxes, plan the windows.

    Raises:
        InputError, UnknownNameError: the request does not fit the model.
        PlanError: it does not fit into memory.
    """
    scores[request.score]  # an unknown name is said before anything is traced
    check_average(request.average)
    flat = geometry_program(subject, request.treat_as_constant)
    target = choose(flat, request.layer, request.output)
    source = choose(flat, request.wrt, None) if request.wrt is not None else None
    found = boxes(flat, source.tangent if source else None)
    if target.tangent not in found.fields or (source and target.tangent is source.tangent):
        raise InputError(f"Layer {target.name!r} does not lie behind layer {request.wrt!r}.")
    axes = tables.axes_of(flat, source, subject.spatial_axes) if source else None
    row = tables.row(flat, target, found, subject.spatial_axes, source=axes)
    chosen = positions(request.units, row)
    tied = "batch" in row.global_axes
    program = traced(subject, request.treat_as_constant, batch=images.first if tied else 1)
    size = int(np.prod(program.layers[target.name].tangent.shape)) // int(np.prod(row.unit_shape)) // program.image.shape[0]
    check_channels(request.channels, size, target.name)
    place = Place(subject, request, target.name, row, chosen, size if request.channels == "each" else 1, tied)
    windows, crop, shift = place.windows(program), Crop(None, "images see each other"), None
    if not tied:
        program, windows, crop, shift = _cropped(place, program, windows)
    pull, plan = _pullback(place, program, windows, crop)
    facts = provenance(subject.name, target.name, request.wrt, images.description, program.image.dtype)
    if request.treat_as_constant:
        facts["treat_as_constant"] = list(request.treat_as_constant)
    return Job(subject, request, pull, plan, row, chosen, shift, facts)


@dataclass(frozen=True, eq=False)
class Place:
    """Which units of which layer are pulled back to what: the same on the whole image and on a crop."""

    subject: Subject
    request: Request
    layer: str
    row: Row
    units: np.ndarray
    repeats: int
    tied: bool

    def windows(self, program: TangentProgram, shift: Sequence[int] | None = None) -> Windows:
        """The windows of all units, moved back by `shift` units where the program is one of a crop."""
        target = program.layers[self.layer]
        above = tables.axes_of(program, target, self.subject.spatial_axes)
        units = self.units - np.asarray(shift, np.int64) if shift is not None else self.units
        at = {axis: np.repeat(units[:, i], self.repeats) for i, axis in enumerate(above.units)}
        if self.tied and above.batch is not None and above.batch not in above.units:
            images = program.image.shape[0]
            at = {axis: np.tile(column, images) for axis, column in at.items()}
            at = {above.batch: np.repeat(np.arange(images), len(units) * self.repeats), **at}
        assert target.tangent is not None
        return windows(program, target.tangent, self.source(program), at)

    def source(self, program: TangentProgram) -> Variable:
        """What is pulled back to."""
        found = program.input if self.request.wrt is None else program.layers[self.request.wrt].tangent
        assert found is not None
        return found

    def axes(self, program: TangentProgram) -> tuple[tuple[int, ...], int]:
        """Axes of the source that are positions, and its axis of images."""
        if self.request.wrt is None:
            return tuple(self.subject.spatial_axes), 0
        below = tables.axes_of(program, program.layers[self.request.wrt], self.subject.spatial_axes)
        return below.units, below.batch or 0


def _cropped(place: Place, program: TangentProgram, plan: Windows):
    """The program, windows and crop to run, and by how many positions the crop is moved; the whole image if it must be."""
    spatial, row = tuple(place.subject.spatial_axes), place.row
    if not place.request.crop or place.request.wrt is not None:
        return program, plan, Crop(None, "a crop was not asked for" if not place.request.crop else "wrt is a layer"), None
    step = total_step(boxes(program), [step.equation.result for step in plan.steps], spatial)
    if step is None or any(not isinstance(s, int) for s in row.stride) or len(row.unit_shape) != len(spatial):
        return program, plan, Crop(None, "some layer on the way has no stride"), None
    crop = find_crop(program, plan, spatial, step)
    if crop.box is None:
        return program, plan, crop, None
    shape = list(place.subject.input_shape)
    for axis, (lo, hi) in zip(spatial, crop.box):
        shape[axis - 1] = hi - lo
    small = traced(replace(place.subject, input_shape=tuple(shape)), place.request.treat_as_constant)
    shift = tuple(lo for lo, _ in crop.box)
    moved = place.windows(small, [lo // s for lo, s in zip(shift, row.stride)])
    if not same_boxes(plan, moved, shift, spatial):
        return program, plan, Crop(None, "its boxes differ from those of the crop"), None
    return small, moved, crop, shift


def _pullback(place: Place, program: TangentProgram, plan: Windows, crop: Crop) -> tuple[Pullback, Plan]:
    request, (spatial, batch_axis) = place.request, place.axes(program)
    devices = tuple(request.devices or ())
    pull = Pullback(
        program, program.layers[place.layer], plan, spatial, batch_axis, request.score, request.channels,
        per_batch=1, side=1, batches_per_call=1, tied=place.tied, devices=devices,
    )  # fmt: skip
    map_bytes = int(np.prod(pull.map_shape)) * plan.target.dtype.itemsize
    chosen = make_plan(
        program, plan, place.layer, map_bytes, memory=request.memory, crop=crop,
        draws=place.subject.variables is None, tied=place.tied, devices=len(devices),
    )  # fmt: skip
    pool = None
    if request.pool_units:
        centers = np.array([place.row.center(tuple(unit)) for unit in place.units])
        shift = np.array([lo for lo, _ in crop.box]) if crop.box else 0
        pool = make_pool(pull.origin + shift, np.repeat(centers, place.repeats, axis=0), pull.map_shape)
    pull = replace(
        pull, per_batch=chosen.units_per_batch, side=chosen.images_at_once, batches_per_call=chosen.batches_per_call, pool=pool
    )
    return pull, chosen


@dataclass(frozen=True, eq=False)
class Sample:
    """Maps (image, unit, *spatial) of some images; what their gradients held on other images (image, unit); their keys."""

    maps: np.ndarray
    elsewhere: np.ndarray
    keys: jax.Array


@dataclass(frozen=True, eq=False)
class Job:
    """A prepared map: the program to run, and how its result is described."""

    subject: Subject
    request: Request
    pullback: Pullback
    plan: Plan
    row: Row
    units: np.ndarray
    shift: tuple[int, ...] | None
    description: dict[str, Any]

    def leaves(self, seed: int | None) -> list[jax.Array]:
        """The model's variables, flattened: those given, or drawn from seed number `seed`."""
        if seed is None:
            return jax.tree.leaves(self.subject.variables)
        return self._initialize(_key(seed))

    @cached_property
    def _initialize(self) -> Any:
        return jax.jit(lambda key: jax.tree.leaves(self.subject.initialize(key)))

    @property
    def side(self) -> int:
        """Images per call of the compiled program."""
        return self.pullback.program.image.shape[0] if self.pullback.tied else self.pullback.side

    def samples(self, images: Images, seed: int | None) -> Iterator[Sample]:
        """One `Sample` per batch of images, under one set of variables."""
        pull, leaves, number = self.pullback, self.leaves(seed), 0
        for batch in images.batches(self.side):
            if pull.tied and len(batch) != self.side:
                raise InputError(
                    f"Images of {self.subject.name} see each other, so all batches need the same size; "
                    f"found {len(batch)} after {self.side}."
                )
            keys = sample_keys(seed, number, 1 if pull.tied else self.side)
            parts = list(pull.maps(leaves, _side_by_side(self._crop(batch), self.side, pull.tied), keys))
            maps = np.concatenate([part.maps for part in parts], axis=1)
            elsewhere = np.concatenate([part.elsewhere for part in parts], axis=1)
            if pull.tied:
                maps, elsewhere = (a.reshape(self.side, -1, *a.shape[2:]) for a in (maps, elsewhere))
            yield Sample(maps[: len(batch)], elsewhere[: len(batch)], keys)
            number += len(batch)

    def _crop(self, batch: np.ndarray) -> np.ndarray:
        if self.shift is None:
            return batch
        whole = [slice(None)] * batch.ndim
        for axis, lo in zip(self.subject.spatial_axes, self.shift):
            whole[axis] = slice(lo, lo + self.pullback.program.image.shape[axis])
        return batch[tuple(whole)]

    def run(self, images: Images, seeds: Sequence[int | None]) -> Result:
        """Run all samples; sums on the host in float64."""
        images = images.repeatable() if len(seeds) > 1 else images
        rule, result = as_until(self.request.until), None
        look = rule.next_check(0) if rule else math.inf
        for total, own in self._gather(images, seeds):
            result = None
            if rule and total.count >= look:
                look, result = rule.next_check(total.count), self._result(total, own, seeds)
                if rule.stops(result):
                    break
        result = result or self._result(total, own, seeds)
        every = f"of {result.count * len(result.mean)} maps"
        if result.nonfinite:
            warnings.warn(f"{result.nonfinite} {every} hold NaN or infinity; so does the mean.", stacklevel=3)
        if result.dead:
            warnings.warn(f"{result.dead} {every} are zero everywhere: their unit is dead.", stacklevel=3)
        return result

    def _gather(self, images: Images, seeds: Sequence[int | None]) -> Iterator[tuple[Gathered, np.ndarray]]:
        """What was gathered so far, and its scores on own and on other images, wherever the run may stop.

        That is after each seed, so that all saw the same images; and after each batch where there is one seed.
        """
        total, own = None, np.zeros(2)
        for number, seed in enumerate(seeds):
            first = 0
            for sample in self.samples(images, seed):
                total = total or gathered.init(sample.maps.shape[1:], self.request.average)
                total = gathered.update(total, sample.maps, number, range(first, first + len(sample.maps)))
                first += len(sample.maps)
                own += np.abs(sample.maps).sum(dtype=np.float64), sample.elsewhere.sum(dtype=np.float64)
                if len(seeds) == 1:
                    yield total, own
            if len(seeds) > 1 and total is not None:
                yield total, own

    def _result(self, total: Gathered, own: np.ndarray, seeds: Sequence[int | None]) -> Result:
        summary = gathered.finalize(total)
        facts = {**self.description, "plan": str(self.plan)}
        if self.subject.variables is None:
            facts["seeds"] = list(seeds[: total.seeds.levels])
        if self.pullback.tied:
            facts["share_on_own_image"] = float(own[0] / own.sum()) if own.any() else 1.0
        origin, units = self.where(len(summary.mean))
        return Result(
            **vars(summary),
            origin=origin,
            units=units,
            theoretical=self.row,
            score=self.pullback.score,
            channels=self.pullback.channels,
            input_shape=self.row.input_shape,
            provenance=facts,
        )

    def where(self, maps: int) -> tuple[np.ndarray, np.ndarray]:
        """Origins and units of the result's maps; units averaged into one are told by the center unit."""
        pool = self.pullback.pool
        if pool is not None:
            unit = self.row.center_unit
            return np.floor([self.row.center(unit)]).astype(np.int64) - pool.middle, np.array([unit])
        origin = self.pullback.origin[:maps] + (np.array(self.shift) if self.shift is not None else 0)
        return origin, np.repeat(self.units, maps // len(self.units), axis=0)


def _key(seed: int | None) -> jax.Array:
    return jax.random.fold_in(jax.random.key(0), seed or 0)


def sample_keys(seed: int | None, first: int, count: int) -> jax.Array:
    """Keys of `count` images from number `first` on: they depend on seed and image number alone."""
    root = jax.random.fold_in(_key(seed), 1)
    return jax.vmap(lambda i: jax.random.fold_in(root, i))(first + np.arange(count))


def _side_by_side(batch: np.ndarray, side: int, tied: bool) -> np.ndarray:
    """Images as the compiled program takes them: (side, 1, ...), the last repeated; or (1, batch, ...) where tied."""
    if tied:
        return batch[None]
    lack = side - len(batch)
    return (np.concatenate([batch, np.repeat(batch[-1:], lack, 0)]) if lack else batch)[:, None]
