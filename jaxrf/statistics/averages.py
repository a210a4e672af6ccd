"""The two averages of maps over samples, and how many samples they are really worth.

Samples differ in power, the sum of a map: between random networks by orders of magnitude.
The power-weighted average is the plain mean of the maps, in which strong samples count more.
The normalized average first divides each map by its power, so that every sample counts the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxrf.statistics import moments
from jaxrf.statistics.moments import Moments


@dataclass(frozen=True, eq=False)
class Averages:
    """Moments of the maps, of the maps divided by their power, and of the power."""

    weighted: Moments
    normalized: Moments
    power: Moments


def init(shape: Sequence[int]) -> Averages:
    """Averages of no samples, for maps of `shape` (unit, *spatial)."""
    return Averages(moments.init(shape), moments.init(shape), moments.init(shape[:1]))


def update(averages: Averages, maps: np.ndarray) -> Averages:
    """Averages with `maps` (sample, unit, *spatial) added.

    A non-finite map is left out everywhere.
    A map without power counts as zero in the weighted average and in the power,
    and is left out of the normalized one, where it has no shape to add.
    How many were left out is the difference of the counts.
    """
    maps = np.asarray(maps, np.float64)
    spatial = tuple(range(2, maps.ndim))
    power = maps.sum(spatial)
    finite = np.isfinite(power)
    alive = finite & (power > 0)
    divisor = np.where(alive, power, 1.0).reshape(power.shape + (1,) * len(spatial))
    return Averages(
        moments.update(averages.weighted, maps, finite),
        moments.update(averages.normalized, np.where(np.isfinite(maps), maps, 0.0) / divisor, alive),
        moments.update(averages.power, power, finite),
    )


def merge(a: Averages, b: Averages) -> Averages:
    """Averages over the samples of `a` and of `b` together."""
    return Averages(
        moments.merge(a.weighted, b.weighted),
        moments.merge(a.normalized, b.normalized),
        moments.merge(a.power, b.power),
    )


def effective_sample_size(power: Moments) -> np.ndarray:
    """How many equally strong samples the power-weighted average is worth: `(sum T)^2 / sum T^2` of the power T.

    Between 1 (one sample has all the power) and the count (all have the same); NaN where there is no power at all.
    Below some 30 the standard errors of the weighted average cannot be trusted.

    Example:
        >>> m = moments.update(moments.init(()), np.array([1.0, 1.0, 0.0, 0.0]))
        >>> float(effective_sample_size(m))
        2.0

    References:
        Kish (1965), Survey Sampling, section 8.2: the effective size of a weighted sample.
    """
    n = power.count
    total_squared = np.square(n * power.mean)
    squares = power.m2 + n * np.square(power.mean)
    return np.divide(total_squared, squares, out=np.full(squares.shape, np.nan), where=squares > 0)
