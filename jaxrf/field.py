"""A prepared field: a pure function from variables, images and a key to maps, compiled once and called anywhere.

Everything that depends on the model's structure, the shapes and the options was decided by `jaxrf.prepare`.
A call reads arrays alone, and moves nothing between host and device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from jaxrf.adapters.subject import leaf_name
from jaxrf.compiler import jit
from jaxrf.engine.range import NOTHING, times, unscaled
from jaxrf.errors import InputError
from jaxrf.geometry.row import Row
from jaxrf.job import Job, root_key
from jaxrf.result import Result
from jaxrf.sampled import Statistics, checked_blocks, nothing, of_maps
from jaxrf.statistics import gathered
from jaxrf.statistics.gathered import blocks_of
from jaxrf.typing import PyTree


@partial(jax.tree_util.register_dataclass, data_fields=["values", "exponent", "elsewhere"], meta_fields=[])
@dataclass(frozen=True)
class Maps:
    """Maps of units, one for each image: `values * 2**exponent`.

    The exponent is apart because a gradient through forty sigmoid layers, squared, is no number of single precision.

    Attributes:
        values: (image, unit, *map).
        exponent: (image, unit), of two.
        elsewhere: (image, unit), the score on other images, where images see each other; in units of the same exponent.
    """

    values: Float[Array, "image unit *map"]
    exponent: Int[Array, "image unit"]
    elsewhere: Float[Array, "image unit"]

    def array(self) -> Float[Array, "image unit *map"]:
        """The maps as plain numbers, which may be zero or infinite where the exponent leaves the range of their type."""
        flat = self.values.reshape(-1, *self.values.shape[self.exponent.ndim :])  # `vmap` may have put axes before
        return times(flat, self.exponent.reshape(-1)).reshape(self.values.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Field:
    """The field of some units of one layer, prepared; made by `jaxrf.prepare`.

    `field(variables, images, key)` is pure: it may stand inside of `jit`, `vmap`, `scan`, `grad` and `shard_map`, and in
    anybody's training step. It keeps no weights and no images.
    """

    job: Job
    precision: str

    def __call__(
        self,
        variables: PyTree,
        images: jax.Array,
        key: jax.Array | None = None,
        first: int | jax.Array = 0,
    ) -> Maps:
        """Maps of all units for each image.

        Args:
            variables: of the structure, shapes and dtypes that the field was prepared for.
            images: (n, *input_shape); any n, but the one prepared where images see each other.
            key: of the probes; image i draws from `fold_in(key, i)`. Not needed where channels are not "probe".
            first: number i of the first image; the next ones follow. For calls with the same key.

        Raises:
            InputError: variables or images are of another structure, shape or type than prepared.
        """
        leaves, images = self._leaves(variables), self._images(images)
        key = jax.random.key(0) if key is None else key
        first = _number(first)
        inside = any(isinstance(a, Tracer) for a in (*leaves, images, key, first))
        return (self._placed if inside else self._compiled)(leaves, images, key, first)

    def init(self, key: jax.Array) -> PyTree:
        """Variables drawn at random by the model's own initialization.

        Raises:
            InputError: the model has none.
        """
        return self.job.subject.initialize(key)

    def key(self, seed: int = 0) -> jax.Array:
        """The key with which `jaxrf.erf` draws the probes of random initialization number `seed`."""
        return jax.random.fold_in(root_key(seed), 1)

    def statistics(
        self,
        maps: Maps | None = None,
        *,
        seed: int | jax.Array = 0,
        first: int | jax.Array = 0,
        blocks: int | None = None,
    ) -> Statistics:
        """What a result needs of the maps of one call, each image a sample: a pytree of arrays that add.

        `a + b` is that of all samples of both, on device and on the host, and `statistics.psum(axis)` that of all
        along a mesh axis. Pure, like the field itself.

        Args:
            maps: of one call; without them statistics of no samples, to begin a scan with.
            seed: number of the variables among those that are compared, from 0; may be traced.
            first: number of the first image among those that are compared, from 0; may be traced.
            blocks: how many sums of maps are kept by seed, and as many by image, for the errors of measures: a power of
                two. None: 64, and down to 8 where maps are so large that they would take more than half a gigabyte.

        Raises:
            InputError: the maps are not those of one call, or `blocks` is not a power of two.
        """
        pull, average = self.job.pullback, self.job.request.average
        shape = (self.count, *(pull.pool.shape if pull.pool is not None else pull.map_shape))
        blocks = blocks_of(shape) if blocks is None else checked_blocks(blocks)
        if maps is None:
            return nothing(shape, average, blocks, jnp.promote_types(pull.windows.target.dtype, jnp.float32))
        if maps.values.shape[1:] != shape:
            raise InputError(
                f"The maps have shape {maps.values.shape}; those of one call have shape (image, "
                f"{', '.join(map(str, shape))}). Inside of `jax.vmap`, take their statistics there too."
            )
        arrays = maps.values, maps.exponent, maps.elsewhere, _number(seed), _number(first)

        def made(*arrays: jax.Array) -> Statistics:
            return of_maps(*arrays, average=average, blocks=blocks)

        return _over_explicit_axes(made, maps.values, lambda spec: PartitionSpec())(*arrays)

    def result(self, maps: Maps | Statistics) -> Result:
        """A `Result` of the maps of one call, each image a sample, or of statistics of several calls.

        It holds mean, standard error, measures, figures and files.
        """
        if isinstance(maps, Statistics):
            total, own = maps.gathered(), maps.scores()
            return self.job.summarized(total, own, range(total.seeds.levels))
        values, exponent = np.asarray(maps.values, np.float64), np.asarray(maps.exponent)
        average = self.job.request.average
        samples = values if average == "normalized" else unscaled(values, exponent)  # the power takes the exponent too
        total = gathered.init(values.shape[1:], average)
        total = gathered.update(total, samples, 0, range(len(values)))
        spatial = tuple(range(2, values.ndim))
        scores = [np.abs(values).sum(spatial), np.abs(np.asarray(maps.elsewhere, np.float64))]
        own = np.ldexp(scores, exponent - exponent.max(initial=NOTHING)).sum((1, 2))
        return self.job.summarized(total, own, [None])

    @property
    def plan(self):
        """How the maps are made: batches, windows, cost, memory."""
        return self.job.plan

    @property
    def row(self) -> Row:
        """The layer's row of `jaxrf.trf`."""
        return self.job.row

    @property
    def units(self) -> Int[np.ndarray, "unit k"]:
        """Positions of the units in the layer; with `pool_units` the one that stands for all."""
        return self.job.where(self.count)[1]

    @property
    def origin(self) -> Int[np.ndarray, "unit d"]:
        """Input position of element 0 of each map."""
        return self.job.where(self.count)[0]

    @property
    def count(self) -> int:
        """Number of maps of an image."""
        return 1 if self.job.pullback.pool is not None else self.job.pullback.count // self.job.pullback.groups

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one image."""
        return self.job.subject.input_shape

    @cached_property
    def _compiled(self) -> Any:
        return jit(self._placed)

    def _placed(self, leaves: list[jax.Array], images: jax.Array, key: jax.Array, first: jax.Array) -> Maps:
        """The maps, spread over a mesh of explicit axes as the images are; on other meshes the compiler places them."""
        spread = _over_explicit_axes(self._pure, images, lambda spec: PartitionSpec(spec[0]))
        return spread(leaves, images, key, first)

    def _pure(self, leaves: list[jax.Array], images: jax.Array, key: jax.Array, first: jax.Array) -> Maps:
        job, tied = self.job, self.job.pullback.tied
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(1 if tied else len(images)))
        part = job.cropped(images)
        with jax.default_matmul_precision(self.precision):
            return Maps(*job.pullback.all_maps(leaves, part[None] if tied else part[:, None], keys))

    def _leaves(self, variables: PyTree) -> list[jax.Array]:
        expected = self.job.subject.abstract
        found, wanted = jax.tree.structure(variables), jax.tree.structure(expected)
        if found != wanted:
            raise InputError(
                f"The variables have another structure than the field of {self.row.name!r} was prepared for. "
                f"Found {found}; needed {wanted}."
            )
        named = jax.tree_util.tree_leaves_with_path(variables)
        for (path, leaf), need in zip(named, jax.tree.leaves(expected), strict=True):
            if jnp.shape(leaf) != need.shape or jnp.result_type(leaf) != need.dtype:
                raise InputError(
                    f"The variable {leaf_name(path)!r} is {jnp.result_type(leaf)} of shape {jnp.shape(leaf)}; the field was "
                    f"prepared for {need.dtype} of shape {need.shape}. Prepare another field."
                )
        return [leaf for _, leaf in named]

    def _images(self, images: Any) -> jax.Array:
        subject, pull = self.job.subject, self.job.pullback
        shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", None)
        if shape is None or shape[1:] != subject.input_shape or not shape[0] or dtype != subject.dtype:
            raise InputError(
                f"The images are {dtype} of shape {shape}; the field was prepared for {subject.dtype} of shape "
                f"(n, {', '.join(map(str, subject.input_shape))}). A field has fixed shapes: prepare one for others, or use "
                "jaxrf.erf, which takes photos and iterables too."
            )
        if pull.tied and shape[0] != pull.program.image.shape[0]:
            raise InputError(
                f"{shape[0]} images came, but those of {subject.name} see each other and {pull.program.image.shape[0]} were "
                "prepared. Prepare a field for this number."
            )
        return images

    def __repr__(self) -> str:
        n, row = len(self.units), self.row
        extent = " x ".join(map(str, self.input_shape))
        return (
            f"Field: {n} map{'s' * (n > 1)} of layer {row.name!r}, theoretical size {row.size}, of images of {extent}"
        )


def _number(number: int | jax.Array) -> jax.Array:
    """A number as an array; one of Python's is moved to the device in so many words."""
    return number if isinstance(number, jax.Array) else jax.device_put(np.int32(number))


def _over_explicit_axes(function: Callable[..., Any], like: jax.Array, place: Callable[[Any], PartitionSpec]) -> Any:
    """A function whose inside the compiler places, on a mesh of explicit axes; on other meshes it does so in any case.

    Args:
        function: of arrays.
        like: the array whose mesh it is.
        place: how the function's results lie, from how `like` lies.
    """
    sharding = jax.typeof(like).sharding
    kinds = zip(sharding.mesh.axis_names, sharding.mesh.axis_types)
    explicit = tuple(name for name, kind in kinds if kind == AxisType.Explicit)
    if not explicit:
        return function
    placed: Any = NamedSharding(sharding.mesh, place(sharding.spec))
    return jax.sharding.auto_axes(function, axes=explicit, out_sharding=placed)
