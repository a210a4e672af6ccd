"""All that is kept of the samples of a run: moments per position, and sums by seed and by image.

`init, update, merge, finalize`, with `merge` associative and what `init` returns its identity.
A sample is a pair of a seed (an initialization) and an image; its probe is drawn anew and belongs to the pair.
The factors are crossed: every seed sees the same images.
So the error of the mean comes from three sources, the seeds, the images, and what is left:

    variance = seeds / S + images / I + rest / (S I)

and not from S I independent samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from jaxrf.errors import InputError
from jaxrf.statistics import averages, groups, moments
from jaxrf.statistics.groups import Block, Groups
from jaxrf.statistics.moments import Moments

MEMORY = 2**29
"""Bytes that the sums by seed and by image may take, unless that leaves fewer than `FEWEST` blocks of each."""
FEWEST, MOST = 8, 64
"""Blocks per factor. 64 blocks know a standard error to 9 %."""
TRUSTED = 30
"""Effective samples below which the error of a weighted average is not to be trusted."""


@dataclass(frozen=True, eq=False)
class Gathered:
    """Samples, gathered.

    Attributes:
        average: which maps were gathered, "weighted" or "normalized".
        samples: moments of all samples.
        seeds: sums by seed.
        images: sums by image.
        count: samples seen, whether they count in the average or not.
        dead: maps that were zero everywhere, per unit.
        nonfinite: maps with a NaN or an infinity, per unit.
    """

    average: str
    samples: Moments
    seeds: Groups
    images: Groups
    count: int
    dead: Int[np.ndarray, " unit"]
    nonfinite: Int[np.ndarray, " unit"]


@dataclass(frozen=True, eq=False)
class Summary:
    """What samples say, as a result takes it.

    Attributes:
        mean: (unit, *spatial).
        stderr: its standard error, over all factors; NaN with one sample.
        between: variance between seeds, had each infinitely many images; NaN with one seed or one image.
        within: variance of the samples of one seed, over images and probes; NaN with one image.
        count: samples.
        effective: how many equally strong levels of the leading factor they are worth, (unit,).
        average: "weighted" or "normalized".
        groups: sums by "seeds" and by "images", of those factors that have several levels.
        dead, nonfinite: numbers of such maps, over all units.
    """

    mean: Float[np.ndarray, "unit *spatial"]
    stderr: Float[np.ndarray, "unit *spatial"]
    between: Float[np.ndarray, "unit *spatial"]
    within: Float[np.ndarray, "unit *spatial"]
    count: int
    effective: Float[np.ndarray, " unit"]
    average: str
    groups: dict[str, Groups]
    dead: int
    nonfinite: int


def init(shape: Sequence[int], average: str = "weighted", memory: int = MEMORY) -> Gathered:
    """Nothing gathered yet, for maps of `shape` (unit, *spatial).

    Args:
        shape: (unit, *spatial).
        average: "weighted" or "normalized", see `jaxrf.statistics.averages`.
        memory: bytes for the sums by seed and by image.
    """
    shape = tuple(shape)
    limit = blocks_of(shape, memory)
    none = np.zeros(shape[0], np.int64)
    return Gathered(average, moments.init(shape), Groups(limit), Groups(limit), 0, none, none)


def blocks_of(shape: Sequence[int], memory: int = MEMORY) -> int:
    """How many blocks of maps of `shape` are kept by seed, and as many by image: a power of two."""
    fitting = max(1, memory // (2 * 8 * max(1, math.prod(shape))))
    return min(MOST, max(FEWEST, 1 << (fitting.bit_length() - 1)))


def update(gathered: Gathered, maps: np.ndarray, seed: int, images: Sequence[int]) -> Gathered:
    """Add the samples of some images under one seed.

    Args:
        gathered: so far.
        maps: (image, unit, *spatial).
        seed: number of the seed within the run, from 0.
        images: numbers of the images within the run, from 0.

    Raises:
        InputError: the shapes do not fit, or there is not one number per map.

    Example:
        >>> g = update(init((1, 2)), np.array([[[1.0, 5.0]], [[3.0, 5.0]]]), seed=0, images=[0, 1])
        >>> summary = finalize(g)
        >>> summary.mean.tolist(), summary.stderr.tolist()
        ([[2.0, 5.0]], [[1.0, 0.0]])
    """
    if len(images) != len(maps):
        raise InputError(f"{len(maps)} maps came with {len(images)} numbers of images. One per map is needed.")
    dead, lost = _dead_and_lost(maps)
    added, keep = averages.weigh(maps, gathered.average)
    # A map without power stays out of the normalized average, where it is zero; one with NaN does not.
    samples = moments.update(gathered.samples, added, None if keep.all() else keep)
    parts = [Block(k.astype(np.int64), a) for k, a in zip(keep, added, strict=True)]
    by_seed, by_image = gathered.seeds, gathered.images
    for image, part in zip(images, parts, strict=True):
        by_image = groups.merge(by_image, groups.of_level(by_image.limit, int(image), part))
    if parts:
        whole = sum(parts[1:], parts[0])
        by_seed = groups.merge(by_seed, groups.of_level(by_seed.limit, int(seed), whole))
    return Gathered(
        average=gathered.average,
        samples=samples,
        seeds=by_seed,
        images=by_image,
        count=gathered.count + len(maps),
        dead=gathered.dead + dead,
        nonfinite=gathered.nonfinite + lost,
    )


def _dead_and_lost(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many maps (image, unit, *spatial) are zero everywhere, and how many hold NaN or infinity, (unit,)."""
    spatial = tuple(range(2, maps.ndim))
    low, high = maps.min(spatial), maps.max(spatial)  # both are NaN where a map holds one
    return ((low == 0) & (high == 0)).sum(0), (~np.isfinite(low) | ~np.isfinite(high)).sum(0)


def merge(a: Gathered, b: Gathered) -> Gathered:
    """The samples of `a` and of `b` together; they must be different ones of the same run.

    Raises:
        InputError: they are of different averages or shapes.
    """
    if a.average != b.average:
        raise InputError(f"Samples of the {a.average} and of the {b.average} average cannot be merged. Choose one.")
    return Gathered(
        average=a.average,
        samples=moments.merge(a.samples, b.samples),
        seeds=groups.merge(a.seeds, b.seeds),
        images=groups.merge(a.images, b.images),
        count=a.count + b.count,
        dead=a.dead + b.dead,
        nonfinite=a.nonfinite + b.nonfinite,
    )


def finalize(gathered: Gathered) -> Summary:
    """Mean, standard error, and the variances behind it.

    With one seed or one image the standard error is that of independent samples.
    With several of both it is the analysis of variance of two crossed random factors, for samples of all pairs;
    where few pairs are missing it is close.

    Raises:
        InputError: nothing was gathered.

    References:
        Searle, Casella, McCulloch (1992), Variance Components, section 4.7: the two-way crossed random model,
            one observation per cell. A variance that comes out below that of the rest alone is set to it.
    """
    if not gathered.count:
        raise InputError("There are no samples. At least one seed and one image are needed.")
    mean, stderr = moments.finalize(gathered.samples)
    between = within = moments.nowhere(mean.shape)
    if gathered.seeds.levels > 1 and gathered.images.levels > 1:
        del stderr
        stderr, between, within = _crossed(gathered)
    elif gathered.images.levels > 1:
        count = gathered.samples.count
        within = np.where(count > 1, gathered.samples.m2 / np.maximum(count - 1, 1), np.nan)
    factors = {"seeds": gathered.seeds, "images": gathered.images}
    leading = factors["seeds" if gathered.seeds.levels > 1 else "images"]
    return Summary(
        mean=mean,
        stderr=stderr,
        between=between,
        within=within,
        count=gathered.count,
        effective=averages.effective_sample_size(leading),
        average=gathered.average,
        groups={name: kept for name, kept in factors.items() if kept.levels > 1},
        dead=int(gathered.dead.sum()),
        nonfinite=int(gathered.nonfinite.sum()),
    )


def _crossed(gathered: Gathered) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard error of the mean, variance between seeds, and variance within a seed."""
    seeds, images = gathered.seeds.levels, gathered.images.levels
    count = np.maximum(gathered.samples.count, 1)
    by_seed, by_image = gathered.seeds.variance_of_mean(), gathered.images.variance_of_mean()
    rest = (seeds - 1) * by_seed  # in place from here on: maps may be large
    rest += (images - 1) * by_image
    rest *= count
    np.subtract(gathered.samples.m2, rest, out=rest)
    np.maximum(rest, 0, out=rest)
    rest /= (seeds - 1) * (images - 1)
    least = rest / count
    variance = by_seed + by_image
    variance -= least
    np.maximum(variance, least, out=variance)
    for spread, levels in ((by_seed, images), (by_image, seeds)):
        spread *= count
        spread -= rest
        np.maximum(spread, 0, out=spread)
        spread /= levels
    by_image += rest
    return np.sqrt(variance, out=variance), by_seed, by_image
