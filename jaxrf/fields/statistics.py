"""Statistics of a field's maps as arrays that add: on device, over a mesh axis, in a scan, and on the host.

`of_maps, +, psum, gathered`: `+` is associative, and what `nothing` returns is its identity. The law of the moments is
that of `jaxrf.statistics.moments`, whose arrays may be NumPy's or JAX's. What is a value of its own shape there, the
sums by seed and by image, has a fixed number of blocks here: level k is in block k modulo that number, as on the host.

Single precision suffices, because each unit has a power of two beside its arrays, which puts its largest score near
`2**ROOM`: as far below the largest number as the sums of squares need, and as far above the smallest as is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxrf.engine.range import NOTHING, times, unscaled
from jaxrf.errors import InputError
from jaxrf.statistics import moments
from jaxrf.statistics.gathered import Gathered
from jaxrf.statistics.groups import EVERY, LARGEST, Block, Groups
from jaxrf.statistics.moments import Moments

jax.tree_util.register_dataclass(Moments, data_fields=["count", "mean", "m2"], meta_fields=[])


@partial(jax.tree_util.register_dataclass, data_fields=["count", "total", "highest"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class Blocks:
    """Sums of maps by the levels of one factor, which are the numbers of the seeds or of the images of a run.

    Attributes:
        count: (block, unit), samples.
        total: (block, unit, *map), sums of their maps.
        highest: (block,), the highest level seen; -1 for none.
    """

    count: Int[Array, "block unit"]
    total: Float[Array, "block unit *map"]
    highest: Int[Array, " block"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["moments", "exponent", "seeds", "images", "samples", "dead", "nonfinite", "powers", "power_exponent"],
    meta_fields=["average"],
)
@dataclass(frozen=True, eq=False)
class Statistics:
    """What is kept of samples of maps: `a + b` is that of all samples of both, which must be different ones.

    A pytree. JAX's arrays add in their own type, NumPy's, as after `jax.device_get`, in double precision.
    All sums are of maps times `2**-exponent`.

    Attributes:
        average: which maps were summed, "weighted" or "normalized".
        moments: count (unit, 1, ...), mean and sum of squared deviations (unit, *map).
        exponent: (unit,), of two.
        seeds, images: sums by seed and by image.
        samples: (), those seen, whether they count in the average or not.
        dead, nonfinite: (unit,), maps that were zero everywhere, or held a NaN or an infinity.
        powers: (2, unit), absolute scores on the own and on other images, times `2**-power_exponent`.
        power_exponent: (unit,), of two.
    """

    average: str
    moments: Moments
    exponent: Int[Array, " unit"]
    seeds: Blocks
    images: Blocks
    samples: Int[Array, ""]
    dead: Int[Array, " unit"]
    nonfinite: Int[Array, " unit"]
    powers: Float[Array, "2 unit"]
    power_exponent: Int[Array, " unit"]

    def __add__(self, other: Statistics) -> Statistics:
        """The samples of both together.

        Raises:
            InputError: they are of other averages, units, maps or numbers of blocks.
        """
        if not isinstance(other, Statistics):
            return NotImplemented
        _check_alike(self, other)
        a, b = _on_one_side(self, other)
        highest = _namespace(a).maximum
        common = highest(a._exponent, b._exponent), highest(a.power_exponent, b.power_exponent)
        a, b = a._at(*common), b._at(*common)
        return a._joined(lambda x, y: x + y, highest, moments.merge(a.moments, b.moments), b)

    def __radd__(self, other: Any) -> Statistics:
        """So that `sum(parts)` works, which begins with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def psum(self, axis: Any) -> Statistics:
        """The samples along a named axis together: of a mesh inside of `shard_map`, or of `vmap`.

        Communicates twice for the mean and the squares, and once for the rest.
        """
        here = self._at(lax.pmax(self._exponent, axis), lax.pmax(self.power_exponent, axis))
        mine = here.moments
        count = lax.psum(mine.count, axis)
        size = jnp.maximum(count, 1)
        mean = lax.psum(mine.mean * (mine.count / size), axis)
        away = mine.mean - mean
        squares, drift = lax.psum((mine.m2 + mine.count * away * away, mine.count * away), axis)
        whole = Moments(count, mean, moments.corrected(squares, drift, size))
        return here._joined(lambda x: lax.psum(x, axis), lambda x: lax.pmax(x, axis), whole)

    def gathered(self) -> Gathered:
        """The same on the host, as results are made from it.

        Raises:
            InputError: double precision does not hold the scores, or there are more than `LARGEST` levels.
        """
        host: Any = jax.device_get(self)._wide()
        mine, exponent = host.moments, host._exponent
        mean = unscaled(mine.mean, exponent)
        m2 = _times(mine.m2, 2 * exponent)
        return Gathered(
            average=self.average,
            samples=Moments(mine.count, mean, m2),
            seeds=_groups(host.seeds, exponent),
            images=_groups(host.images, exponent),
            count=int(host.samples),
            dead=host.dead,
            nonfinite=host.nonfinite,
        )

    def scores(self) -> Float[np.ndarray, " 2"]:
        """Absolute scores on the own and on other images, up to a common factor."""
        powers, exponent = jax.device_get((self.powers, self.power_exponent))
        return np.ldexp(powers.astype(np.float64), exponent - exponent.max(initial=NOTHING)).sum(1)

    @property
    def _exponent(self) -> Any:
        """That of a unit without samples is the lowest, also where somebody made zeros of this shape to begin with."""
        count = self.moments.count.reshape(self.exponent.shape)
        return _namespace(self).where(count > 0, self.exponent, NOTHING)

    def _at(self, exponent: Any, power_exponent: Any) -> Statistics:
        """The same numbers beside higher exponents."""
        change = self._exponent - exponent
        mine = self.moments
        scaled = Moments(mine.count, _times(mine.mean, change), _times(mine.m2, 2 * change))
        seeds, images = (replace(b, total=_times(b.total, change[None])) for b in (self.seeds, self.images))
        powers = _times(self.powers, (self.power_exponent - power_exponent)[None])
        whole = {"exponent": exponent, "power_exponent": power_exponent}
        return replace(self, moments=scaled, seeds=seeds, images=images, powers=powers, **whole)

    def _joined(self, add: Any, highest: Any, whole: Moments, *others: Statistics) -> Statistics:
        """All but the moments added; for values beside the same exponents."""

        def blocks(*parts: Blocks) -> Blocks:
            count, total = (add(*(getattr(part, name) for part in parts)) for name in ("count", "total"))
            return Blocks(count, total, highest(*(part.highest for part in parts)))

        parts = (self, *others)
        added = {n: add(*(getattr(p, n) for p in parts)) for n in ("samples", "dead", "nonfinite", "powers")}
        seeds, images = blocks(*(p.seeds for p in parts)), blocks(*(p.images for p in parts))
        return replace(self, moments=whole, seeds=seeds, images=images, **added)

    def _wide(self) -> Statistics:
        """NumPy's arrays, numbers in double precision and counts in 64 bits."""
        wide = {"f": np.float64, "i": np.int64, "u": np.int64}
        return jax.tree.map(lambda a: np.asarray(a, wide[np.asarray(a).dtype.kind]), self)

    def __repr__(self) -> str:
        shape = getattr(self.moments.mean, "shape", ())  # JAX fills trees with other things than arrays
        return f"Statistics({self.average}, {shape[:1]} maps of {shape[1:]}, samples={self.samples})"


def nothing(shape: tuple[int, ...], average: str, blocks: int, dtype: Any = jnp.float32) -> Statistics:
    """Statistics of no samples, for maps of `shape` (unit, *map)."""
    units, whole = shape[:1], jnp.zeros(shape, dtype)
    none = jnp.zeros(units, jnp.int32)
    empty = Blocks(
        count=jnp.zeros((blocks, *units), jnp.int32),
        total=jnp.zeros((blocks, *shape), dtype),
        highest=jnp.full(blocks, -1, jnp.int32),
    )
    counted = Moments(jnp.zeros(units + (1,) * (len(shape) - 1), jnp.int32), whole, whole)
    zero, lowest = jnp.zeros((), jnp.int32), jnp.full(units, NOTHING, jnp.int32)
    powers = jnp.zeros((2, *units), dtype)
    return Statistics(average, counted, lowest, empty, empty, zero, none, none, powers, lowest)


def checked_blocks(blocks: int) -> int:
    """The number itself, where sums can be kept in so many blocks.

    Raises:
        InputError: it is not a power of two.
    """
    if blocks < 1 or blocks & (blocks - 1):
        raise InputError(f"blocks={blocks} is not a power of two. Pass 8, 16, 32 or 64, for instance.")
    return blocks


@partial(jax.jit, static_argnames=("average", "blocks"))
def of_maps(
    maps: jax.Array,
    exponent: jax.Array,
    other_images: jax.Array,
    seed: int | jax.Array,
    first: int | jax.Array,
    *,
    average: str,
    blocks: int,
) -> Statistics:
    """Statistics of the maps of some images under one seed.

    Args:
        maps: (image, unit, *map), times `2**exponent`.
        exponent: (image, unit).
        other_images: (image, unit), scores on other images, times `2**exponent`.
        seed: number of the seed, from 0.
        first: number of the first image, from 0.
        average: "weighted" or "normalized".
        blocks: of the sums by seed, and of those by image; a power of two.
    """
    spatial = tuple(range(2, maps.ndim))
    low, high = maps.min(spatial), maps.max(spatial)  # both are NaN where a map holds one
    dead, lost = (low == 0) & (high == 0), ~(jnp.isfinite(low) & jnp.isfinite(high))
    largest, change = jnp.maximum(jnp.abs(low), jnp.abs(high)), exponent
    magnitude = jnp.where(lost | dead, 0, jnp.frexp(largest)[1])
    maps, exponent = times(maps, -magnitude), exponent + magnitude  # the largest score is between 1/2 and 1
    powers, power_exponent = _powers(jnp.abs(maps).sum(spatial), exponent, other_images, change)
    keep = jnp.ones_like(dead)
    if average == "normalized":
        maps, exponent, keep = _normalized(maps, exponent)
    common = jnp.where(keep & ~dead, exponent, NOTHING).max(0) - _room(maps.dtype)
    maps = times(maps, jnp.where(keep & ~dead, exponent - common, 0))
    kept, counted = jnp.where(_by_map(keep, maps), maps, 0), keep.astype(jnp.int32)
    one_seed = jnp.asarray(seed, jnp.int32)[None]
    return Statistics(
        average=average,
        moments=moments.of_batch(maps, keep),
        exponent=common,
        seeds=_blocks(one_seed, counted.sum(0)[None], kept.sum(0)[None], blocks),
        images=_blocks(first + jnp.arange(len(maps), dtype=jnp.int32), counted, kept, blocks),
        samples=jnp.asarray(len(maps), jnp.int32),
        dead=dead.sum(0, dtype=jnp.int32),
        nonfinite=lost.sum(0, dtype=jnp.int32),
        powers=powers,
        power_exponent=power_exponent,
    )


def _room(dtype: Any) -> int:
    """The power of two of the largest score of a unit: 48 in single precision, so that its squares are in range."""
    return int(jnp.finfo(dtype).maxexp) * 3 // 8


def _powers(
    own: jax.Array, exponent: jax.Array, other_images: jax.Array, other_exponent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Absolute scores (image, unit) on own and on other images, each beside its exponent: sums (2, unit) beside one."""
    common = jnp.maximum(
        jnp.where(own > 0, exponent, NOTHING), jnp.where(other_images > 0, other_exponent, NOTHING)
    ).max(0)
    sums = [
        times(a, jnp.where(a > 0, x - common, 0)).sum(0) for a, x in ((own, exponent), (other_images, other_exponent))
    ]
    return jnp.stack(sums), common


def _normalized(maps: jax.Array, exponent: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Maps (image, unit, *map) over their power beside their exponents, and which have any power."""
    power = maps.sum(tuple(range(2, maps.ndim)))
    known = jnp.isfinite(power) & (power != 0)
    part, magnitude = jnp.frexp(jnp.where(known, power, 1))
    return maps / _by_map(jnp.where(known, part, jnp.where(power == 0, 1, jnp.nan)), maps), -magnitude, power != 0


def _by_map(per_map: jax.Array, maps: jax.Array) -> jax.Array:
    """(image, unit) that broadcasts against (image, unit, *map)."""
    return per_map.reshape(*per_map.shape, *(1,) * (maps.ndim - per_map.ndim))


def _blocks(levels: jax.Array, count: jax.Array, total: jax.Array, blocks: int) -> Blocks:
    """Groups from sums (level, unit, ...), one for each of the levels."""
    block = levels % blocks
    return Blocks(
        count=jnp.zeros((blocks, *count.shape[1:]), count.dtype).at[block].add(count),
        total=jnp.zeros((blocks, *total.shape[1:]), total.dtype).at[block].add(total),
        highest=jnp.full(blocks, -1, jnp.int32).at[block].max(levels),
    )


def _groups(blocks: Any, exponent: np.ndarray) -> Groups:
    """The same as the host keeps it."""
    number = len(blocks.highest)
    found = [k for k in range(number) if blocks.highest[k] >= 0]
    top = int(blocks.highest.max(initial=-1))
    if top >= LARGEST:
        raise InputError(f"Seeds and images are counted from 0 to {LARGEST - 1} within a run, and {top} was given.")
    seen = np.zeros(top + 1, bool)
    for k in found:
        seen[k : blocks.highest[k] + 1 : number] = True
    bits = int.from_bytes(np.packbits(seen, bitorder="little").tobytes(), "little")
    kept = {k: Block(blocks.count[k], _times(blocks.total[k], exponent)) for k in found}
    return Groups(number, bits, EVERY if top < number else number, kept)


def _namespace(statistics: Statistics) -> Any:
    return statistics.moments.mean.__array_namespace__()


def _on_one_side(*parts: Statistics) -> list[Statistics]:
    """NumPy's arrays in double precision if all are NumPy's, else JAX's."""
    if all(isinstance(leaf, np.ndarray | np.generic) for leaf in jax.tree.leaves(parts)):
        return [part._wide() for part in parts]
    return [jax.tree.map(jnp.asarray, part) for part in parts]


def _times(array: Any, exponent: Any) -> Any:
    """`array * 2**exponent`, for one exponent for each index of the first axes."""
    if isinstance(array, np.ndarray):
        return np.ldexp(array, exponent.reshape(*exponent.shape, *(1,) * (array.ndim - exponent.ndim)))
    return times(array, exponent)


def _check_alike(a: Statistics, b: Statistics) -> None:
    for name, (mine, other) in {
        "averages": (a.average, b.average),
        "shapes": (a.moments.mean.shape, b.moments.mean.shape),
        "numbers of blocks": (len(a.seeds.highest), len(b.seeds.highest)),
    }.items():
        if mine != other:
            raise InputError(
                f"Statistics of other {name}, {mine} and {other}, cannot be added. "
                "Add those of one field, made with the same blocks=."
            )
