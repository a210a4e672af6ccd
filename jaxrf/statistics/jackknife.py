"""Standard errors and intervals of any number measured on a mean map: leave out a block, measure again.

A measure of the mean map is not the mean of a measure, so its error cannot be read off single samples.
The jackknife needs nothing but the measure itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jaxrf.errors import InputError
from jaxrf.statistics.groups import Groups


@dataclass(frozen=True, eq=False)
class Interval:
    """A measured number with its error; arrays (unit, ...).

    Attributes:
        value: measured on the mean of all samples.
        stderr: jackknife standard error.
        low, high: ends of the confidence interval.
        level: its nominal coverage.
        over: the factor whose blocks were left out, "seeds" or "images".
        blocks: how many blocks there were; the interval has one degree of freedom less.
        approximate: True where the measure is a step function of the map, for which a jackknife is rough.
    """

    value: np.ndarray
    stderr: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    over: str
    blocks: int
    approximate: bool

    @property
    def relative(self) -> np.ndarray:
        """Standard error over the absolute value; 0 where both are 0."""
        size = np.abs(self.value)
        exact = (size == 0) & (self.stderr == 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(exact, 0.0, self.stderr / size)

    def __repr__(self) -> str:
        about = "about " if self.approximate else ""
        rows = zip(*(np.ravel(a) for a in (self.value, self.stderr, self.low, self.high)), strict=True)
        lines = [f"{about}{v:.6g} ± {e:.2g} ({lo:.6g} to {hi:.6g})" for v, e, lo, hi in rows]
        shown = ", ".join(lines[:4]) + (f" and {len(lines) - 4} more" if len(lines) > 4 else "")
        return f"{shown}, {self.level:.0%} over {self.blocks} blocks of {self.over}"


def interval(
    groups: Groups,
    measured: Callable[[np.ndarray], np.ndarray],
    mean: np.ndarray,
    *,
    level: float = 0.95,
    over: str = "seeds",
    approximate: bool = False,
) -> Interval:
    """The interval of `measured(mean)`.

    Args:
        groups: sums by the levels of the factor `over`.
        measured: from maps (unit, *spatial) to numbers (unit, ...).
        mean: the mean map (unit, *spatial).
        level: nominal coverage, in (0, 1).
        over: name of the factor.
        approximate: to be handed on.

    Raises:
        InputError: fewer than two blocks, or a level outside (0, 1).
    """
    value = np.asarray(measured(mean), np.float64)
    rest = [np.asarray(measured(part), np.float64) for part in groups.without_each()]
    return from_left_out(value, rest, groups.counts(), level=level, over=over, approximate=approximate)


def from_left_out(
    value: np.ndarray,
    left_out: Sequence[np.ndarray],
    counts: np.ndarray,
    *,
    level: float = 0.95,
    over: str = "seeds",
    approximate: bool = False,
) -> Interval:
    """The interval of a number from its values (unit, ...) without each block of `counts` (block, unit) samples.

    References:
        Busing, Meijer, van der Leeden (1999), Delete-m jackknife for unequal m, equations 7 and 8;
        with equal blocks it is Tukey's jackknife.
        Shao, Wu (1989), A General Theory for Jackknife Variance Estimation: why it is rough for step functions,
        and why blocks of several samples help.
    """
    from scipy.special import stdtrit  # a tenth of a second to import

    if not 0 < level < 1:
        raise InputError(f"A level of {level!r} was asked for. It is a probability between 0 and 1, such as 0.95.")
    if len(left_out) < 2:
        raise InputError(
            f"An interval over {over} needs at least two of them, and there is {len(left_out)}. "
            f"Run more {over}, or leave out the other factor: over='seeds' or over='images'."
        )
    rest = np.array(left_out)
    size = counts.reshape(counts.shape + (1,) * (rest.ndim - counts.ndim)).astype(np.float64)
    there = np.broadcast_to((size > 0) & (size < size.sum(0)), rest.shape)
    used = there.sum(0)
    factor = size.sum(0) / np.where(size > 0, size, 1.0)
    # Pseudo-values and their center, seen from the value: what no block changes has no error, not one of rounding.
    shift = np.where(there, value - rest, 0.0)
    pseudo, center = (factor - 1) * shift, ((1 - 1 / factor) * shift).sum(0)
    squares = np.where(there, np.square(pseudo - center) / np.where(there, factor - 1, 1.0), 0.0).sum(0)
    stderr = np.where(used > 1, np.sqrt(squares / np.maximum(used, 1)), np.nan)
    reach = stdtrit(np.maximum(used - 1, 1), (1 + level) / 2) * stderr
    return Interval(value, stderr, value - reach, value + reach, level, over, len(left_out), approximate)


def difference(a: Interval, b: Interval) -> Interval:
    """The interval of `a - b` for two independent numbers of the same level."""
    from scipy.special import stdtrit

    variances = np.square(a.stderr), np.square(b.stderr)
    stderr = np.sqrt(sum(variances))
    spread = np.square(variances[0]) / (a.blocks - 1) + np.square(variances[1]) / (b.blocks - 1)
    fewest = min(a.blocks, b.blocks) - 1.0
    freedom = np.divide(np.square(sum(variances)), spread, out=np.full(spread.shape, fewest), where=spread > 0)
    value, reach = a.value - b.value, stdtrit(freedom, (1 + a.level) / 2) * stderr
    return Interval(
        value=value,
        stderr=stderr,
        low=value - reach,
        high=value + reach,
        level=a.level,
        over=a.over,
        blocks=min(a.blocks, b.blocks),
        approximate=a.approximate or b.approximate,
    )
