"""Intervals: the jackknife of a mean, of unequal blocks, of smooth functions; what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.errors import InputError
from jaxrf.statistics import Groups, groups, jackknife
from jaxrf.statistics.groups import Block
from jaxrf.statistics.measures import measures
from jaxrf.statistics.measures.uncertainty import SCALES, Curve, Uncertainty, uncertainty_of


def gathered(values: np.ndarray, limit: int = 64) -> Groups:
    """One level per value (unit, *spatial)."""
    found = Groups(limit)
    for level, value in enumerate(values):
        found = groups.merge(found, groups.of_level(limit, level, Block(np.ones(len(value), int), value)))
    return found


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).lognormal(size=(20, 2, 5, 7))


def test_the_error_of_a_mean_is_the_standard_error(values):
    """For the map itself, the jackknife is std / sqrt(n), and the interval Student's where maps are equally strong."""
    values = values / values.sum((2, 3), keepdims=True)
    found = jackknife.interval(gathered(values), lambda maps: maps, values.mean(0))
    stderr = values.std(0, ddof=1) / np.sqrt(20)
    np.testing.assert_allclose(found.stderr, stderr, rtol=1e-9)
    np.testing.assert_allclose(found.high - found.value, 2.093024 * stderr, rtol=1e-6)
    np.testing.assert_allclose(found.value - found.low, found.high - found.value, rtol=1e-9)
    assert (found.blocks, found.level) == (20, 0.95)
    np.testing.assert_allclose(found.freedom, 19)


def test_strong_samples_leave_fewer_degrees_of_freedom():
    """One map of three among ones has the power of (22^2 / 28) - 1 = 16.3 degrees of freedom; one alone has no interval."""
    values = np.ones((20, 1, 1, 2)) + 0.1 * np.random.default_rng(0).standard_normal((20, 1, 1, 2))
    values *= 2 / values.sum((2, 3), keepdims=True)
    values[3] *= 3
    found = jackknife.interval(gathered(values), lambda maps: maps[:, 0, 0] / maps.sum((1, 2)), values.mean(0))
    np.testing.assert_allclose(found.freedom, 22**2 / 28 - 1)
    values[3] *= 1e6
    lone = jackknife.interval(gathered(values), lambda maps: maps[:, 0, 0] / maps.sum((1, 2)), values.mean(0))
    assert np.isfinite(lone.stderr).all() and np.isnan([lone.low, lone.high]).all()
    assert "not known), 95% over 20 blocks of seeds; no interval where the samples are worth fewer" in repr(lone)


def test_the_error_of_a_ratio_is_that_of_the_delta_method():
    """For a smooth function of the mean, jackknife and delta method agree to a few per cent."""
    values = np.random.default_rng(1).gamma(4.0, size=(60, 2, 5, 7))
    means = values.mean(0)
    found = jackknife.interval(gathered(values), lambda maps: maps[:, 0, 0] / maps[:, 1, 1], means)
    ratio = means[:, 0, 0] / means[:, 1, 1]
    parts = (values[:, :, 0, 0] - ratio * values[:, :, 1, 1]) / means[:, 1, 1]
    np.testing.assert_allclose(found.stderr, parts.std(0, ddof=1) / np.sqrt(60), rtol=0.05)


def test_unequal_blocks_give_the_error_of_the_mean(values):
    """With 20 levels in 16 blocks, four of them double, the error is that of `variance_of_mean`."""
    found = gathered(values, limit=16)
    assert sorted(found.counts()[:, 0]) == [1] * 12 + [2] * 4
    stderr = jackknife.interval(found, lambda maps: maps, values.mean(0)).stderr
    np.testing.assert_allclose(stderr, np.sqrt(found.variance_of_mean()), rtol=1e-9)


def test_blocks_without_samples_of_a_unit_do_not_count(values):
    """A unit with samples in three blocks gets the interval of three, whatever its neighbor has."""
    found = Groups(64)
    for level, value in enumerate(values[:6]):
        count = np.array([1, int(level < 3)])
        part = Block(count, value * count[:, None, None])
        found = groups.merge(found, groups.of_level(64, level, part))
    mean = np.stack([values[:6, 0].mean(0), values[:3, 1].mean(0)])
    both = jackknife.interval(found, lambda maps: maps.sum((1, 2)), mean)
    alone = jackknife.interval(gathered(values[:3, 1:]), lambda maps: maps.sum((1, 2)), mean[1:])
    np.testing.assert_allclose([both.low[1], both.high[1]], [alone.low[0], alone.high[0]], rtol=1e-9)


def test_welch_for_independent_intervals(values):
    """The difference of two has the root of the summed squares, and SciPy's degrees of freedom."""
    from scipy import stats

    a, b = values[:12, :1, 0, 0], values[:, 1:, 0, 0] * 3
    errors = [x.std(0, ddof=1) / np.sqrt(len(x)) for x in (a, b)]
    freedom = jackknife.welch(errors, [np.array([len(x) - 1.0]) for x in (a, b)])
    sides = [jackknife.from_left_out(x.mean(0), rest(x), np.ones((len(x), 1), int), freedom) for x in (a, b)]
    found = jackknife.difference(*sides, np.hypot(*errors))
    expected = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose([found.low[0], found.high[0]], [expected.low, expected.high], rtol=1e-6)


def rest(values: np.ndarray) -> list[np.ndarray]:
    """The means without each."""
    return [np.delete(values, k, 0).mean(0) for k in range(len(values))]


def test_the_bias_of_a_square_is_removed_exactly():
    """A squared mean is biased by variance / n; the corrected interval lies about the estimate without it."""
    values = np.random.default_rng(3).gamma(2.0, size=(9, 1))
    mean, variance = values.mean(0), values.var(0, ddof=1)
    squares = [part**2 for part in rest(values)]
    found = jackknife.from_left_out(
        mean**2, squares, np.ones((9, 1), int), np.array([8.0]), known=Uncertainty(corrected=True)
    )
    np.testing.assert_allclose(found.middle, mean**2 - variance / 9, rtol=1e-9)
    np.testing.assert_allclose(found.value, mean**2)
    np.testing.assert_allclose((found.low + found.high) / 2, found.middle)


def test_logarithmic_ends_are_a_factor_away():
    """`value / low` is `high / value`, both positive however large the error; zero with no error stays zero."""
    values = np.array([0.5, 0.6, 3.0, 0.9, 2.0, 1.0, 1.4, 0.7])[:, None]
    counts, freedom, known = np.ones((8, 1), int), np.array([7.0]), Uncertainty(scale="log")
    found = jackknife.from_left_out(values.mean(0), rest(values), counts, freedom, known=known)
    np.testing.assert_allclose(found.value / found.low, found.high / found.value)
    assert 0 < found.low[0] < found.value[0] and (found.freedom < 7).all()
    zero = jackknife.from_left_out(np.zeros(1), rest(0 * values), counts, freedom, known=known)
    assert (zero.low, zero.high) == (0, 0)


def test_a_number_read_off_a_curve_has_the_bounds_of_the_curve():
    """The ends are where the curve plus and minus its error reaches the level: steps on either side of the value."""
    values = np.random.default_rng(0).gamma(0.2, size=(30, 1, 1, 40))
    values /= values.sum((2, 3), keepdims=True)

    def curve(maps: np.ndarray) -> Curve:
        return Curve(np.cumsum(maps[:, 0], axis=-1), np.arange(40.0), 0.5)

    mean = values.mean(0)
    found = jackknife.interval(gathered(values), lambda maps: curve(maps).read(), mean, curve=curve)
    level = np.cumsum(values[:, 0, 0], axis=-1)
    error = 2.0452 * level.std(0, ddof=1) / np.sqrt(30)
    high, low = (int(np.argmax(level.mean(0) + sign * error >= 0.5)) for sign in (-1, 1))
    assert (found.low, found.value, found.high) == (low, np.argmax(level.mean(0) >= 0.5), high)
    assert low < found.value[0] < high
    np.testing.assert_allclose(found.stderr, (high - low) / (2 * 2.0452), rtol=1e-4)


def test_relative_error_of_what_is_exactly_zero():
    """Zero with no error is known exactly; zero with one is not known at all."""
    zeros = np.zeros((4, 1, 3))
    assert jackknife.interval(gathered(zeros), lambda maps: maps.sum(1), zeros[0]).relative == 0
    values = np.array([1.0, -1.0, 1.0, -1.0])[:, None, None]
    assert jackknife.interval(gathered(values), lambda maps: maps.sum(1), np.zeros((1, 1))).relative == np.inf


def test_what_measures_say_of_their_errors():
    """Every declaration is one of the known kinds, and what has no interval has a reason that is a sentence."""
    for name in measures:
        declared = getattr(measures[name], "uncertainty", Uncertainty())
        for known in declared.values() if isinstance(declared, dict) else [declared]:
            assert known.scale in SCALES
            assert str(known).endswith(".")
    assert uncertainty_of("radial", "mean").scale == "log"
    assert uncertainty_of("radial", "positions") == Uncertainty()


def test_refusals_and_print(values):
    """Levels outside (0, 1), a single block, and how an interval reads."""
    found = gathered(values / values.sum((2, 3), keepdims=True))
    for level in (0, 1, 95, np.nan):
        with pytest.raises(InputError, match=f"A level of {level} was asked for"):
            jackknife.interval(found, lambda maps: maps, values.mean(0), level=level)
    with pytest.raises(InputError, match="An interval over images needs at least two of them, and there is 1"):
        jackknife.interval(gathered(values[:1]), lambda maps: maps, values[0], over="images")
    shown = repr(jackknife.interval(found, lambda maps: maps[:, 0, 0] * 0 + 2, values.mean(0)))
    assert shown == "2 ± 0 (2 to 2), 2 ± 0 (2 to 2), 95% over 20 blocks of seeds"
    none = jackknife.interval(found, lambda maps: maps[:, 0, 0], values.mean(0), known=Uncertainty(missing="so it is."))
    assert repr(none).endswith("(not known), 95% over 20 blocks of seeds; no interval: so it is.")
