"""A prepared field: a pure function from variables, images and a key to maps, compiled once and called anywhere.

Everything that depends on the model's structure, the shapes and the options was decided by `jaxrf.prepare`.
A call reads arrays alone, and moves nothing between host and device.
"""

from __future__ import annotations

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
from jaxrf.engine.range import times
from jaxrf.errors import InputError
from jaxrf.geometry.row import Row
from jaxrf.job import Job, root_key
from jaxrf.result import Result
from jaxrf.statistics import gathered
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

    def __call__(self, variables: PyTree, images: jax.Array, key: jax.Array | None = None) -> Maps:
        """Maps of all units for each image.

        Args:
            variables: of the structure, shapes and dtypes that the field was prepared for.
            images: (n, *input_shape); any n, but the one prepared where images see each other.
            key: of the probes; image i draws from `fold_in(key, i)`. Not needed where channels are not "probe".

        Raises:
            InputError: variables or images are of another structure, shape or type than prepared.
        """
        leaves, images = self._leaves(variables), self._images(images)
        key = jax.random.key(0) if key is None else key
        inside = any(isinstance(a, Tracer) for a in (*leaves, images, key))
        return (self._placed if inside else self._compiled)(leaves, images, key)

    def init(self, key: jax.Array) -> PyTree:
        """Variables drawn at random by the model's own initialization.

        Raises:
            InputError: the model has none.
        """
        return self.job.subject.initialize(key)

    def key(self, seed: int = 0) -> jax.Array:
        """The key with which `jaxrf.erf` draws the probes of random initialization number `seed`."""
        return jax.random.fold_in(root_key(seed), 1)

    def result(self, maps: Maps) -> Result:
        """A `Result` of the maps of one call, each image a sample: mean, standard error, measures, figures, files."""
        values = np.asarray(maps.values, np.float64)
        exponent = np.asarray(maps.exponent).reshape(*maps.exponent.shape, *(1,) * (values.ndim - 2))
        total = gathered.init(values.shape[1:], self.job.request.average)
        total = gathered.update(total, np.ldexp(values, exponent), 0, range(len(values)))
        own = np.array([np.abs(values).sum(), np.abs(np.asarray(maps.elsewhere, np.float64)).sum()])
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
    def center(self) -> Float[np.ndarray, "unit d"]:
        """True centers of the units as input positions, which may be halves; NaN where a unit has none."""
        return np.array([self.row.center(tuple(unit)) for unit in self.units], np.float64)

    @property
    def count(self) -> int:
        """Number of maps of an image."""
        return 1 if self.job.pullback.pool is not None else self.job.pullback.count

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one image."""
        return self.job.subject.input_shape

    @cached_property
    def _compiled(self) -> Any:
        return jit(self._placed)

    def _placed(self, leaves: list[jax.Array], images: jax.Array, key: jax.Array) -> Maps:
        """The maps, spread over a mesh of explicit axes as the images are; on other meshes the compiler places them."""
        sharding = jax.typeof(images).sharding
        explicit = [
            name for name, kind in zip(sharding.mesh.axis_names, sharding.mesh.axis_types) if kind == AxisType.Explicit
        ]
        if not explicit:
            return self._pure(leaves, images, key)
        places: Any = (NamedSharding(sharding.mesh, PartitionSpec(sharding.spec[0])),) * 3
        spread: Any = jax.sharding.auto_axes(
            lambda *args: _arrays(self._pure(*args)), axes=tuple(explicit), out_sharding=places
        )
        return Maps(*spread(leaves, images, key))

    def _pure(self, leaves: list[jax.Array], images: jax.Array, key: jax.Array) -> Maps:
        job, tied = self.job, self.job.pullback.tied
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(1 if tied else len(images)))
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


def _arrays(maps: Maps) -> tuple[jax.Array, jax.Array, jax.Array]:
    return maps.values, maps.exponent, maps.elsewhere
