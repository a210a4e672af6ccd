"""The two averages of maps over samples, and how many samples the first is really worth.

Samples differ in power, the sum of a map: between random networks by orders of magnitude.
The "weighted" average is the plain mean of the maps, in which strong samples count more.
The "normalized" average first divides each map by its power, so that every sample counts the same.
"""

from __future__ import annotations

import numpy as np

from jaxrf.errors import unknown
from jaxrf.statistics.groups import Groups

AVERAGES = ("weighted", "normalized")


def check_average(average: str) -> None:
    """Raises an `UnknownNameError` unless `average` is one of the two."""
    if average not in AVERAGES:
        raise unknown("average", average, AVERAGES)


def weigh(maps: np.ndarray, average: str) -> tuple[np.ndarray, np.ndarray]:
    """What a sample adds to an average, and whether it adds anything.

    Args:
        maps: (sample, unit, *spatial).
        average: "weighted" or "normalized".

    Returns:
        Maps (sample, unit, *spatial) and booleans (sample, unit).
        All maps count in the weighted average, those of zeros too.
        Maps without power have no shape to add to the normalized one and are left out.
        A NaN or an infinity stays what it is, as NaN, in both.

    Raises:
        UnknownNameError: another average.

    Example:
        >>> maps, keep = weigh(np.array([[[1.0, 3.0]], [[0.0, 0.0]]]), "normalized")
        >>> maps[0].tolist(), keep.tolist()
        ([[0.25, 0.75]], [[True], [False]])
    """
    check_average(average)
    maps = np.asarray(maps, np.float64)
    if average == "weighted":
        return maps, np.ones(maps.shape[:2], bool)
    # Through the peak first: the sum of huge entries could overflow, and the inverse of tiny ones.
    spatial = tuple(range(2, maps.ndim))
    peak = np.abs(maps).max(spatial, keepdims=True)
    scaled = maps / np.where(peak > 0, peak, 1.0)
    power = scaled.sum(spatial, keepdims=True)
    with np.errstate(invalid="ignore"):
        return scaled / np.where(power == 0, 1.0, power), (power != 0).reshape(maps.shape[:2])


def effective_sample_size(groups: Groups) -> np.ndarray:
    """How many equally strong samples the weighted average is worth, (unit,): `(sum T)^2 / sum T^2` of the power T.

    T is the power of all samples of one level of the factor, one seed or one image:
    levels are independent of each other, samples of one level are not.
    Between 1 (one level has all the power) and the number of levels (all have the same); NaN without any power.
    Below some 30 the standard errors of the weighted average cannot be trusted.
    Where levels share blocks, it is estimated from the blocks, whose powers scatter less, as independent sums do.

    References:
        Kish (1965), Survey Sampling, section 8.2: the effective size of a weighted sample.
    """
    blocks, levels, worth = len(groups.blocks), groups.levels, effective_blocks(groups)
    scatter = levels / blocks * (blocks / worth - 1)  # squared coefficient of variation of one level's power
    return levels / (1 + scatter)


def effective_blocks(groups: Groups) -> np.ndarray:
    """How many equally strong blocks the mean is worth, (unit,): `(sum T)^2 / sum T^2` of the power T of a block.

    Maps with a sign have no power that says how strong they are: then it is the number of blocks.
    """
    power = groups.powers()
    squares = np.square(power).sum(0)
    worth = np.divide(np.square(power.sum(0)), squares, out=np.full(squares.shape, np.nan), where=squares > 0)
    return np.where((power < 0).any(0), len(power), worth)
