"""Linear random stacks against their exact law: maps, widths, and how often the intervals are right.

The expected square map of a linear stack with independent weights of mean zero is the n-fold convolution of a box
(Luo et al., 2016, section 2.2). Networks have 32 channels: with one, the tails are too heavy to be tested.
"""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.statistics import gathered, jackknife
from jaxrf.statistics.measures import measures
from tests.statistics.random_stacks import box, maps


def summary_of(samples: np.ndarray) -> gathered.Summary:
    """Networks (count, *spatial) as seeds of one image."""
    result = gathered.init((1, *samples.shape[1:]))
    for seed, sample in enumerate(samples):
        result = gathered.update(result, sample[None, None], seed, [0])
    return gathered.finalize(result)


def interval_of(name: str, summary: gathered.Summary) -> jackknife.Interval:
    """For one unit; the first axis where there are several numbers."""
    center = (np.array(summary.mean.shape[1:]) - 1) / 2

    def measured(erf_maps: np.ndarray) -> np.ndarray:
        return measures[name](erf_maps, center=center).reshape(1, -1)[:, 0]

    return jackknife.interval(summary.groups["seeds"], measured, summary.mean)


def exact(name: str, erf_map: np.ndarray) -> float:
    center = (np.array(erf_map.shape) - 1) / 2
    return float(np.ravel(measures[name](erf_map, center=center))[0])


@pytest.mark.slow
def test_forty_layers_have_the_width_of_the_box():
    """At depth 40 the total of a sample is heavy-tailed, and sigma is still within 4 standard errors, to 0.4 %."""
    rng = np.random.default_rng(40)
    summary = summary_of(np.concatenate([maps(rng, 10, 40) for _ in range(15)]))
    found = interval_of("sigma", summary)
    assert abs(found.value[0] - exact("sigma", box(40))) < 4 * found.stderr[0]
    assert found.relative[0] < 0.004


@pytest.mark.parametrize(("depth", "count"), [(5, 400), (10, 300), (20, 150)])
def test_random_stacks_are_boxes(depth, count):
    """Total and sigma lie within 4 standard errors of the box's, sigma to 0.4 %, and few positions beyond z = 3."""
    rng = np.random.default_rng(depth)
    summary = summary_of(np.concatenate([maps(rng, 25, depth) for _ in range(count // 25)]))
    expected = box(depth)
    for name in ("total", "sigma"):
        found = interval_of(name, summary)
        assert abs(found.value[0] - exact(name, expected)) < 4 * found.stderr[0]
    assert found.relative[0] < 0.004
    bright = expected > 1e-3 * expected.max()
    z = (summary.mean[0] - expected)[bright] / summary.stderr[0][bright]
    assert np.mean(abs(z) > 3) <= 0.02
    assert summary.effective[0] > 0.8 * count


@pytest.mark.slow
def test_intervals_hold_what_they_promise():
    """Of 400 intervals from 64 networks each, 91 to 98 % hold the exact peak, total and sigma."""
    names, expected = ("peak", "total", "sigma"), box(5, d=1)
    held = dict.fromkeys(names, 0)
    for repetition in range(400):
        rng = np.random.default_rng([7, repetition])
        summary = summary_of(maps(rng, 64, 5, d=1))
        for name in names:
            found = interval_of(name, summary)
            held[name] += bool(found.low[0] <= exact(name, expected) <= found.high[0])
    assert all(0.91 <= n / 400 <= 0.98 for n in held.values()), held


def test_one_channel_is_worth_few_samples():
    """A product of 20 scalar weights has such tails that a thousand samples are worth fewer than thirty."""
    rng = np.random.default_rng(0)
    power = np.square(rng.standard_normal((1000, 20))).prod(1)
    summary = summary_of(power[:, None])
    assert summary.effective[0] < 30
