"""A prepared field: a pure function from variables, images and a key to maps, compiled once and called anywhere.

Everything that depends on the model's structure, the shapes and the options was decided by `jaxrf.prepare`.
A call reads arrays alone, and moves nothing between host and device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from jaxrf.adapters import Subject
from jaxrf.adapters.subject import leaf_name
from jaxrf.base.compiler import compiling_for, jit
from jaxrf.base.typing import PyTree
from jaxrf.engine.range import NOTHING, times, unscaled
from jaxrf.engine.run import all_maps
from jaxrf.errors import InputError
from jaxrf.fields.run import root_key
from jaxrf.fields.statistics import Statistics, checked_blocks, nothing, of_maps
from jaxrf.planning.prepared import Prepared
from jaxrf.results.result import Result
from jaxrf.statistics import gathered
from jaxrf.statistics.gathered import blocks_of


@partial(jax.tree_util.register_dataclass, data_fields=["values", "exponent", "other_images"], meta_fields=[])
@dataclass(frozen=True)
class Maps:
    """Maps of units, one for each image: `values * 2**exponent`.

    The exponent is apart because a gradient through forty sigmoid layers, squared, is not a number of single precision.

    Attributes:
        values: (image, unit, *map).
        exponent: (image, unit), of two.
        other_images: (image, unit), the score on other images, where images see each other; in units of the same exponent.
    """

    values: Float[Array, "image unit *map"]
    exponent: Int[Array, "image unit"]
    other_images: Float[Array, "image unit"]

    def __repr__(self) -> str:
        *before, images, units = np.shape(self.exponent) or (0, 0)
        parts = [*before, f"{images} image{'s' * (images != 1)}", f"{units} unit{'s' * (units != 1)}"]
        size = " x ".join(map(str, np.shape(self.values)[len(np.shape(self.exponent)) :]))
        return f"Maps({', '.join(map(str, parts))}, {size} positions)"

    def array(self) -> Float[Array, "image unit *map"]:
        """The maps as plain numbers, which may be zero or infinite where the exponent leaves the range of their type."""
        flat = self.values.reshape(-1, *self.values.shape[self.exponent.ndim :])  # `vmap` may have put axes before
        return times(flat, self.exponent.reshape(-1)).reshape(self.values.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Field:
    """The field of some units of one layer, or of several layers, prepared; made by `jaxrf.prepare`.

    `field(variables, images, key)` is pure: it may stand inside of `jit`, `vmap`, `scan`, `grad` and `shard_map`, and in
    anybody's training step. It keeps no weights and no images.

    Attributes:
        subject: the model.
        layers: what was prepared, by name of the layer.
        several: whether a list of layers was asked for: maps, results, rows and the like then are dicts by name.
        precision: of products on accelerators.
        platform: for which batches and lowerings were chosen; None for that of JAX's default device.
    """

    subject: Subject
    layers: Mapping[str, Prepared]
    several: bool
    precision: str
    platform: str | None = None

    def __call__(
        self, variables: PyTree, images: jax.Array, key: jax.Array | None = None, first: int | jax.Array = 0
    ) -> Maps | dict[str, Maps]:
        """Maps of all units for each image; with several layers a dict of them.

        Args:
            variables: of the structure, shapes and dtypes that the field was prepared for.
            images: (n, *input_shape); any n, but the one prepared where images see each other.
            key: of the probes; image i draws from `fold_in(key, i)`. Not needed where channels are not "probe".
            first: number i of the first image; the next ones follow. For several calls with the same key.

        Raises:
            InputError: variables or images are of another structure, shape or type than prepared.
        """
        leaves, images = self._leaves(variables), self._images(images)
        key = jax.random.key(0) if key is None else key
        first = _number(first)
        inside = any(isinstance(a, Tracer) for a in (*leaves, images, key, first))
        return self._named((self._placed if inside else self._compiled)(leaves, images, key, first))

    def init(self, key: jax.Array) -> PyTree:
        """Variables drawn at random by the model's own initialization, or by the initializers that were prepared.

        Raises:
            InputError: the model has none.
        """
        return self.subject.initialize(key)

    def key(self, seed: int = 0) -> jax.Array:
        """The key with which `jaxrf.erf` draws the probes of random initialization number `seed`."""
        return jax.random.fold_in(root_key(seed), 1)

    def across(self, axis: str, size: int) -> Field:
        """The same field with its units dealt over an axis of a mesh, for use inside of `jax.shard_map`.

        Each device along the axis pulls a share of the units back, from the whole image; then all of them have all maps.

        Args:
            axis: its name.
            size: its length.

        Raises:
            InputError: the number of units is not a multiple of the length; those that fit are named.
        """
        return replace(self, layers={name: layer.across(axis, size) for name, layer in self.layers.items()})

    def statistics(
        self, maps: Any = None, *, seed: int | jax.Array = 0, first: int | jax.Array = 0, blocks: int | None = None
    ) -> Any:
        """What a result needs of the maps of one call, each image a sample: a pytree of arrays that add.

        `a + b` is that of all samples of both, on device and on the host, and `statistics.psum(axis)` that of all
        along a mesh axis. Pure, like the field itself.

        Args:
            maps: of one call; without them statistics of no samples, to begin a scan with.
            seed: number of the variables among those that are compared, from 0; may be traced.
            first: number of the first image among those that are compared, from 0; may be traced.
            blocks: how many sums of maps are kept by seed, and as many by image, for the errors of measures: a power of
                two. None: 64, and down to 8 where maps are so large that they would take more than half a gigabyte.

        Returns:
            `Statistics`; with several layers a dict of them.

        Raises:
            InputError: the maps are not those of one call, or `blocks` is not a power of two.
        """
        given = dict.fromkeys(self.layers) if maps is None else self._by_layer(maps)
        return self._named([_statistics(self.layers[name], given[name], seed, first, blocks) for name in self.layers])

    def result(self, maps: Any) -> Any:
        """A `Result` of the maps of one call, each image a sample, or of statistics of several calls.

        It holds mean, standard error, measures, figures and files.

        Args:
            maps: what a call returned, or `statistics`.

        Returns:
            A `Result`; with several layers a dict of them.
        """
        given = self._by_layer(maps)
        return self._named([_summarized(layer, given[name]) for name, layer in self.layers.items()])

    def _by_layer(self, found: Any) -> Mapping[str, Any]:
        return found if self.several else dict.fromkeys(self.layers, found)

    @property
    def plan(self) -> Any:
        """How the maps are made: batches, windows, cost, memory."""
        return self._named([layer.plan for layer in self.layers.values()])

    @property
    def row(self) -> Any:
        """The layer's row of `jaxrf.trf`."""
        return self._named([layer.row for layer in self.layers.values()])

    @property
    def units(self) -> Any:
        """Positions of the units (unit, axis) in the layer; with `pool_units` the one that stands for all."""
        return self._named([layer.where(layer.count)[1] for layer in self.layers.values()])

    @property
    def origin(self) -> Any:
        """Input position (unit, axis) of element 0 of each map."""
        return self._named([layer.where(layer.count)[0] for layer in self.layers.values()])

    @property
    def center(self) -> Any:
        """True centers (unit, axis) of the units as input positions, which may be halves; NaN where a unit has none."""
        rows = [(layer.row, layer.where(layer.count)[1]) for layer in self.layers.values()]
        return self._named([np.array([row.center(tuple(u)) for u in units], np.float64) for row, units in rows])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image."""
        return self.subject.input_shape

    def _named(self, each: Sequence[Any]) -> Any:
        """One thing for each layer as a dict by name; the thing itself where one layer was asked for."""
        return dict(zip(self.layers, each, strict=True)) if self.several else each[0]

    @cached_property
    def _compiled(self) -> Any:
        return jit(self._placed)

    def _placed(self, leaves: list[jax.Array], images: jax.Array, key: jax.Array, first: jax.Array) -> list[Maps]:
        """The maps, spread over a mesh of explicit axes as the images are; on other meshes the compiler places them."""
        spread = _over_explicit_axes(self._pure, images, lambda spec: PartitionSpec(spec[0]))
        return spread(leaves, images, key, first)

    def _pure(self, leaves: list[jax.Array], images: jax.Array, key: jax.Array, first: jax.Array) -> list[Maps]:
        """The maps of each layer; layers of one program share its forward pass."""
        found: dict[str, Maps] = {}
        with jax.default_matmul_precision(self.precision), compiling_for(self.platform):
            for group in self._groups:
                one = group[0][1]
                images_interact = one.pullback.images_interact
                numbers = first + jnp.arange(1 if images_interact else len(images))
                keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers)
                part = one.cropped(images)
                part = part[None] if images_interact else part[:, None]
                maps = all_maps([layer.pullback for _, layer in group], leaves, part, keys)
                found.update({name: Maps(*each) for (name, _), each in zip(group, maps)})
        return [found[name] for name in self.layers]

    @cached_property
    def _groups(self) -> list[list[tuple[str, Prepared]]]:
        """Layers that run the same program on the same part of the image."""
        groups: dict[Any, list[tuple[str, Prepared]]] = {}
        for name, layer in self.layers.items():
            groups.setdefault((id(layer.pullback.program), layer.shift), []).append((name, layer))
        return list(groups.values())

    def _leaves(self, variables: PyTree) -> list[jax.Array]:
        expected = self.subject.abstract
        found, wanted = jax.tree.structure(variables), jax.tree.structure(expected)
        if found != wanted:
            raise InputError(
                f"The variables have another structure than the field of {list(self.layers)[-1]!r} was prepared for. "
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
        shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", None)
        needed, name = self.subject.input_shape, self.subject.name
        if self.subject.embedding and dtype is not None and jnp.issubdtype(dtype, jnp.integer):
            images, dtype = jnp.asarray(images, self.subject.dtype), self.subject.dtype
        if shape is None or shape[1:] != needed or not shape[0] or dtype != self.subject.dtype:
            raise InputError(
                f"The images are {dtype} of shape {shape}; the field was prepared for {self.subject.dtype} of shape "
                f"(n, {', '.join(map(str, needed))}). A field has fixed shapes: prepare one for others, or use jaxrf.erf, "
                "which takes photos and iterables too."
            )
        for pull in (layer.pullback for layer in self.layers.values()):
            if pull.images_interact and shape[0] != pull.program.image.shape[0]:
                raise InputError(
                    f"{shape[0]} images came, but those of {name} see each other and {pull.program.image.shape[0]} were "
                    "prepared. Prepare a field for this number."
                )
        return images

    def __repr__(self) -> str:
        extent = " x ".join(map(str, self.input_shape))
        each = [
            f"{layer.count} map{'s' * (layer.count > 1)} of layer {name!r}, theoretical size {layer.row.size}"
            for name, layer in self.layers.items()
        ]
        return f"Field: {'; '.join(each)}, of images of {extent}"


def _statistics(
    layer: Prepared, maps: Maps | None, seed: int | jax.Array, first: int | jax.Array, blocks: int | None
) -> Statistics:
    """Statistics of one layer's maps."""
    pull, average = layer.pullback, layer.options.average
    shape = (layer.count, *(pull.pool.shape if pull.pool is not None else pull.map_shape))
    blocks = blocks_of(shape) if blocks is None else checked_blocks(blocks)
    if maps is None:
        return nothing(shape, average, blocks, jnp.promote_types(pull.windows.target.dtype, jnp.float32))
    if maps.values.shape[1:] != shape:
        raise InputError(
            f"The maps have shape {maps.values.shape}; those of one call have shape (image, "
            f"{', '.join(map(str, shape))}). Inside of `jax.vmap`, take their statistics there too."
        )
    arrays = maps.values, maps.exponent, maps.other_images, _number(seed), _number(first)

    def made(*arrays: jax.Array) -> Statistics:
        return of_maps(*arrays, average=average, blocks=blocks)

    return _over_explicit_axes(made, maps.values, lambda spec: PartitionSpec())(*arrays)


def _summarized(layer: Prepared, maps: Maps | Statistics) -> Result:
    """A result of one layer's maps, whose samples are images, or of statistics."""
    facts: dict[str, Any] = {"inputs": "arguments of the field"}
    if isinstance(maps, Statistics):
        total = maps.gathered()
        return layer.summarized(total, {**facts, "seeds": list(range(total.seeds.levels))}, maps.scores())
    values, exponent = np.asarray(maps.values, np.float64), np.asarray(maps.exponent)
    average = layer.options.average
    samples = values if average == "normalized" else unscaled(values, exponent)  # the power takes the exponent too
    total = gathered.update(gathered.init(values.shape[1:], average), samples, 0, range(len(values)))
    spatial = tuple(range(2, values.ndim))
    scores = [np.abs(values).sum(spatial), np.abs(np.asarray(maps.other_images, np.float64))]
    own = np.ldexp(scores, exponent - exponent.max(initial=NOTHING)).sum((1, 2))
    return layer.summarized(total, facts, own)


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
