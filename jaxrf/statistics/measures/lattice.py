"""Patterns that repeat with a stride: checkerboards, and positions that strides leave out."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float

from jaxrf.errors import InputError
from jaxrf.statistics.measures.arrays import Array, known, root
from jaxrf.statistics.measures.luo import COUNTS_NOISE
from jaxrf.statistics.measures.reading import Reading, read
from jaxrf.statistics.measures.registry import measures
from jaxrf.statistics.measures.steps import in_steps
from jaxrf.statistics.measures.uncertainty import uncertainty


@measures.register("unevenness")
def unevenness(
    maps: Array, period: int | tuple[int, ...] = 2, *, center: Array, origin: Array | None = None
) -> Float[Array, "*lead"]:
    """How unevenly the phases of positions modulo a period are seen: their standard deviation over their mean.

    Positions with equal remainders of their coordinates modulo the period are a phase, and count by the mean of the map over
    them. A stride larger than its kernel leaves whole phases dark, and an upsampling whose kernel is not a multiple of its stride
    gives a checkerboard. A flat map gives 0, a map of one phase of p alone the root of p - 1, as a single pixel does; a
    zero map NaN. Windows narrower than the period lack some phases, which are left out.

    Args:
        maps: (*lead, *spatial).
        period: after how many positions the pattern repeats, for all axes or for each; the stride that is suspected.
        center: true centers, of which the number of axes alone matters.
        origin: as for all measures; a shift of the phases changes nothing.

    Raises:
        InputError: a period that is not a whole number of at least 1 for each axis.

    Example:
        >>> float(unevenness(np.array([1.0, 3.0, 1.0, 3.0]), center=np.array([1.5])))
        0.5

    References:
        Odena, Dumoulin, Olah (2016), Deconvolution and Checkerboard Artifacts, Distill.
    """
    seen, by_phase = _phases(maps, period, center, origin)
    mean = by_phase.mean(-1)
    spread = root(seen.xp.square(by_phase - mean[..., None]).mean(-1))
    return seen.xp.where(seen.alive, spread / mean, np.nan)


@measures.register("dark_phases")
@uncertainty(COUNTS_NOISE)
@in_steps(instead="unevenness")
def dark_phases(
    maps: Array,
    period: int | tuple[int, ...] = 2,
    threshold: float = 0.0,
    *,
    center: Array,
    origin: Array | None = None,
) -> Float[Array, "*lead"]:
    """Share of the phases of positions modulo a period that are not seen: holes that repeat, from 0 to 1.

    Phases are those of `unevenness`. One is dark where its mean is at most `threshold` times that of the brightest one.
    A stride of 2 with a kernel of 1 leaves three phases of four dark, in two dimensions; a checkerboard of half the
    brightness none, but for a threshold of a half. A flat map gives 0, a zero map NaN.

    Args:
        maps: (*lead, *spatial).
        period: after how many positions the pattern repeats, for all axes or for each.
        threshold: share of the brightest phase's mean, in [0, 1).
        center: true centers, of which the number of axes alone matters.
        origin: as for all measures; a shift of the phases changes nothing.

    Raises:
        InputError: a period that is not a whole number of at least 1 for each axis, or a threshold outside [0, 1).

    Example:
        >>> float(dark_phases(np.array([1.0, 0.0, 2.0, 0.0]), center=np.array([1.5])))
        0.5
    """
    known(threshold=threshold)
    if not 0 <= threshold < 1:
        raise InputError(
            f"A threshold of {threshold!r} was asked for. It is a share of the brightest phase, in [0, 1)."
        )
    seen, by_phase = _phases(maps, period, center, origin)
    dark = by_phase <= threshold * by_phase.max(-1, keepdims=True)
    return seen.xp.where(seen.alive, seen.array(dark).mean(-1), np.nan)


def _phases(
    maps: Array, period: int | tuple[int, ...], center: Array, origin: Array | None
) -> tuple[Reading, Float[Array, "*lead phase"]]:
    """The maps as they are read, and the mean of each phase.

    Raises:
        InputError: a period that is not a whole number of at least 1 for each axis.
    """
    seen = read(maps, center, origin)
    known(period=period)
    each = tuple(period) if isinstance(period, tuple | list) else (period,) * seen.d
    if len(each) != seen.d or not all(isinstance(p, int | np.integer) and p >= 1 for p in each):
        raise InputError(f"period={period!r} is not a whole number of at least 1 for each of the {seen.d} axes.")
    phases = itertools.product(*(range(min(p, n)) for p, n in zip(each, seen.shape)))
    means = [
        seen.shares[(..., *(slice(first, None, p) for first, p in zip(phase, each)))].mean(seen.axes)
        for phase in phases
    ]
    return seen, seen.xp.stack(means, axis=-1)
