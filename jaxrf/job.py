"""One map, prepared and run: a subject, a layer and its units become a program, its samples become a result."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxrf.adapters import Subject, check_finite
from jaxrf.engine.channels import check_channels
from jaxrf.engine.run import Pullback
from jaxrf.engine.scores import scores
from jaxrf.engine.units import Grid, positions
from jaxrf.engine.windows import windows
from jaxrf.errors import InputError, TraceError, unknown
from jaxrf.geometry.row import Row
from jaxrf.inputs import Images
from jaxrf.interpret import table as tables
from jaxrf.interpret.fields import boxes
from jaxrf.provenance import provenance
from jaxrf.result import Result
from jaxrf.statistics import moments
from jaxrf.tangent.program import Layer, TangentProgram
from jaxrf.tangent.trace import OUTPUT, output_name, trace
from jaxrf.typing import Units

SIDE_BY_SIDE = 8
"""Units times images in one batch: as many as fit the caches of a CPU."""
BLOCK = 2**26
"""Elements of the maps that one call of the compiled program returns."""


def geometry_program(subject: Subject) -> TangentProgram:
    """The program for boxes: traced with two images, so that it is seen whether they are mixed."""
    try:
        return trace(subject, batch=2)
    except TraceError:
        return trace(subject, batch=1)  # a model that takes one image only


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


def prepare(
    subject: Subject,
    images: Images,
    *,
    units: Units | Grid = "center",
    layer: str | None = None,
    wrt: str | None = None,
    channels: str | int = "probe",
    score: str = "square",
    output: str | None = None,
) -> Job:
    """Trace, find the boxes, plan the windows."""
    scores[score]  # an unknown name is said before anything is traced
    flat = geometry_program(subject)
    target = choose(flat, layer, output)
    source = choose(flat, wrt, None) if wrt is not None else None
    found = boxes(flat, source.tangent if source else None)
    if target.tangent not in found.fields or target.tangent is (source.tangent if source else None):
        raise InputError(f"Layer {target.name!r} does not lie behind layer {wrt!r}.")
    axes = tables.axes_of(flat, source, subject.spatial_axes) if source else None
    row = tables.row(flat, target, found, subject.spatial_axes, source=axes)
    chosen = positions(units, row)
    tied = "batch" in row.global_axes
    program = trace(subject, batch=images.first if tied else 1)
    pull = _pullback(program, subject, target.name, wrt, chosen, row, channels, score, tied)
    facts = provenance(subject.name, target.name, wrt, images.description, program.image.dtype)
    return Job(subject, pull, row, chosen, facts)


def _pullback(program, subject, layer, wrt, chosen, row, channels, score, tied) -> Pullback:
    target, source = program.layers[layer], program.layers[wrt] if wrt is not None else None
    assert target.tangent is not None
    above = tables.axes_of(program, target, subject.spatial_axes)
    below = tables.axes_of(program, source, subject.spatial_axes) if source else None
    count = int(np.prod([n for a, n in enumerate(target.tangent.shape) if a not in above.units and a != above.batch]))
    check_channels(channels, count, layer)
    repeats = count if channels == "each" else 1
    at = {axis: np.repeat(chosen[:, i], repeats) for i, axis in enumerate(above.units)}
    if tied and above.batch not in above.units:
        size = program.image.shape[0]
        at = {axis: np.tile(column, size) for axis, column in at.items()}
        at = {above.batch: np.repeat(np.arange(size), len(chosen) * repeats), **at}
    plan = windows(program, target.tangent, source.tangent if source else program.input, at)
    return Pullback(
        program=program,
        layer=target,
        windows=plan,
        positions=below.units if below else tuple(subject.spatial_axes),
        batch_axis=below.batch if below and below.batch is not None else 0,
        score=score,
        channels=channels,
        per_batch=min(SIDE_BY_SIDE, max(1, plan.count)),
        tied=tied,
    )


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
    pullback: Pullback
    row: Row
    units: np.ndarray
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
        pull = self.pullback
        return pull.program.image.shape[0] if pull.tied else max(1, SIDE_BY_SIDE // pull.per_batch)

    def samples(self, images: Images, seed: int | None) -> Iterator[Sample]:
        """One `Sample` per batch of images, under one set of variables."""
        pull, leaves, number = self.pullback, self.leaves(seed), 0
        block = max(1, BLOCK // max(1, self.side * pull.per_batch * math.prod(pull.map_shape)))
        for batch in images.batches(self.side):
            if pull.tied and len(batch) != self.side:
                raise InputError(
                    f"Images of {self.subject.name} see each other, so all batches need the same size; "
                    f"found {len(batch)} after {self.side}."
                )
            keys = sample_keys(seed, number, 1 if pull.tied else self.side)
            parts = list(pull.maps(leaves, _side_by_side(batch, self.side, pull.tied), keys, block))
            maps = np.concatenate([m for _, m, _ in parts], axis=1)
            elsewhere = np.concatenate([e for _, _, e in parts], axis=1)
            if pull.tied:
                maps, elsewhere = (a.reshape(self.side, -1, *a.shape[2:]) for a in (maps, elsewhere))
            yield Sample(maps[: len(batch)], elsewhere[: len(batch)], keys)
            number += len(batch)

    def run(self, images: Images, seeds: Sequence[int | None]) -> Result:
        """Run all samples; sums on the host in float64."""
        images = images.repeatable() if len(seeds) > 1 else images
        total, dead, nonfinite, elsewhere = None, 0, 0, 0.0
        for seed in seeds:
            for sample in self.samples(images, seed):
                flat = sample.maps.reshape(*sample.maps.shape[:2], -1)
                dead += int((flat == 0).all(axis=-1).sum())
                nonfinite += int((~np.isfinite(flat)).any(axis=-1).sum())
                elsewhere += float(sample.elsewhere.sum())
                total = moments.update(total or moments.init(sample.maps.shape[1:]), sample.maps)
        assert total is not None
        return self._result(total, dead, nonfinite, elsewhere)

    def _result(self, total: moments.Moments, dead: int, nonfinite: int, elsewhere: float) -> Result:
        mean, stderr = moments.finalize(total)
        count = int(np.max(total.count))
        if nonfinite:
            warnings.warn(f"{nonfinite} of {count * len(mean)} maps hold NaN or infinity; so does the mean.", stacklevel=4)
        if dead:
            warnings.warn(f"{dead} of {count * len(mean)} maps are zero everywhere: their unit is dead.", stacklevel=4)
        facts = dict(self.description)
        if self.pullback.tied:
            own = float(np.abs(mean).sum()) * count
            facts["share_on_own_image"] = own / (own + elsewhere) if own + elsewhere else 1.0
        return Result(
            mean=mean,
            stderr=stderr,
            count=count,
            origin=self.pullback.origin[: len(mean)],
            units=np.repeat(self.units, len(mean) // len(self.units), axis=0),
            theoretical=self.row,
            score=self.pullback.score,
            channels=self.pullback.channels,
            input_shape=self.row.input_shape,
            dead=dead,
            nonfinite=nonfinite,
            provenance=facts,
        )


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
