"""Gathered samples: the laws of merging, crossed factors, both averages, dead and non-finite maps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.statistics import effective_sample_size, gathered
from jaxrf.statistics.gathered import Gathered, Summary

SEEDS, IMAGES, SHAPE = 5, 4, (3, 5, 7)


@pytest.fixture
def maps() -> np.ndarray:
    """(seed, image, unit, y, x)."""
    return np.random.default_rng(0).lognormal(sigma=1.5, size=(SEEDS, IMAGES, *SHAPE))


def run(maps: np.ndarray, average: str = "weighted", cells=None) -> Gathered:
    """Gathered sample by sample, all cells or those given."""
    found = gathered.init(maps.shape[2:], average)
    for seed, image in np.ndindex(*maps.shape[:2]) if cells is None else cells:
        found = gathered.update(found, maps[seed, image][None], seed, [image])
    return found


def assert_same(a: Gathered, b: Gathered, tolerance: float = 1e-12):
    first, second = gathered.finalize(a), gathered.finalize(b)
    for name in ("mean", "stderr", "between", "within", "effective"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=tolerance, atol=1e-13)
    for name in ("seeds", "images"):
        np.testing.assert_allclose(getattr(a, name).totals(), getattr(b, name).totals(), rtol=tolerance)
    assert a.count == b.count


def anova(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean squares of seeds, images and the rest of a full table, by the book."""
    s, i = maps.shape[:2]
    mean = maps.mean((0, 1))
    of_seeds, of_images = maps.mean(1), maps.mean(0)
    rest = maps - of_seeds[:, None] - of_images[None] + mean
    return (
        i * np.square(of_seeds - mean).sum(0) / (s - 1),
        s * np.square(of_images - mean).sum(0) / (i - 1),
        np.square(rest).sum((0, 1)) / ((s - 1) * (i - 1)),
    )


@pytest.mark.parametrize("average", ["weighted", "normalized"])
def test_any_split_and_order_gives_the_same(maps, average):
    """Batches of images, single samples, and parts merged in any order agree to 1e-12."""
    whole = run(maps, average)
    batches = gathered.init(SHAPE, average)
    for seed in range(SEEDS):
        batches = gathered.update(batches, maps[seed], seed, range(IMAGES))
    assert_same(batches, whole)
    cells = np.random.default_rng(1).permutation(list(np.ndindex(SEEDS, IMAGES)))
    for cut in (0, 1, 9, 20):
        parts = run(maps, average, cells[:cut]), run(maps, average, cells[cut:])
        assert_same(gathered.merge(*parts), whole)
        assert_same(gathered.merge(*reversed(parts)), whole)


def test_merge_is_associative(maps):
    """(a b) c equals a (b c)."""
    cells = list(np.ndindex(SEEDS, IMAGES))
    a, b, c = (run(maps, cells=part) for part in (cells[:3], cells[3:14], cells[14:]))
    assert_same(gathered.merge(gathered.merge(a, b), c), gathered.merge(a, gathered.merge(b, c)))


def test_one_factor_gives_the_error_of_independent_samples(maps):
    """With one image or one seed, stderr is std / sqrt(n) over the samples."""
    for part in (maps[:, :1], maps[:1]):
        n = part.shape[0] * part.shape[1]
        flat = part.reshape(n, *SHAPE)
        summary = gathered.finalize(run(part))
        np.testing.assert_allclose(summary.mean, flat.mean(0), rtol=1e-12)
        np.testing.assert_allclose(summary.stderr, flat.std(0, ddof=1) / np.sqrt(n), rtol=1e-12)
        assert np.isnan(summary.between).all()
    np.testing.assert_allclose(summary.within, flat.var(0, ddof=1), rtol=1e-12)
    assert np.isnan(gathered.finalize(run(maps[:, :1])).within).all()


def test_crossed_errors_are_those_of_the_analysis_of_variance(maps):
    """Variances between and within seeds, and the error of the mean, from the mean squares of the full table."""
    summary = gathered.finalize(run(maps))
    by_seed, by_image, rest = anova(maps)
    n = SEEDS * IMAGES
    np.testing.assert_allclose(summary.between, np.maximum(by_seed - rest, 0) / IMAGES, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(summary.within, np.maximum(by_image - rest, 0) / SEEDS + rest, rtol=1e-9)
    expected = np.maximum(by_seed + by_image - rest, rest) / n
    np.testing.assert_allclose(summary.stderr, np.sqrt(expected), rtol=1e-9)


@pytest.mark.parametrize("spread", [(1.0, 0.0), (0.0, 1.0), (1.0, 0.5), (0.0, 0.0)])
def test_crossed_errors_are_right_on_average(spread):
    """The squared error equals the variance of the mean over repeated experiments, where naive ones are far off.

    Where neither factor matters it is above, by half in a table as small as this, since it never goes below the rest's.
    """
    rng = np.random.default_rng(3)
    s, i, positions = 6, 5, 20_000
    of_seeds = spread[0] * rng.standard_normal((s, 1, 1, positions))
    of_images = spread[1] * rng.standard_normal((1, i, 1, positions))
    table = of_seeds + of_images + 0.7 * rng.standard_normal((s, i, 1, positions))
    summary = gathered.finalize(run(table))
    true = spread[0] ** 2 / s + spread[1] ** 2 / i + 0.49 / (s * i)
    assert np.var(summary.mean) == pytest.approx(true, rel=0.05)
    found = np.mean(np.square(summary.stderr))
    assert found == pytest.approx(true, rel=0.12) if max(spread) else true < found < 1.5 * true
    assert np.mean(summary.between) == pytest.approx(spread[0] ** 2, abs=0.05)
    assert np.mean(summary.within) == pytest.approx(spread[1] ** 2 + 0.49, abs=0.05)
    naive = np.mean(table.reshape(s * i, positions).var(0, ddof=1) / (s * i))
    assert (naive < true / 2) == (max(spread) > 0)


def test_normalized_average(maps):
    """Each map is divided by its sum first; a map of zeros has no shape and stays out, but counts as a sample."""
    maps[1, 2, 0] = 0
    found = run(maps, "normalized")
    summary = gathered.finalize(found)
    flat = maps.reshape(-1, *SHAPE)
    shares = flat[:, 1:] / flat[:, 1:].sum((2, 3), keepdims=True)
    np.testing.assert_allclose(summary.mean[1:], shares.mean(0), rtol=1e-12)
    np.testing.assert_allclose(summary.mean.sum((1, 2)), 1, rtol=1e-12)
    assert (summary.count, summary.dead) == (SEEDS * IMAGES, 1)
    np.testing.assert_array_equal(found.samples.count.ravel(), [19, 20, 20])


def test_a_unit_that_is_always_dead():
    """Its weighted mean is zero, its normalized one has nothing to average; neither harms the neighbor."""
    maps = np.random.default_rng(2).random((3, 2, 2, 5, 7))
    maps[:, :, 0] = 0
    weighted, normalized = (gathered.finalize(run(maps, average)) for average in ("weighted", "normalized"))
    assert (weighted.mean[0] == 0).all() and (weighted.stderr[0] == 0).all()
    assert np.isnan(weighted.effective[0]) and weighted.effective[1] > 1
    assert np.isnan(normalized.mean[0]).all()
    assert weighted.dead == normalized.dead == 6
    assert np.isfinite(normalized.stderr[1]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("average", ["weighted", "normalized"])
def test_non_finite_samples_are_counted_and_seen(maps, average, bad):
    """A NaN or an infinity is counted, is not dropped from the mean, and harms no other unit."""
    maps[2, 1, 0, 3, 3] = bad
    with np.errstate(invalid="ignore"):
        summary = gathered.finalize(run(maps, average))
    assert summary.nonfinite == 1
    assert not np.isfinite(summary.mean[0, 3, 3])
    assert np.isfinite(summary.mean[1:]).all() and np.isfinite(summary.stderr[1:]).all()


def test_powers_far_apart_do_not_break_the_normalized_average():
    """Maps of 1e300 and 1e-300 have shapes as others do."""
    maps = np.array([1e300, 1e-300])[:, None, None, None, None] * np.array([[1.0, 3.0]])
    np.testing.assert_allclose(gathered.finalize(run(maps, "normalized")).mean, [[[0.25, 0.75]]], rtol=1e-12)


def test_effective_sample_size_extremes():
    """Equal powers are worth their count, one strong seed is worth one, and images of one seed do not add."""
    powers = np.array([[2.0, 5.0, 0.0], [2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])  # (seed, unit)
    maps = np.repeat(powers[:, None, :, None], 4, 1)
    found = run(maps)
    np.testing.assert_allclose(effective_sample_size(found.seeds), [3, 1, np.nan])
    np.testing.assert_allclose(gathered.finalize(found).effective, [3, 1, np.nan])
    np.testing.assert_allclose(gathered.finalize(run(maps[:1])).effective[:1], [4])


def test_effective_sample_size_from_blocks():
    """Where seeds share blocks, the size is that of the seeds, to 10 %, and not of the blocks."""
    powers = np.random.default_rng(5).gamma(2.0, size=2048)
    found = run(powers[:, None, None, None])
    assert len(found.seeds.blocks) == 64
    assert gathered.finalize(found).effective[0] == pytest.approx(powers.sum() ** 2 / (powers**2).sum(), rel=0.1)


def test_blocks_follow_the_memory():
    """Large maps get fewer blocks, but never fewer than eight."""
    assert gathered.init((1, 10, 10)).seeds.limit == 64
    assert gathered.init((10, 100, 100), memory=2**25).seeds.limit == 16
    assert gathered.init((1000, 100, 100), memory=2**20).seeds.limit == 8


def test_a_thousand_updates_do_not_drift():
    """One by one or at once, sums and squares agree to 1e-12."""
    values = np.random.default_rng(1).lognormal(size=(1, 1000, 1, 2))
    assert_same(run(values), gathered.update(gathered.init((1, 2)), values[0], 0, range(1000)))


def test_what_does_not_fit_is_named(maps):
    """Unknown averages, numbers that do not match the maps, other averages, and nothing at all."""
    with pytest.raises(UnknownNameError, match=r"Unknown average 'normalised'.*Did you mean 'normalized'"):
        run(maps, "normalised")
    with pytest.raises(InputError, match="4 maps came with 3 numbers of images"):
        gathered.update(gathered.init(SHAPE), maps[0], 0, [0, 1, 2])
    with pytest.raises(InputError, match="of the weighted and of the normalized average cannot be merged"):
        gathered.merge(run(maps), run(maps, "normalized"))
    with pytest.raises(InputError, match="There are no samples"):
        gathered.finalize(gathered.init(SHAPE))


def test_summary_has_what_a_result_takes(maps):
    """Every field of a summary but the sums is an option of a result by the same name."""
    from jaxrf.results.result import Result

    taken = {field.name for field in dataclasses.fields(Result)}
    assert {field.name for field in dataclasses.fields(Summary)} <= taken
