"""A prepared map, run: samples of maps become a result."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxrf.adapters import Subject
from jaxrf.certificate import certify
from jaxrf.compiler import jit
from jaxrf.engine.plan import Plan
from jaxrf.engine.rounding import moved, unsteady
from jaxrf.engine.run import Pullback
from jaxrf.engine.symmetry import check_symmetric
from jaxrf.errors import InputError
from jaxrf.geometry.row import Row
from jaxrf.inputs import Images
from jaxrf.interpret.units import UnitAxes
from jaxrf.lost import Lost
from jaxrf.request import Request
from jaxrf.result import Result
from jaxrf.statistics import Gathered, gathered
from jaxrf.statistics.gathered import TRUSTED
from jaxrf.statistics.until import as_until


@dataclass(frozen=True, eq=False)
class Sample:
    """What some images gave.

    Attributes:
        maps: (image, unit, *spatial).
        elsewhere: (image, unit), what their gradients held on other images.
        values: (image, unit, channel), forward values of the units.
        keys: of the images.
    """

    maps: np.ndarray
    elsewhere: np.ndarray
    values: np.ndarray
    keys: jax.Array


@dataclass(frozen=True, eq=False)
class Job:
    """A prepared map: the program to run, and how its result is described.

    `axes` are those of the units' layer; `alone` says that the model takes one image at a time, and no batch.
    """

    subject: Subject
    request: Request
    pullback: Pullback
    plan: Plan
    row: Row
    axes: UnitAxes
    units: np.ndarray
    shift: tuple[int, ...] | None
    description: dict[str, Any]
    alone: bool = False

    def leaves(self, seed: int | None) -> list[jax.Array]:
        """The model's variables, flattened: those given, or drawn from seed number `seed`."""
        if seed is None:
            return jax.tree.leaves(self.subject.variables)
        return self._initialize(root_key(seed))

    @cached_property
    def _initialize(self) -> Any:
        return jit(lambda key: jax.tree.leaves(self.subject.initialize(key)), quick=True)

    @cached_property
    def lost(self) -> Lost:
        """What finds maps that the forward pass spoils; they are NaN in `samples`."""
        return Lost(self.pullback)

    @property
    def side(self) -> int:
        """Images per call of the compiled program."""
        return self.pullback.program.image.shape[0] if self.pullback.tied else self.pullback.side

    def samples(self, images: Images, seed: int | None, first: int = 0) -> Iterator[Sample]:
        """One `Sample` per batch of images, under one set of variables; the images are numbered from `first` on."""
        _ = self._symmetric
        pull, leaves, number = self.pullback, self.leaves(seed), first
        for batch in images.batches(None if pull.tied else self.side):
            if pull.tied and len(batch) != self.side:
                cause = self.row.global_cause.get("batch")
                why = f"see each other ({cause})" if cause else "have random numbers of their own"
                raise InputError(
                    f"Images of {self.subject.name} {why}, so that a batch is one call of the model and all batches need "
                    f"the same size; found {len(batch)} after {self.side}."
                )
            sample = self._sample(leaves, batch, sample_keys(seed, number, 1 if pull.tied else self.side))
            if self.request.certify and not number and "certificate" not in self.description:
                self._certify(leaves, batch, sample.values)
                self._check_steady(leaves, batch, sample)
            maps = self.lost.marked(sample.maps, sample.values, self.cropped(batch), leaves)
            yield replace(sample, maps=maps)
            number += len(batch)

    def _sample(self, leaves: list[jax.Array], batch: np.ndarray, keys: jax.Array) -> Sample:
        tied = self.pullback.tied
        parts = list(self.pullback.maps(leaves, _side_by_side(self.cropped(batch), self.side, tied), keys))
        arrays = [p[0] if len(p) == 1 else np.concatenate(p, axis=1) for p in list(zip(*parts))[1:]]
        if tied:
            arrays = [a.reshape(self.side, -1, *a.shape[2:]) for a in arrays]
        maps, elsewhere, values = (a[: len(batch)] for a in arrays)
        return Sample(maps, elsewhere, values, keys)

    @cached_property
    def _symmetric(self) -> None:
        """Raises an error where signs of weights are averaged over whose mean is not zero."""
        if (signs := self.pullback.signs) is not None:
            check_symmetric(self.pullback.program, signs.weights, self.leaves)

    def _certify(self, leaves: list[jax.Array], batch: np.ndarray, values: np.ndarray) -> None:
        """Note how far the units' values of the first batch are from those of the model itself."""
        axes = self.axes
        repeats = values.shape[1] // len(self.units)

        def pick(value: np.ndarray, images: int) -> np.ndarray:
            """(image, unit, channel) of a layer's value for so many images."""
            value = axes.by_image(value, images)
            kept = [a for a in range(1, value.ndim) if a - 1 not in axes.units]
            value = value.transpose(0, *(a + 1 for a in axes.units), *kept)
            picked = value[(slice(None), *self.units.T)]
            return np.repeat(picked.reshape(images, len(self.units), -1), repeats, axis=1)

        variables = jax.tree.unflatten(jax.tree.structure(self.subject.abstract), leaves)
        calls = [batch[i : i + 1] for i in range(len(batch))] if self.alone else [batch]
        self.description["certificate"] = certify(self.subject, self.row.name, variables, calls, values, pick)

    def _check_steady(self, leaves: list[jax.Array], batch: np.ndarray, sample: Sample) -> None:
        """Warn where sums over channels are constant in theory, so that their maps are what rounding leaves of them."""
        if self.request.channels != "sum" or (near := moved(batch)) is None:
            return
        share = unsteady(sample.maps, self._sample(leaves, near, sample.keys).maps)
        if share > 0.5:
            warnings.warn(
                f"{share:.0%} of the maps of {self.row.name} change wholly with images that differ by rounding: they are "
                'rounding themselves. Behind a normalization over channels, channels="sum" has no gradient; use "probe".',
                stacklevel=2,
            )

    def cropped(self, batch: Any) -> Any:
        """The part of images that the program runs on."""
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
                look, result = rule.next_check(total.count), self.summarized(total, own, seeds)
                if rule.stops(result):
                    break
        result = result or self.summarized(total, own, seeds)
        if max((kept.levels for kept in result.groups.values()), default=0) >= TRUSTED:
            result.warn_of_few(stacklevel=4)  # with fewer of them, nobody takes the errors for known
        every = f"of {result.count * len(result.mean)} maps"
        if result.nonfinite:
            causes = "".join(f" {count} for {cause}." for cause, count in self.lost.causes.items())
            warnings.warn(f"{result.nonfinite} {every} hold NaN or infinity; so does the mean.{causes}", stacklevel=3)
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
                if self.pullback.tied:
                    own += np.abs(sample.maps).sum(dtype=np.float64), sample.elsewhere.sum(dtype=np.float64)
                if len(seeds) == 1:
                    yield total, own
            if len(seeds) > 1 and total is not None:
                yield total, own

    def summarized(self, total: Gathered, own: np.ndarray, seeds: Sequence[int | None]) -> Result:
        """What was gathered as a `Result`; `own` are its scores on own and on other images."""
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
            middle = np.nan_to_num([self.row.center(unit)])  # no center: no unit sees anything, and the map is zero
            return np.floor(middle).astype(np.int64) - pool.middle, np.array([unit])
        origin = self.pullback.origin[:maps] + (np.array(self.shift) if self.shift is not None else 0)
        return origin, np.repeat(self.units, maps // len(self.units), axis=0)


def root_key(seed: int | None) -> jax.Array:
    """The key of random initialization number `seed`."""
    return _root(np.uint32(seed or 0))


@jax.jit
def _root(seed: np.uint32) -> jax.Array:
    return jax.random.fold_in(jax.random.key(0), seed)


def sample_keys(seed: int | None, first: int, count: int) -> jax.Array:
    """Keys of `count` images from number `first` on: they depend on seed and image number alone."""
    return _keys(root_key(seed), first + np.arange(count))


@jax.jit
def _keys(key: jax.Array, numbers: np.ndarray) -> jax.Array:
    root = jax.random.fold_in(key, 1)
    return jax.vmap(lambda i: jax.random.fold_in(root, i))(numbers)


def _side_by_side(batch: np.ndarray, side: int, tied: bool) -> np.ndarray:
    """Images as the compiled program takes them: (side, 1, ...), the last repeated; or (1, batch, ...) where tied."""
    if tied:
        return batch[None]
    lack = side - len(batch)
    return (np.concatenate([batch, np.repeat(batch[-1:], lack, 0)]) if lack else batch)[:, None]
