"""The laws of mergeable moments: identity, associativity, any split, no drift."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jaxrf.errors import InputError
from jaxrf.statistics import moments

SHAPE = (3, 5, 7)


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(0).lognormal(sigma=2, size=(23, *SHAPE))


def assert_same(a: moments.Moments, b: moments.Moments, tolerance: float = 1e-12):
    np.testing.assert_array_equal(a.count, b.count)
    np.testing.assert_allclose(a.mean, b.mean, rtol=tolerance)
    np.testing.assert_allclose(a.m2, b.m2, rtol=tolerance)


def gathered(maps: np.ndarray, keep: np.ndarray | None = None) -> moments.Moments:
    return moments.update(moments.init(maps.shape[1:]), maps, keep)


def test_finalize_is_numpys_mean_and_standard_error(maps):
    """Mean and stderr equal numpy's with ddof=1 over the square root of the count."""
    mean, stderr = moments.finalize(gathered(maps))
    np.testing.assert_allclose(mean, maps.mean(0), rtol=1e-13)
    np.testing.assert_allclose(stderr, maps.std(0, ddof=1) / np.sqrt(23), rtol=1e-12)


def test_init_is_the_identity_bit_by_bit(maps):
    """Merging with no samples, on either side, changes no bit."""
    full, empty = gathered(maps), moments.init(SHAPE)
    for merged in (moments.merge(full, empty), moments.merge(empty, full)):
        assert_same(merged, full, tolerance=0)


def test_merge_is_associative(maps):
    """(a b) c equals a (b c)."""
    a, b, c = (gathered(part) for part in np.split(maps, [2, 11]))
    assert_same(moments.merge(moments.merge(a, b), c), moments.merge(a, moments.merge(b, c)))


@pytest.mark.parametrize("cuts", [[], [1], [22], [4, 4, 9], list(range(1, 23))])
def test_any_split_gives_the_same(maps, cuts):
    """One batch, empty batches and single samples all agree to 1e-12."""
    parts = [gathered(part) for part in np.split(maps, cuts)]
    merged = moments.init(SHAPE)
    for part in parts:
        merged = moments.merge(merged, part)
    assert_same(merged, gathered(maps))


def test_a_large_mean_costs_no_variance():
    """The variance of 1e9 + {0, 1, 2} is that of {0, 1, 2}, in one batch and one by one."""
    values = 1e9 + np.arange(3.0)
    one_by_one = moments.init(())
    for value in values:
        one_by_one = moments.update(one_by_one, value[None])
    for m in (gathered(values), one_by_one):
        assert float(m.m2) == pytest.approx(2.0, rel=1e-9)


def test_many_updates_do_not_drift():
    """A hundred thousand single updates agree with one batch to 1e-12."""
    values = np.random.default_rng(1).lognormal(size=100_000)
    m = moments.init(())
    for value in values[:, None]:
        m = moments.merge(m, moments.Moments(np.int64(1), value[0], np.float64(0)))
    assert_same(m, gathered(values))


@pytest.mark.slow
def test_a_million_updates_do_not_drift():
    """A million single samples, added one by one far from zero, have the mean and variance of exact sums, to 1e-12."""
    values = 1000 + np.random.default_rng(2).lognormal(size=1_000_000)
    m, one, nothing = moments.init(()), np.int64(1), np.float64(0)
    for value in values:
        m = moments.merge(m, moments.Moments(one, value, nothing))
    mean = math.fsum(values) / len(values)
    assert int(m.count) == len(values)
    assert float(m.mean) == pytest.approx(mean, rel=1e-12)
    assert float(m.m2) == pytest.approx(math.fsum(np.square(values - mean)), rel=1e-12)


def test_keep_leaves_samples_out_per_unit(maps):
    """Samples not kept count nowhere, NaN among them, and each unit has its own count."""
    keep = np.random.default_rng(2).random((23, 3)) < 0.6
    maps[~keep] = np.nan
    m = gathered(maps, keep)
    mean, stderr = moments.finalize(m)
    np.testing.assert_array_equal(m.count.ravel(), keep.sum(0))
    for unit in range(3):
        kept = maps[keep[:, unit], unit]
        np.testing.assert_allclose(mean[unit], kept.mean(0), rtol=1e-12)
        np.testing.assert_allclose(stderr[unit], kept.std(0, ddof=1) / np.sqrt(len(kept)), rtol=1e-12)


def test_stderr_needs_two_samples_and_mean_one(maps):
    """Below two samples the standard error is NaN, without any the mean too."""
    mean, stderr = moments.finalize(gathered(maps[:1]))
    np.testing.assert_array_equal(mean, maps[0])
    assert np.isnan(stderr).all()
    assert np.isnan(moments.finalize(moments.init(SHAPE))[0]).all()


def test_shapes_that_do_not_fit_are_named(maps):
    """Wrong samples, keeps and partners raise with both shapes."""
    m = gathered(maps)
    with pytest.raises(InputError, match=r"Samples of shape \(5, 7\) cannot be added to moments of shape \(3, 5, 7\)"):
        moments.update(m, maps[:, 0])
    with pytest.raises(InputError, match=r"keep has shape \(22,\)"):
        moments.update(m, maps, np.ones(22, bool))
    with pytest.raises(InputError, match=r"shapes \(3, 5, 7\) and \(2,\) cannot be merged"):
        moments.merge(m, moments.init((2,)))


def test_repr_says_count_and_shape(maps):
    """A Moments prints in one line."""
    assert repr(gathered(maps)) == "Moments(count=23, shape=(3, 5, 7))"
    assert "count=1..2" in repr(gathered(maps[:2], np.array([[True, True, True], [False, True, True]])))
