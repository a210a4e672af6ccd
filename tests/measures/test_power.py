"""Measures that need the whole image or the scale: windows, masses within radii, sums and peaks."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.errors import InputError
from jaxrf.statistics.measures import measures


def test_replknet_ratio_of_a_window_is_that_of_the_image():
    """Squares lie about the middle of the image, also where the map is a window that does not hold it."""
    rng = np.random.default_rng(0)
    window = rng.random((2, 9, 8)) * 50
    origin = np.array([[3, 1], [10, 14]])
    image = np.zeros((2, 24, 26))
    for whole, part, (y, x) in zip(image, window, origin, strict=True):
        whole[y : y + 9, x : x + 8] = part
    ratio = measures["area_ratio_replknet2022"]
    for share in (0.05, 0.3, 0.9):
        found = ratio(window, share, center=np.array([4.0, 4.0]), origin=origin, input_shape=(24, 26))
        np.testing.assert_array_equal(found, ratio(image, share, center=np.array([12.0, 13.0])))
        np.testing.assert_array_equal(found, [_by_loop(m, share) for m in image])


def _by_loop(image: np.ndarray, share: float) -> float:
    """The growing square as one would write it."""
    image = np.log10(image + 1)
    (h, w), total = image.shape, image.sum()
    for i in range(1, min(h, w) // 2):
        if image[h // 2 - i : h // 2 + i + 1, w // 2 - i : w // 2 + i + 1].sum() > share * total:
            return (2 * i + 1) ** 2 / (h * w)
    return np.nan


def test_mass_within_a_radius():
    """A disk of radius 1 about a position has five, one about a corner between four has four at distance 0.71."""
    flat = np.ones((5, 8))
    within = measures["energy_within"]
    assert within(flat, 1, center=np.array([2.0, 3.0])) == pytest.approx(5 / 40)
    assert within(flat, 0.71, center=np.array([2.5, 3.5])) == pytest.approx(4 / 40)
    assert within(flat, 99, center=np.array([2.0, 3.0])) == pytest.approx(1)
    with pytest.raises(InputError, match="A radius of -1 was asked for"):
        within(flat, -1, center=np.array([2.0, 3.0]))


def test_total_and_peak_keep_the_scale():
    """Both scale with the map, per unit."""
    maps = np.random.default_rng(1).random((2, 5, 7)) * np.array([1e-20, 1e20])[:, None, None]
    np.testing.assert_allclose(measures["total"](maps, center=np.zeros(2)), maps.sum((1, 2)), rtol=1e-12)
    np.testing.assert_allclose(measures["peak"](maps, center=np.zeros(2)), maps.max((1, 2)), rtol=1e-12)
