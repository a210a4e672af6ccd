"""Published numbers: exact maps of linear stacks, after Luo et al. (2016)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jaxrf.statistics.measures import measures

ORACLES = json.loads((Path(__file__).parents[1] / "data" / "luo_oracles.json").read_text())


def stack_map(depth: int) -> np.ndarray:
    """The ERF map of `depth` 3x3 convolutions with uniform weights: the n-fold convolution of a box."""
    line = np.ones(1)
    for _ in range(depth):
        line = np.convolve(line, np.ones(3) / 3)
    return np.outer(line, line)


def center_of(erf_map: np.ndarray) -> np.ndarray:
    return (np.array(erf_map.shape) - 1) / 2


@pytest.mark.parametrize("depth", [5, 10, 20, 40])
def test_sizes_and_sigma_of_stacks(depth):
    """Luo's size to 0.02 for the map and for its root, and sigma, as published."""
    expected = ORACLES["stack_3x3"][str(depth)]
    erf_map = stack_map(depth)
    size = measures["size_luo2016"]
    assert erf_map.shape == (expected["trf"],) * 2
    assert size(erf_map, center=center_of(erf_map)) == pytest.approx(expected["luo_size_uniform"], abs=0.02)
    assert size(np.sqrt(erf_map), center=center_of(erf_map)) == pytest.approx(
        expected["luo_size_rms_of_random_weights"], abs=0.02
    )
    sigma = measures["sigma"](erf_map, center=center_of(erf_map))
    np.testing.assert_allclose(sigma, expected["sigma_uniform_and_expected_square"], atol=1e-4)


def test_slopes_over_depth():
    """Over every depth from 5 to 40, size and ratio have the published log-log slopes, to 0.001."""
    depths = range(5, 41)
    maps = [stack_map(n) for n in depths]
    for label, transform in (("uniform", lambda m: m), ("rms", np.sqrt)):
        boxes = [np.array([[0, n] for n in m.shape]) for m in maps]
        sizes = [measures["size_luo2016"](transform(m), center=center_of(m)) for m in maps]
        ratios = [
            measures["ratio_luo2016"](transform(m), center=center_of(m), box=box)
            for m, box in zip(maps, boxes, strict=True)
        ]
        for name, values in (("size", sizes), ("ratio", ratios)):
            slope = np.polyfit(np.log(depths), np.log(values), 1)[0]
            assert slope == pytest.approx(ORACLES["log_log_slopes_n_5_to_40"][f"{name}_{label}"], abs=0.001)


def test_size_of_a_gaussian_is_a_disk_of_2_49_sigma():
    """The docstring's 2.49 sigma: the size is the root of that disk's area."""
    y, x = np.mgrid[-150:151, -150:151]
    size = measures["size_luo2016"](np.exp(-(y**2 + x**2) / (2 * 25**2)), center=np.array([150, 150]))
    assert size == pytest.approx(np.sqrt(np.pi) * 2.4862 * 25, rel=2e-3)
