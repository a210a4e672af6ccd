"""Intervals: the jackknife of a mean, of unequal blocks, of smooth functions; what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.errors import InputError
from jaxrf.statistics import Groups, groups, jackknife, measures
from jaxrf.statistics.groups import Block
from jaxrf.statistics.measures.registry import is_step_function


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
    """For the map itself, the jackknife is std / sqrt(n), and the interval Student's."""
    found = jackknife.interval(gathered(values), lambda maps: maps, values.mean(0))
    stderr = values.std(0, ddof=1) / np.sqrt(20)
    np.testing.assert_allclose(found.stderr, stderr, rtol=1e-9)
    np.testing.assert_allclose(found.high - found.value, 2.093024 * stderr, rtol=1e-6)
    np.testing.assert_allclose(found.value - found.low, found.high - found.value, rtol=1e-9)
    assert (found.blocks, found.level) == (20, 0.95)


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
    first, second = (jackknife.interval(gathered(x), lambda maps: maps, x.mean(0)) for x in (a, b))
    found = jackknife.difference(first, second)
    expected = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose([found.low[0], found.high[0]], [expected.low, expected.high], rtol=1e-6)


def test_relative_error_of_what_is_exactly_zero():
    """Zero with no error is known exactly; zero with one is not known at all."""
    zeros = np.zeros((4, 1, 3))
    assert jackknife.interval(gathered(zeros), lambda maps: maps.sum(1), zeros[0]).relative == 0
    values = np.array([1.0, -1.0, 1.0, -1.0])[:, None, None]
    assert jackknife.interval(gathered(values), lambda maps: maps.sum(1), np.zeros((1, 1))).relative == np.inf


def test_step_functions_are_known():
    """Exactly those measures that compare entries or sums with a threshold are marked."""
    assert {name for name in measures if is_step_function(name)} == {
        "area_ratio", "area_ratio_replknet2022", "coverage", "energy_radius", "ratio_luo2016", "size_luo2016",
        "smallest_area",
    }  # fmt: skip


def test_refusals_and_print(values):
    """Levels outside (0, 1), a single block, and how an interval reads."""
    found = gathered(values)
    for level in (0, 1, 95, np.nan):
        with pytest.raises(InputError, match=f"A level of {level} was asked for"):
            jackknife.interval(found, lambda maps: maps, values.mean(0), level=level)
    with pytest.raises(InputError, match="An interval over images needs at least two of them, and there is 1"):
        jackknife.interval(gathered(values[:1]), lambda maps: maps, values[0], over="images")
    shown = repr(jackknife.interval(found, lambda maps: maps[:, 0, 0] * 0 + 2, values.mean(0), approximate=True))
    assert shown == "about 2 ± 0 (2 to 2), about 2 ± 0 (2 to 2), 95% over 20 blocks of seeds"
