"""Every registered measure on zero, flat and one-pixel maps, and under laws that all of them keep."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.statistics.measures import measures
from jaxrf.statistics.measures.registry import parts_of

SHAPE = (5, 7)
CENTER = np.array([2.0, 3.0])
DISTANCE2 = np.square(np.arange(5) - 2)[:, None] + np.square(np.arange(7) - 3)
BOX = np.array([[0, 5], [0, 7]])
NEEDS_BOX = ("coverage", "ratio_luo2016")
OWN_SCALE = ("radial", "axial")
SCALE_DEPENDENT = ("area_ratio_replknet2022", "peak", "total")

FLAT = {
    "anisotropy": np.sqrt(48 / 24),
    "area_ratio": 25 / 35,
    "area_ratio_replknet2022": np.nan,
    "axial": [1] * 7,
    "border_power": 20 / 35,
    "center_offset": [0, 0],
    "covariance": [[2, 0], [0, 4]],
    "coverage": 1,
    "energy_radius": np.sqrt(5),
    "energy_within": 1,
    "energy_within_soft": np.mean(1 / (1 + np.exp((DISTANCE2 - 400) / 40))),
    "entropy_positions": 35,
    "gaussian": [np.sqrt(2), 2],
    "kurtosis": [-6 * 26 / (5 * 24), -6 * 50 / (5 * 48)],
    "orientation": [0, 1],
    "participation": 35,
    "peak": 1,
    "radial": [1, 1, 1, 1, 1],
    "ratio_luo2016": 1,
    "sigma": [np.sqrt(2), 2],
    "size_half_width": [5, 7],
    "size_luo2016": np.sqrt(35),
    "smallest_area": 18,
    "total": 35,
    "unevenness": 0,
    "dark_phases": 0,
}
PIXEL = {
    "anisotropy": np.nan,
    "area_ratio": 1 / 35,
    "area_ratio_replknet2022": 9 / 35,
    "axial": [0, 0, 0, 1, 0, 0, 0],
    "border_power": 0,
    "center_offset": [0, 0],
    "covariance": np.zeros((2, 2)),
    "coverage": 1 / 35,
    "energy_radius": 0,
    "energy_within": 1,
    "energy_within_soft": 1 / (1 + np.exp(-10)),
    "entropy_positions": 1,
    "gaussian": [0, 0],
    "kurtosis": [np.nan, np.nan],
    "orientation": [np.nan, np.nan],
    "participation": 1,
    "peak": 1,
    "radial": [1, 0, 0, 0, 0],
    "ratio_luo2016": 1 / np.sqrt(35),
    "sigma": [0, 0],
    "size_half_width": [1, 1],
    "size_luo2016": 1,
    "smallest_area": 1,
    "total": 1,
    "unevenness": np.sqrt(3),
    "dark_phases": 0.75,
}


def measure(name: str, maps: np.ndarray, center=CENTER, box=BOX):
    return measures[name](maps, center=center, **({"box": box} if name in NEEDS_BOX else {}))


def numbers(value) -> list[np.ndarray]:
    """All float arrays of what a measure returns."""
    if parts_of(value):
        parts = [np.asarray(part) for part in value]
        return [part for part in parts if part.dtype.kind == "f"]
    return [np.asarray(value)]


def main_number(value):
    """The array that the tables above hold for a measure."""
    for attribute in ("sigma", "mean", "value"):
        if parts_of(value) and hasattr(value, attribute):
            return getattr(value, attribute)
    return value


def lone_pixel() -> np.ndarray:
    pixel = np.zeros(SHAPE)
    pixel[2, 3] = 1
    return pixel


def test_the_tables_cover_every_measure():
    """A new measure must say what it gives on flat and one-pixel maps."""
    assert set(FLAT) == set(PIXEL) == set(measures)


@pytest.mark.parametrize("name", list(measures))
def test_flat_map(name):
    """What each measure documents for a flat map."""
    np.testing.assert_allclose(main_number(measure(name, np.ones(SHAPE))), FLAT[name], atol=1e-9)


@pytest.mark.parametrize("name", list(measures))
def test_one_pixel_map(name):
    """What each measure documents for a single pixel at the center."""
    np.testing.assert_allclose(main_number(measure(name, lone_pixel())), PIXEL[name], atol=1e-9)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("name", [name for name in measures if name not in OWN_SCALE])
def test_maps_without_a_field_are_nan_and_harm_no_neighbor(name, bad):
    """A zero or non-finite map gives NaN in every number, and the map beside it what it gives alone."""
    good = np.random.default_rng(0).random(SHAPE)
    dead = np.zeros(SHAPE) if bad == 0 else np.where(lone_pixel() > 0, bad, good)
    together = measure(name, np.stack([dead, good]))
    for pair, alone in zip(numbers(together), numbers(measure(name, good)), strict=True):
        assert np.isnan(pair[0]).all()
        np.testing.assert_array_equal(pair[1], alone)


@pytest.mark.parametrize("name", OWN_SCALE)
def test_profiles_of_a_zero_map_are_zero(name):
    """Curves keep the scale of the map."""
    assert (main_number(measure(name, np.zeros(SHAPE))) == 0).all()


@pytest.mark.parametrize("name", list(measures))
@pytest.mark.parametrize("d", [1, 2, 3])
def test_leading_axes_and_any_dimension(name, d):
    """Measures of a stack are the stack of measures, in one, two and three dimensions."""
    shape = (5, 7, 4)[:d]
    maps = np.random.default_rng(d).random((2, 3, *shape))
    center = np.random.default_rng(9).integers(2, 5, (2, 3, d)) / 2
    box = np.array([[0, n] for n in shape])
    together = numbers(measure(name, maps, center, box))
    for i, j in np.ndindex(2, 3):
        alone = numbers(measure(name, maps[i, j], center[i, j], box))
        for stack, single in zip(together, alone, strict=True):
            part = np.asarray(stack if name == "radial" and stack.ndim == 1 else stack[i, j])
            if name == "radial":  # another unit of the stack may have more rings
                part = part[: len(single)]
            np.testing.assert_allclose(part, single, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("power", [1e-280, 1e280])
@pytest.mark.parametrize("name", [name for name in measures if name not in (*OWN_SCALE, *SCALE_DEPENDENT, "gaussian")])
def test_scale_does_not_matter(name, power):
    """Scaling a map by any power of ten, far beyond where squares underflow, changes no measure."""
    maps = np.random.default_rng(3).random(SHAPE)
    np.testing.assert_allclose(measure(name, maps * power), measure(name, maps), rtol=1e-9)


@pytest.mark.parametrize("name", list(measures))
def test_bad_maps_are_refused(name):
    """Negative entries, too few axes and no positions raise with what was found."""
    with pytest.raises(InputError, match="go down to -2"):
        measure(name, np.full(SHAPE, -2.0))
    with pytest.raises(InputError, match=r"shape \(5,\) do not fit a center of shape \(2,\)"):
        measure(name, np.ones(5))
    with pytest.raises(InputError, match="have no positions"):
        measure(name, np.ones((0, 7)))


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, np.nan])
@pytest.mark.parametrize("name", ["area_ratio", "area_ratio_replknet2022", "energy_radius", "smallest_area"])
def test_shares_outside_are_refused(name, share):
    """Shares are in (0, 1]."""
    with pytest.raises(InputError, match=r"Shares are fractions in \(0, 1\]"):
        measures[name](np.ones(SHAPE), share, center=CENTER)


def test_unknown_measure_names_the_nearest():
    """A misspelled measure is answered with the known ones."""
    with pytest.raises(UnknownNameError, match=r"Unknown measure 'sigmaa'.*Did you mean 'sigma'"):
        measures["sigmaa"]
