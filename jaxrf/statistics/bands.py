"""Intervals of a mean map, position by position, over all factors at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jaxrf.statistics.groups import Groups
from jaxrf.statistics.interval import Interval, reach, worth
from jaxrf.statistics.jackknife import welch


def band(
    mean: np.ndarray, stderr: np.ndarray, groups: Mapping[str, Groups], *, level: float, positive: bool
) -> Interval:
    """Intervals of the entries of a mean map (unit, *spatial), each for itself.

    Squared gradients of random networks are far from normal: many are small, and few make up the mean.
    So positive maps have their intervals on a logarithmic scale, with as many degrees of freedom as the equally strong
    samples that an entry is worth, less one. Where that is less than one, the ends are NaN.

    Args:
        mean: the mean map.
        stderr: its standard error over all factors, as `jaxrf.statistics.gathered.finalize` gives it.
        groups: sums by the levels of each factor that has several.
        level: nominal coverage.
        positive: whether all maps are at least zero.

    References:
        Satterthwaite (1946), An approximate distribution of estimates of variance components: how many degrees
        of freedom two factors have together.
        Kish (1965), Survey Sampling, section 8.2: the effective size of a weighted sample.
    """
    errors = [np.sqrt(kept.variance_of_mean()) for kept in groups.values()]
    blocks = [np.array([(kept.counts() > 0).sum(0) - 1.0]).reshape(-1) for kept in groups.values()]
    freedom = welch(errors, blocks)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = stderr / mean
        freedom = worth(freedom, relative) if positive else freedom
        length = reach(level, freedom)
        if positive:
            low, high = mean * np.exp(-length * relative), mean * np.exp(length * relative)
        else:
            low, high = mean - length * stderr, mean + length * stderr
    low, high = (np.where(stderr == 0, mean, end) for end in (low, high))
    fewest = min(len(kept.blocks) for kept in groups.values())
    return Interval(mean, mean, stderr, low, high, level, " and ".join(groups), fewest, freedom)
