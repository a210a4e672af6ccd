"""A prepared layer, run: samples of maps under given or drawn weights become a result."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxrf.base.compiler import jit
from jaxrf.engine.rounding import changed_share, nudged
from jaxrf.engine.symmetry import check_symmetric
from jaxrf.errors import InputError
from jaxrf.fields.certificate import Certificate
from jaxrf.fields.lost import Lost
from jaxrf.inputs.images import Images
from jaxrf.planning.prepared import Prepared
from jaxrf.results.result import Result
from jaxrf.statistics import Gathered, Until, gathered
from jaxrf.statistics.gathered import TRUSTED


@dataclass(frozen=True, eq=False)
class Sample:
    """What some images gave.

    Attributes:
        maps: (image, unit, *spatial).
        other_images: (image, unit), what their gradients held on other images.
        values: (image, unit, channel), forward values of the units.
        keys: of the images.
        lost: how many maps the forward pass spoiled, by cause; they are NaN throughout.
    """

    maps: np.ndarray
    other_images: np.ndarray
    values: np.ndarray
    keys: jax.Array
    lost: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Compiled:
    """The programs of one prepared layer, each compiled when it is first needed, for all of its runs."""

    prepared: Prepared

    @cached_property
    def initialize(self) -> Callable[[jax.Array], list[Any]]:
        """`key -> leaves`: the model's variables, drawn; views of one zero in the place of those that the layer does not see."""
        subject, seen = self.prepared.subject, self.prepared.pullback.variables
        unseen = [None if i in seen else _zeros(leaf) for i, leaf in enumerate(jax.tree.leaves(subject.abstract))]

        def drawn(key: jax.Array) -> list[jax.Array]:
            return [leaf for leaf, zeros in zip(jax.tree.leaves(subject.initialize(key)), unseen) if zeros is None]

        compiled = jit(drawn, quick=True)

        def leaves(key: jax.Array) -> list[Any]:
            found = iter(compiled(key))
            return [next(found) if zeros is None else zeros for zeros in unseen]

        return leaves

    @cached_property
    def lost(self) -> Lost:
        """What finds maps that the forward pass spoils."""
        return Lost(self.prepared.pullback)

    @cached_property
    def certificate(self) -> Certificate:
        """The comparison of the engine's forward pass with the model's."""
        return Certificate(self.prepared)

    @cached_property
    def symmetric(self) -> None:
        """Raises an error where signs of weights are averaged over whose mean is not zero."""
        pull = self.prepared.pullback
        if pull.signs is not None:
            check_symmetric(pull.program, pull.signs.weights, lambda seed: self.initialize(root_key(seed)))

    def maps(self, leaves: Sequence[jax.Array], batch: np.ndarray, keys: jax.Array) -> Sample:
        """The sample of some images, at most `Prepared.side` of them."""
        prepared, images_interact = self.prepared, self.prepared.pullback.images_interact
        images = _side_by_side(prepared.cropped(batch), prepared.images_per_call, images_interact)
        arrays = list(prepared.pullback.maps(leaves, images, keys))
        if images_interact:
            arrays = [a.reshape(prepared.images_per_call, -1, *a.shape[2:]) for a in arrays]
        maps, other_images, values = (a[: len(batch)] for a in arrays)
        return Sample(maps, other_images, values, keys)


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a compiled layer.

    Attributes:
        compiled: the layer.
        variables: of the model, flattened; None where they are drawn, once for each seed.
        certify: whether the first images are compared with the model called as it is.
    """

    compiled: Compiled
    variables: Sequence[jax.Array] | None
    certify: bool = True

    @property
    def prepared(self) -> Prepared:
        """The layer."""
        return self.compiled.prepared

    @property
    def certificate(self) -> dict[str, float | None]:
        """What the comparison found, as a fact for a result; empty where none was made."""
        certificate = self.compiled.certificate
        return {"certificate": certificate.outcome} if self.certify and certificate.made else {}

    def leaves(self, seed: int | None) -> Sequence[jax.Array]:
        """The model's variables, flattened: those given, or drawn from seed number `seed`."""
        return self.compiled.initialize(root_key(seed)) if self.variables is None else self.variables

    def samples(self, images: Images, seed: int | None, first: int = 0) -> Iterator[Sample]:
        """One `Sample` per batch of images, under one set of variables; the images are numbered from `first` on."""
        _ = self.compiled.symmetric
        prepared, leaves, number = self.prepared, self.leaves(seed), first
        images_interact, images_per_call = prepared.pullback.images_interact, prepared.images_per_call
        for batch in images.batches(None if images_interact else images_per_call):
            if images_interact and len(batch) != images_per_call:
                cause = prepared.row.global_cause.get("batch")
                why = f"see each other ({cause})" if cause else "have random numbers of their own"
                raise InputError(
                    f"Images of {prepared.subject.name} {why}, so that a batch is one call of the model and all batches "
                    f"need the same size; found {len(batch)} after {images_per_call}."
                )
            sample = self.compiled.maps(
                leaves, batch, sample_keys(seed, number, 1 if images_interact else images_per_call)
            )
            if self.certify and not number and not self.compiled.certificate.made:
                self.compiled.certificate.make(leaves, batch, sample.values)
                self._check_steady(leaves, batch, sample)
            maps, lost = self.compiled.lost.marked(sample.maps, sample.values, prepared.cropped(batch), leaves)
            yield Sample(maps, sample.other_images, sample.values, sample.keys, lost)
            number += len(batch)

    def _check_steady(self, leaves: Sequence[jax.Array], batch: np.ndarray, sample: Sample) -> None:
        """Warn where sums over channels are constant in theory, so that their maps are what rounding leaves of them."""
        if not self.prepared.pullback.rule.cancels or (near := nudged(batch)) is None:
            return
        share = changed_share(sample.maps, self.compiled.maps(leaves, near, sample.keys).maps)
        if share > 0.5:
            warnings.warn(
                f"{share:.0%} of the maps of {self.prepared.row.name} change wholly with images that differ by rounding: "
                "they are rounding themselves. Behind a normalization over channels, "
                f'channels="{self.prepared.options.channels}" has no gradient; use "probe".',
                stacklevel=2,
            )

    def result(
        self, images: Images, seeds: Sequence[int | None], until: Until | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Result:  # fmt: skip
        """All samples as a result; sums on the host in float64.

        Args:
            images: of all seeds.
            seeds: numbers of random initializations; [None] for given variables.
            until: when to stop before.
            progress: is called with the number of samples so far, and with how many there are, where that is known.
        """
        images = images.repeatable() if len(seeds) > 1 else images
        result, look = None, until.next_check(0) if until else math.inf
        for found in self._gather(images, seeds):
            result, count = None, found.total.count
            if progress is not None:
                progress(count, images.count and images.count * len(seeds))
            if until and count >= look:
                look, result = until.next_check(count), self._summarized(found, images, seeds)
                if until.stops(result):
                    break
        result = result or self._summarized(found, images, seeds)
        _warn(result, found.lost)
        return result

    def _gather(self, images: Images, seeds: Sequence[int | None]) -> Iterator[Found]:
        """What was found so far, wherever the run may stop.

        That is after each seed, so that all saw the same images; and after each batch where there is one seed.
        """
        found = None
        for number, seed in enumerate(seeds):
            first = 0
            for sample in self.samples(images, seed):
                found = (found or Found.none(sample, self.prepared)).with_sample(sample, number, first, self.prepared)
                first += len(sample.maps)
                if len(seeds) == 1:
                    yield found
            if len(seeds) > 1 and found is not None:
                yield found

    def _summarized(self, found: Found, images: Images, seeds: Sequence[int | None]) -> Result:
        facts: dict[str, Any] = {"inputs": images.description, **self.certificate}
        if self.variables is None:
            facts["seeds"] = list(seeds[: found.total.seeds.levels])
        return self.prepared.summarized(found.total, facts, found.own)


@dataclass(frozen=True, eq=False)
class Found:
    """What the samples of a run gave so far.

    Attributes:
        total: the samples, gathered.
        own: their scores on own and on other images.
        lost: how many maps the forward pass spoiled, by cause.
    """

    total: Gathered
    own: np.ndarray
    lost: Counter[str]

    @classmethod
    def none(cls, sample: Sample, prepared: Prepared) -> Found:
        """Nothing yet, for samples of the shape of this one."""
        shape, room = sample.maps.shape[1:], prepared.plan.held.room or gathered.MEMORY
        return cls(gathered.init(shape, prepared.options.average, room), np.zeros(2), Counter())

    def with_sample(self, sample: Sample, seed: int, first: int, prepared: Prepared) -> Found:
        """What was found, with a sample added whose images are numbered from `first` on."""
        total = gathered.update(self.total, sample.maps, seed, range(first, first + len(sample.maps)))
        own = self.own
        if prepared.pullback.images_interact:
            own = own + (np.abs(sample.maps).sum(dtype=np.float64), sample.other_images.sum(dtype=np.float64))
        return Found(total, own, self.lost + Counter(sample.lost))


def _warn(result: Result, lost: Counter[str]) -> None:
    """Warn of errors from few samples, and of maps that are lost or dead."""
    if max((kept.levels for kept in result.groups.values()), default=0) >= TRUSTED:
        result.warn_of_few(stacklevel=5)  # with fewer of them, nobody takes the errors for known
    every = f"of {result.count * len(result.mean)} maps"
    if result.nonfinite:
        causes = "".join(f" {count} for {cause}." for cause, count in lost.items())
        warnings.warn(f"{result.nonfinite} {every} hold NaN or infinity; so does the mean.{causes}", stacklevel=4)
    if result.dead:
        warnings.warn(f"{result.dead} {every} are zero everywhere: their unit is dead.", stacklevel=4)


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


def _side_by_side(batch: np.ndarray, images_per_call: int, images_interact: bool) -> np.ndarray:
    """Images as the compiled program takes them: (side, 1, ...), the last repeated; or (1, batch, ...) where they interact."""
    if images_interact:
        return batch[None]
    lack = images_per_call - len(batch)
    return (np.concatenate([batch, np.repeat(batch[-1:], lack, 0)]) if lack else batch)[:, None]


def _zeros(leaf: jax.ShapeDtypeStruct) -> np.ndarray | None:
    """Zeros that take no memory; None for keys of random streams, which NumPy does not know."""
    if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.extended):
        return None
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
