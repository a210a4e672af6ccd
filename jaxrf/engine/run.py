"""The compiled program: forward pass, pull-back in batches of units, score; images side by side, and in passes.

One program serves all samples: weights, images, starts and keys are its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxrf.base.compiler import jit
from jaxrf.base.typing import Device
from jaxrf.engine.batches import Batches, fitting, product
from jaxrf.engine.batching import Batching
from jaxrf.engine.channels import ChannelRule, channel_rule
from jaxrf.engine.pool import Pool
from jaxrf.engine.pull import pull_back
from jaxrf.engine.range import alike, unscaled
from jaxrf.engine.reading import Lines, lines
from jaxrf.engine.scores import degree, scores
from jaxrf.engine.signs import Signs
from jaxrf.engine.stem import Stem
from jaxrf.engine.view import Shared, read
from jaxrf.engine.windows import Windows
from jaxrf.equations.program import Layer, Operand, TangentProgram
from jaxrf.errors import InputError
from jaxrf.interpret.units import UnitAxes
from jaxrf.lowering.forward import lower


class Part(NamedTuple):
    """What the program gives for units.

    Attributes:
        maps: (image, unit, *map_shape).
        other_images: (image, unit), what their gradients held on other images.
        values: (image, unit, channel), forward values of the units; no channels where the program does not hold them.
    """

    maps: np.ndarray
    other_images: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Pullback:
    """What is pulled back, and in which batches.

    Attributes:
        program: the model, traced for one image; or for all of them, where they see each other (`images_interact`).
        layer: whose units are pulled back.
        windows: of all variables, for all units.
        below: how the axes of the source are read: its units are the positions of a map.
        score: name of the score.
        channels: the rule for a unit's channels.
        batching: how many units and images are pulled back at once, and one behind the other.
        images_interact: whether a map is cut from the gradient of the whole batch of images.
        pool: the frame in which units are averaged; None to keep them apart.
        devices: across which images (or units, where there are too few images) are spread.
        signs: the random weights that are averaged over; None to pull back by them as they are.
        reads: how windows are read: a name of `jaxrf.lowering.reads`.
        stem: the last steps, where they are taken together; None where each is taken by itself.
        over: the axis of a mesh over which batches of units are dealt, and its length; None where each device has all of them.
    """

    program: TangentProgram
    layer: Layer
    windows: Windows
    below: UnitAxes
    score: str
    channels: str | int
    batching: Batching
    images_interact: bool = False
    pool: Pool | None = None
    devices: tuple[Device, ...] = ()
    signs: Signs | None = None
    reads: str = "slices"
    stem: Stem | None = None
    over: tuple[str, int] | None = None

    @property
    def count(self) -> int:
        """Number of units."""
        return self.windows.count

    @property
    def rule(self) -> ChannelRule:
        """What makes the cotangents of a unit."""
        return channel_rule(self.channels)

    @property
    def channel_count(self) -> int:
        """Number of channels of a unit."""
        return int(np.prod([span.size for span in self.windows.unit], dtype=np.int64))

    @property
    def groups(self) -> int:
        """Into how many means units are pooled: one for each image of those that see each other."""
        return self.program.image.shape[0] if self.images_interact else 1

    @property
    def map_shape(self) -> tuple[int, ...]:
        """The shape of the map of one unit."""
        region = self.windows.regions[self.windows.source]
        images = self.program.image.shape[0] if self.images_interact else 1
        return tuple(region[a].size // (images if a == self.below.batch else 1) for a in self.below.units)

    @property
    def origin(self) -> np.ndarray:
        """(unit, axis): position of element 0 of each map."""
        region, rows = self.windows.regions[self.windows.source], self.windows.starts.rows
        zero = np.zeros(self.count, np.int64)
        columns = [zero if (start := region[a].start) is None else rows[start] for a in self.below.units]
        return np.stack(columns, axis=1) if columns else np.zeros((self.count, 0), np.int64)

    @cached_property
    def dealt(self) -> Batches:
        """The units in batches, which fill whole calls."""
        cells = product(self.windows.units, self.count) if self.reads == "lines" else np.arange(self.count)
        return Batches(cells, self.batching.units_per_batch, self.batching.batches_per_call)

    @cached_property
    def lines(self) -> Lines | None:
        """What the windows of a batch have in common; None where each unit has slices of its own."""
        return lines(self.dealt, self.windows.starts) if self.reads == "lines" else None

    @cached_property
    def batches(self) -> tuple[np.ndarray, ...]:
        """Unit numbers (batch, unit), starts (batch, row, unit), shifts (batch, unit, axis) and weights (batch, unit).

        What fills up the last batches repeats units, with weight 0.
        """
        numbers = self.dealt.numbers
        table = self.windows.starts.table(self.count)[:, numbers].transpose(1, 0, 2)
        shifts = self.pool.shifts if self.pool else np.zeros((self.count, 0), np.int64)
        return numbers, table, shifts[numbers].astype(np.int32), self.dealt.real.astype(np.float32)

    @cached_property
    def compiled(self) -> Any:
        """`(variables, images, numbers, tables, shifts, weights, keys) -> (maps, exponents, elsewhere, values)`, jitted."""
        if len(self.devices) < 2:
            return jit(self._images)
        mesh = Mesh(np.array(self.devices), ("device",))
        one, split = PartitionSpec(), PartitionSpec("device")
        if self.batching.batches_per_call % len(self.devices):
            inputs, outputs = (one, split, one, one, one, one, split), split
        else:
            inputs, outputs = (one, one, split, split, split, split, one), PartitionSpec(None, "device")
        return jit(jax.shard_map(self._images, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False))

    def maps(self, leaves: Sequence[jax.Array], images: np.ndarray, keys: jax.Array) -> Part:
        """Maps of all units for some images.

        Args:
            leaves: the model's variables, flattened.
            images: (k, batch, ...); batch is 1 unless images interact.
            keys: one key per entry of `images`.

        Returns:
            All units; with a pool their means (k, group, *pool.shape).
        """
        if self.pool is not None:
            return self._pooled(list(self._calls(leaves, images, keys)))
        parts, waiting = [], None
        for result in self._calls(leaves, images, keys):
            if waiting is not None:  # the device works on the next call while this one is read
                parts.append(_fetched(waiting))
            waiting = result
        parts.append(_fetched(waiting))
        return Part(*(self.dealt.restored(p[0] if len(p) == 1 else np.concatenate(p, axis=1)) for p in zip(*parts)))

    def _calls(self, leaves, images, keys) -> Iterator[Any]:
        step = self.batching.batches_per_call
        for first in range(0, len(self.batches[0]), step):
            yield self.compiled(leaves, images, *(a[first : first + step] for a in self.batches), keys)

    def _pooled(self, results: list[Any]) -> Part:
        wide = [(np.asarray(m, np.float64), np.asarray(e, np.float64), np.asarray(x)) for m, x, e, _ in results]
        each = self.count // self.groups
        total = np.sum([unscaled(maps, x).sum(axis=1) for maps, _, x in wide], axis=0) / each
        other_images = np.sum([unscaled(e, x).sum(axis=1) for _, e, x in wide], axis=0) / each
        values = np.concatenate([v.reshape(len(v), -1, v.shape[-1]) for *_, v in results], axis=1)
        return Part(total, other_images, self.dealt.restored(values))

    def joined(self, maps, exponents, other_images, _=None):
        """What all batches of some images gave, as maps of all units.

        Args:
            maps, exponents, other_images: (image, batch, unit, ...), as `_one_image` makes them.

        Returns:
            Maps (image, unit, *map_shape), exponents (image, unit), and what gradients held on other images (image, unit).
            With a pool their means (image, 1, *pool.shape).
        """
        if self.pool is not None:  # sums over the units of each batch
            (maps, common), (other_images, _) = (
                jax.vmap(alike)(maps, exponents),
                jax.vmap(alike)(other_images, exponents),
            )
            each = self.count // self.groups
            exponents = jnp.broadcast_to(common[:, None], other_images.shape[::2])
            result = [maps.sum(1) / each, exponents, other_images.sum(1) / each]
        else:
            each = [a.reshape(len(a), -1, *a.shape[3:]) for a in (maps, exponents, other_images)]
            result = [self.dealt.restored(a) for a in each]
        if self.images_interact:
            return [a.reshape(self.program.image.shape[0], -1, *a.shape[2:]) for a in result]
        return result

    def _images(self, leaves, images, numbers, tables, shifts, weights, keys):
        """What `_one_image` gives, for images on one device: some side by side, in passes."""
        run = self._abreast
        if self.batching.sequential_passes == 1:
            return run(leaves, images, numbers, tables, shifts, weights, keys)
        passes = [a.reshape(self.batching.sequential_passes, -1, *a.shape[1:]) for a in (images, keys)]
        results = lax.map(lambda one: run(leaves, one[0], numbers, tables, shifts, weights, one[1]), passes)
        return [a.reshape(-1, *a.shape[2:]) for a in results]

    @property
    def _abreast(self) -> Any:
        """`_one_image` of images side by side."""
        return jax.vmap(self._one_image, in_axes=(None, 0, None, None, None, None, 0))

    @property
    def wanted(self) -> tuple[Operand, ...]:
        """What the forward pass must give: coefficients of the derivative, and the value of the layer where it is at hand."""
        return (*self.windows.coefficients(), *([self.layer.value] if self.layer.value is not None else []))

    @cached_property
    def variables(self) -> frozenset[int]:
        """Numbers of the model's variables, flattened, that maps and values are made of; all where no value is at hand."""
        if self.layer.value is None:
            return frozenset(range(len(self.program.arguments)))
        read = {*self.wanted, *(v for eqn in self.program.needed(self.wanted) for v in eqn.operands)}
        return frozenset(number for number, v in enumerate(self.program.arguments) if v in read)

    def _one_image(self, leaves, image, numbers, tables, shifts, weights, key):
        """`pulled` after a forward pass of its own."""
        known = forward(self.program, self.wanted, leaves, image)
        return self.pulled(known, numbers, tables, shifts, weights, key)

    def pulled(self, known: Mapping[Operand, jax.Array], numbers, tables, shifts, weights, key):
        """Maps (batch, unit, *map_shape), or sums over units (batch, group, *pool.shape); exponents; the rest of a `Part`.

        Args:
            known: the values of `wanted` on one image.
            numbers, tables, shifts, weights: as `batches` has them.
            key: of the image.
        """
        windows, program = self.windows, self.program
        value = [self.layer.value] if self.layer.value is not None else []
        late = self.reads == "whole" and not self.pool  # few units at a time: all of them fill the lanes of a TPU
        shared = Shared(known, windows.starts, self.lines)

        def batch(units, table, shift, weight):
            ct = self._cotangent(key, units)
            values = jnp.zeros((len(units), 0), ct.dtype)
            for v in value:
                here = read(shared, v, lambda v=v: shared.value(v), windows.unit, table, 0.0)
                values = jnp.broadcast_to(here, ct.shape).reshape(len(units), -1)
                ct = self.rule.gated(ct, here)
            others, in_squares = (self.signs.pulls(key, units), self.signs.in_squares) if self.signs else ({}, ())
            pulled = pull_back(windows, shared, table, ct, others, in_squares=in_squares, stem=self.stem)
            maps, other_images = self._score(pulled.array, units * program.image.shape[0] // self.count)
            exponents = degree(self.score) * pulled.exponents()
            if self.stem and not late:
                maps = self.stem.maps(maps, table)
            if self.pool:
                (maps, _), (other_images, exponents) = alike(maps, exponents), alike(other_images, exponents)
                own = jax.nn.one_hot(units // (self.count // self.groups), self.groups) * weight[:, None]
                maps, other_images = self.pool.add(maps, shift, own.astype(maps.dtype)), other_images @ own
            return maps, exponents, other_images, values

        batches = (numbers, tables, shifts, weights)
        shared.prepare(batch, *(a[0] for a in batches))
        maps, *rest = lax.map(lambda one: batch(*one), batches)
        if self.stem and late:
            table = tables.transpose(1, 0, 2).reshape(tables.shape[1], tables.shape[0] * tables.shape[2])
            each = self.stem.maps(maps.reshape(-1, *maps.shape[2:]), table)
            maps = each.reshape(*maps.shape[:2], *each.shape[1:])
        return maps, *rest

    def of_all(self, known: Mapping[Operand, jax.Array], key: jax.Array):
        """`pulled` for all batches; where they are dealt over an axis, each device has its share of them, and then all."""
        numbers, tables, shifts, weights = self.batches
        if self.over is None:
            return self.pulled(known, numbers, tables, shifts, weights, key)
        axis, size = self.over
        if (found := lax.axis_size(axis)) != size:
            raise InputError(f"The mesh axis {axis!r} has length {found}, and units were dealt over {size}.")
        share = len(numbers) // size
        n, t, s, w = (
            lax.dynamic_slice_in_dim(jnp.asarray(a), lax.axis_index(axis) * share, share)
            for a in (numbers, tables, shifts, weights)
        )
        return [lax.all_gather(a, axis, tiled=True, to="invarying") for a in self.pulled(known, n, t, s, w, key)]

    def across(self, axis: str, size: int) -> Pullback:
        """The same, its batches dealt over an axis of a mesh: small enough that every device has one."""
        most = min(self.batching.units_per_batch, -(-self.count // size))
        batching = replace(self.batching, units_per_batch=fitting(self.dealt.cells.shape, most), batches_per_call=size)
        return replace(self, batching=batching, over=(axis, size))

    def _cotangent(self, key, units):
        """(unit, *unit sizes)."""
        ct = self.rule.cotangents(key, units, self.channel_count, self.windows.target.dtype)
        return ct.reshape(len(units), *(span.size for span in self.windows.unit))

    def _score(self, gradient, own):
        """Scores (unit, *map_shape) on the image `own` of each unit, and the sum of those on other images (unit,).

        With a stem those of phases, as `Stem.maps` takes them.
        """
        kept, batch = self.below.units, self.below.batch
        if self.stem:
            kept = tuple(range(gradient.ndim - 2))
        if not self.images_interact or batch is None:  # the one image of the program, or no image's own
            score = self._scored(gradient, kept)
            return score, jnp.zeros(len(score), score.dtype)
        images = self.program.image.shape[0]
        by_image = jnp.moveaxis(gradient, batch + 1, 1)
        by_image = by_image.reshape(len(by_image), images, -1, *by_image.shape[2:])
        score = self._scored(jnp.moveaxis(by_image, 2, batch + 2), (0, *(a + 1 for a in kept)))
        cut = jax.vmap(lambda s, b: s[b])(score, own)
        return cut, jnp.abs(score).sum(axis=range(1, score.ndim)) - jnp.abs(cut).sum(axis=range(1, cut.ndim))

    def _scored(self, gradient, kept):
        """The score over all axes but those `kept`, in their order: (unit, *kept)."""
        features = [a for a in range(gradient.ndim - 1) if a not in kept]
        gradient = gradient.transpose(0, *(a + 1 for a in (*kept, *features)))
        gradient = gradient.astype(jnp.promote_types(gradient.dtype, jnp.float32))  # squares of a half have no room
        return scores[self.score](gradient.reshape(*gradient.shape[: len(kept) + 1], -1))


def _fetched(result: Any) -> Part:
    """What one call gave, on the host: (image, batch * unit, ...)."""
    maps, exponents, other_images, values = (a.reshape(len(a), -1, *a.shape[3:]) for a in map(np.asarray, result))
    return Part(unscaled(maps, exponents), unscaled(other_images, exponents), values)


def forward(program: TangentProgram, wanted: Sequence[Operand], leaves: Sequence[jax.Array], image: jax.Array):
    """The values of `wanted` on one image, by the lowerings of the forward pass."""
    known = {**dict(zip(program.arguments, leaves, strict=True)), program.image: image}
    return dict(zip(wanted, program.evaluate(wanted, known, lambda eqn, has: lower(eqn.primitive, eqn.params, has))))


def all_maps(pullbacks: Sequence[Pullback], leaves: Sequence[jax.Array], images: jax.Array, keys: jax.Array):
    """Maps of all units of several layers as one pure function of arrays; one forward pass of one program serves them all.

    Args:
        pullbacks: of the same program.
        leaves: the model's variables, flattened.
        images: (k, batch, ...) for any k; batch is 1 unless images interact.
        keys: one per entry of `images`.

    Returns:
        For each pull-back what `Pullback.joined` returns.
    """
    program = pullbacks[0].program
    wanted = tuple(dict.fromkeys(v for pull in pullbacks for v in pull.wanted))

    def one(image: jax.Array, key: jax.Array):
        known = forward(program, wanted, leaves, image)
        return [pull.of_all(known, key) for pull in pullbacks]

    return [pull.joined(*found) for pull, found in zip(pullbacks, jax.vmap(one)(images, keys), strict=True)]
