"""Standard errors and intervals of any number measured on a mean map: leave out a block, measure again.

A measure of the mean map is not the mean of a measure, so its error cannot be read off single samples.
The jackknife needs nothing but the measure itself. How it becomes an interval depends on what is measured:
`jaxrf.statistics.measures.uncertainty` holds what each measure says of itself.

Samples differ in power. So the degrees of freedom of Student's t are not those of the blocks
but those of the equally strong blocks that they are worth: with few, one strong network decides the mean and its error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from jaxrf.errors import InputError
from jaxrf.statistics import averages
from jaxrf.statistics.groups import Groups
from jaxrf.statistics.interval import Interval, reach, worth
from jaxrf.statistics.measures.uncertainty import Curve, Uncertainty


@dataclass(frozen=True, eq=False)
class Jackknifed:
    """What leaving out each block says of a number; arrays (unit, ...).

    Attributes:
        stderr: standard error; NaN with fewer than two blocks.
        bias: how far the number lies from what it would be with infinitely many samples, to first order.
        used: how many blocks there were.
    """

    stderr: np.ndarray
    bias: np.ndarray
    used: np.ndarray


def jackknifed(value: np.ndarray, left_out: Iterable[np.ndarray], counts: np.ndarray) -> Jackknifed:
    """Standard error and bias of a number from its values (unit, ...) without each block of `counts` (block, unit).

    References:
        Busing, Meijer, van der Leeden (1999), Delete-m jackknife for unequal m, equations 7 and 8;
        with equal blocks it is Tukey's jackknife.
    """
    whole = counts.sum(0).astype(np.float64)
    # Sums over the blocks, seen from the value: what no block changes has no error, not one of rounding.
    squares, bias, first, weight, used = (np.zeros(value.shape) for _ in range(5))
    for rest, count in zip(left_out, counts, strict=True):
        size = count.astype(np.float64).reshape(count.shape + (1,) * (value.ndim - count.ndim))
        there = (size > 0) & (size < whole.reshape(size.shape))
        factor = np.where(there, whole.reshape(size.shape) / np.where(there, size, 1.0), 2.0)
        with np.errstate(invalid="ignore"):
            shift = np.where(there, value - rest, 0.0)
        squares += (factor - 1) * np.square(shift)
        bias -= (1 - 1 / factor) * shift
        first += shift
        weight += there / (factor - 1)
        used += there
    squares = np.maximum(squares + 2 * bias * first + np.square(bias) * weight, 0.0)
    return Jackknifed(np.where(used > 1, np.sqrt(squares / np.maximum(used, 1)), np.nan), bias, used)


def interval(
    groups: Groups,
    measured: Callable[[np.ndarray], np.ndarray],
    mean: np.ndarray,
    *,
    level: float = 0.95,
    over: str = "seeds",
    known: Uncertainty = Uncertainty(),  # noqa: B008 (frozen)
    curve: Callable[[np.ndarray], Curve] | None = None,
) -> Interval:
    """The interval of `measured(mean)`.

    Args:
        groups: sums by the levels of the factor `over`.
        measured: from maps (unit, *spatial) to numbers (unit, ...).
        mean: the mean map (unit, *spatial).
        level: nominal coverage, in (0, 1).
        over: name of the factor.
        known: what the measure says of its errors.
        curve: from maps to the curve that the number is read off, for a measure that has one.

    Raises:
        InputError: fewer than two blocks, or a level outside (0, 1).
    """
    freedom = freedom_of(groups, over)
    if curve is not None:
        return _read_off(groups, curve(mean), (curve(part) for part in groups.without_each()), freedom, level, over)
    value = np.asarray(measured(mean), np.float64)
    if known.missing:
        none = np.full(value.shape, np.nan)
        blocks = len(groups.blocks)
        return Interval(value, none, none, none, none, level, over, blocks, _wide(freedom, value), known.missing)
    rest = [np.asarray(measured(part), np.float64) for part in groups.without_each()]
    return from_left_out(value, rest, groups.counts(), freedom, level=level, over=over, known=known)


def freedom_of(groups: Groups, over: str = "seeds") -> np.ndarray:
    """Degrees of freedom of an error over the blocks, (unit,): the equally strong blocks they are worth, less one.

    Raises:
        InputError: fewer than two blocks.
    """
    if len(groups.blocks) < 2:
        raise InputError(
            f"An interval over {over} needs at least two of them, and there is {len(groups.blocks)}. "
            f"Run more {over}, or leave out the other factor: over='seeds' or over='images'."
        )
    return averages.effective_blocks(groups) - 1


def from_left_out(
    value: np.ndarray,
    left_out: Sequence[np.ndarray],
    counts: np.ndarray,
    freedom: np.ndarray,
    *,
    level: float = 0.95,
    over: str = "seeds",
    known: Uncertainty = Uncertainty(),  # noqa: B008 (frozen)
) -> Interval:
    """The interval of a number from its values (unit, ...) without each block of `counts` (block, unit) samples.

    On a logarithmic scale the ends are `value / factor` and `value * factor`, and the degrees of freedom no more than
    those of positive numbers that vary as much: a share far from the center that one network of many makes has few.

    References:
        Efron, Tibshirani (1993), An Introduction to the Bootstrap, chapters 10 and 11: the jackknife's bias and error.
        Kish (1965), Survey Sampling, section 8.2: the effective size of a weighted sample.
    """
    found = jackknifed(value, left_out, counts)
    freedom = _wide(freedom, value)
    if known.scale == "plain":
        middle = value - found.bias * known.corrected
        length = reach(level, freedom) * found.stderr
        ends = middle - length, middle + length
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = jackknifed(np.log(value), (np.log(part) for part in left_out), counts)
            share = worth(found.used - 1, found.stderr / np.abs(value)) / (found.used - 1)
            freedom = np.minimum(freedom, share * np.maximum(freedom, found.used - 1))
            factor = np.exp(reach(level, freedom) * logs.stderr)
            middle = value * np.exp(-logs.bias * known.corrected)
            ends = middle / factor, middle * factor
    middle, low, high = (np.where(found.stderr == 0, value, end) for end in (middle, *ends))
    return Interval(value, middle, found.stderr, low, high, level, over, len(counts), freedom)


def _read_off(
    groups: Groups, whole: Curve, left_out: Iterable[Curve], freedom: np.ndarray, level: float, over: str
) -> Interval:
    """The interval of a number that is read off a curve: read off the lower and the upper bound of the curve.

    A step is inside unless the curve says, beyond its error, that the level is not reached there,
    or was reached before. The standard error is the one whose interval would be as long.

    References:
        Woodruff (1952), Confidence Intervals for Medians and Other Position Measures, JASA 47.
        Francisco, Fuller (1991), Quantile Estimation with a Complex Survey Design, Annals of Statistics 19:
        the test that is inverted here, and the standard error.
    """
    found = jackknifed(whole.level, (part.level for part in left_out), groups.counts())
    value, true = whole.read(), whole.level - found.bias
    freedom = _wide(freedom, value)
    length = reach(level, freedom)[..., None] * found.stderr
    low, high = whole.read(true + length), whole.read(true - length)
    with np.errstate(divide="ignore", invalid="ignore"):
        stderr = (high - low) / (2 * reach(level, freedom))
    return Interval(value, value, stderr, low, high, level, over, len(groups.blocks), freedom)


def welch(stderrs: Sequence[np.ndarray], freedoms: Sequence[np.ndarray]) -> np.ndarray:
    """Degrees of freedom of the sum of independent numbers (unit, ...), from their standard errors and their own.

    References:
        Welch (1947), The generalization of Student's problem when several different population variances are involved.
    """
    variances = np.square(stderrs)
    wide = [_wide(freedom, stderr) for freedom, stderr in zip(freedoms, stderrs, strict=True)]
    spread = (np.square(variances) / np.maximum(wide, 1e-12)).sum(0)
    least = np.min(wide, axis=0)
    return np.divide(np.square(variances.sum(0)), spread, out=least, where=spread > 0)


def difference(a: Interval, b: Interval, stderr: np.ndarray) -> Interval:
    """The interval of `a - b`, from the intervals of both at the same level and the standard error of the difference.

    Each end is as far as the ends of `a` and `b` that make it, added as errors with the correlation that `stderr` shows.

    References:
        Zou, Donner (2008), Construction of confidence limits about effect measures, Statistics in Medicine 27:
        the method of variance estimates recovery.
    """
    both = a.stderr * b.stderr
    shared = np.square(a.stderr) + np.square(b.stderr) - np.square(stderr)
    correlation = np.clip(np.divide(shared, 2 * both, out=np.zeros(both.shape), where=both > 0), -1, 1)

    def root_of_squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(np.square(one) + np.square(other) - 2 * correlation * one * other, 0))

    value, middle = a.value - b.value, a.middle - b.middle
    low = middle - root_of_squares(a.middle - a.low, b.high - b.middle)
    high = middle + root_of_squares(a.high - a.middle, b.middle - b.low)
    middle, low, high = (np.where(stderr == 0, value, end) for end in (middle, low, high))
    blocks, freedom = min(a.blocks, b.blocks), np.minimum(a.freedom, b.freedom)
    return Interval(value, middle, stderr, low, high, a.level, a.over, blocks, freedom, a.missing or b.missing)


def _wide(per_unit: np.ndarray, value: np.ndarray) -> np.ndarray:
    """(unit,) as an array of the shape of `value` (unit, ...)."""
    return np.broadcast_to(per_unit.reshape(per_unit.shape + (1,) * (value.ndim - per_unit.ndim)), value.shape).copy()
