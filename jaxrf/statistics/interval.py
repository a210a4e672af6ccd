"""A measured number with its error, and how far its interval reaches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jaxrf.errors import InputError, listed

FEW = "the samples are worth fewer than two equally strong ones, or the number is zero in some of them."
"""Why single units have no interval where the measure has one."""
LEAST = 0.7
"""Degrees of freedom below which no interval is given: it would reach over forty standard errors."""


@dataclass(frozen=True, eq=False)
class Interval:
    """A measured number with its error; arrays (unit, ...).

    Attributes:
        value: measured on the mean of all samples.
        middle: what the interval lies about: the value, less its bias where noise in the map biases the measure.
        stderr: jackknife standard error; NaN where it is not known.
        low, high: ends of the confidence interval, which need not lie evenly about its middle; NaN where none is given.
        level: its nominal coverage.
        over: the factor whose blocks were left out, "seeds" or "images".
        blocks: how many blocks there were.
        freedom: degrees of freedom: how many equally strong blocks they are worth, less one.
        missing: why no interval is given; empty where one is.
    """

    value: np.ndarray
    middle: np.ndarray
    stderr: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    over: str
    blocks: int
    freedom: np.ndarray
    missing: str = ""

    @property
    def relative(self) -> np.ndarray:
        """Standard error over the absolute value; 0 where both are 0."""
        size = np.abs(self.value)
        exact = (size == 0) & (self.stderr == 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(exact, 0.0, self.stderr / size)

    def times(self, factor: float) -> Interval:
        """The same number in a unit of which there are `factor` in one of this one; above zero."""
        names = ("value", "middle", "stderr", "low", "high")
        return replace(self, **{name: getattr(self, name) * factor for name in names})

    def __repr__(self) -> str:
        rows = zip(*(np.ravel(a) for a in (self.value, self.stderr, self.low, self.high)), strict=True)
        shown = listed([_shown(*row) for row in rows], 4)
        lost = not np.isfinite(self.low).all()
        why = f"; no interval where {FEW}" if lost else ""
        return f"{shown}, {self.level:.0%} over {self.blocks} blocks of {self.over}" + (
            f"; no interval: {self.missing}" if self.missing else why
        )


def _shown(value: float, stderr: float, low: float, high: float) -> str:
    error = f" ± {stderr:.2g}" if np.isfinite(stderr) else ""
    return f"{value:.6g}{error} ({low:.6g} to {high:.6g})" if np.isfinite(low) else f"{value:.6g}{error} (not known)"


def check_level(level: float) -> float:
    """`level` itself, where it is a probability."""
    if not 0 < level < 1:
        raise InputError(f"A level of {level!r} was asked for. It is a probability between 0 and 1, such as 0.95.")
    return level


def reach(level: float, freedom: np.ndarray) -> np.ndarray:
    """How many standard errors an interval of `level` reaches to each side: Student's t; NaN for too little freedom."""
    from scipy.special import stdtrit  # a tenth of a second to import

    known = np.asarray(freedom) >= LEAST
    return np.where(known, stdtrit(np.where(known, freedom, 1.0), (1 + check_level(level)) / 2), np.nan)


def worth(freedom: np.ndarray, relative: np.ndarray) -> np.ndarray:
    """Degrees of freedom of the error of a mean of positive numbers whose relative standard error is `relative`.

    `n` numbers are worth `(sum x)^2 / sum x^2 = n share` equally strong ones, `share = 1 / (1 + (n - 1) relative^2)`
    (Kish), and have one degree of freedom less. Their error is a sum of squares, in which few count even more:
    it has that share of them. The last step is not a theorem; `benchmarks/coverage.py` measures what it does.
    """
    squared = np.minimum(np.square(relative), 1.0)
    share = 1 / (1 + freedom * squared)
    return freedom * (1 - squared) * share**2
