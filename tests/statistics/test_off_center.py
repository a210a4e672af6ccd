"""Measures of maps whose mass lies beside the unit: what is about the unit, and what is about the mass."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.statistics import measures

MASS = np.array([14.0, 31.0])
UNIT = np.array([20.0, 22.5])
SHAPE = (41, 57)


def bell(covariance, mean=MASS, shape=SHAPE) -> np.ndarray:
    relative = np.stack(np.indices(shape), -1) - mean
    return np.exp(-np.einsum("...i,ij,...j->...", relative, np.linalg.inv(covariance), relative) / 2)


TILTED = np.array([[6.0, 3.0], [3.0, 14.0]])


@pytest.mark.parametrize("name", ["covariance", "sigma", "anisotropy", "orientation", "participation", "entropy_positions"])
def test_width_and_direction_are_about_the_mass(name):
    """The unit's center does not enter them, however far from the mass it lies."""
    expected = measures[name](bell(TILTED), center=MASS)
    np.testing.assert_allclose(measures[name](bell(TILTED), center=UNIT), expected, rtol=1e-9)
    if name == "sigma":
        np.testing.assert_allclose(expected, np.sqrt([6, 14]), rtol=1e-3)


def test_the_fit_is_about_the_mass():
    """Mean, covariance, residual and excess kurtosis of a Gaussian are its own, seen from a unit beside it."""
    fit = measures["gaussian"](bell(TILTED), center=UNIT)
    np.testing.assert_allclose(fit.mean, MASS, atol=1e-6)
    np.testing.assert_allclose(fit.covariance, TILTED, rtol=1e-6)
    np.testing.assert_allclose(fit.kurtosis, [0, 0], atol=0.02)
    flat = np.zeros(SHAPE)
    flat[10:19, 27:36] = 1
    exact = 3 * (3 * 9**2 - 7) / (5 * (9**2 - 1)) - 3  # of nine equal positions
    np.testing.assert_allclose(measures["gaussian"](flat, center=UNIT).kurtosis, [exact, exact], rtol=1e-9)


def test_distances_are_from_the_unit():
    """The disk, the square and the offset are about the unit's center; a single pixel says how far it lies."""
    pixel = np.zeros(SHAPE)
    pixel[14, 31] = 5
    assert measures["energy_radius"](pixel, 0.5, center=UNIT) == pytest.approx(np.hypot(6, 8.5))
    assert measures["energy_within"](pixel, np.hypot(6, 8.5) - 0.01, center=UNIT) == 0
    assert measures["energy_within"](pixel, np.hypot(6, 8.5), center=UNIT) == 1
    np.testing.assert_allclose(measures["center_offset"](pixel, center=UNIT), [-6, 8.5])
    # The square reaches 8.5 positions from (20, 22.5): rows 12 to 28, columns 14 to 31.
    assert measures["area_ratio"](pixel, 1.0, center=UNIT) == pytest.approx(17 * 18 / (41 * 57))


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_fit_is_cut_at_two_standard_deviations(side):
    """A mean 2.4 standard deviations from a border is seen whole enough, one 1.6 from it is cut; borders are at halves."""
    cut = []
    for far in (2.4, 1.6):
        place = {"top": (0, far * 3), "bottom": (0, 40 - far * 3), "left": (1, far * 3), "right": (1, 56 - far * 3)}
        axis, position = place[side]
        mean = np.array([20.0, 28.0])
        mean[axis] = position
        # As least squares sees it, which needs no tail: the bright middle is a Gaussian, whatever the border cuts.
        cut.append(bool(measures["gaussian"](bell(np.eye(2) * 9, mean), center=UNIT).cut))
    assert cut == [False, True]


@pytest.mark.parametrize("degrees", [10, 53, 90, 127, 170])
def test_orientation_has_a_sign(degrees):
    """Its first entry that is not zero is positive, whichever of both vectors the eigenvalues come with."""
    direction = np.array([np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))])
    narrow, wide = 2.0, 5.0
    covariance = narrow**2 * np.eye(2) + (wide**2 - narrow**2) * np.outer(direction, direction)
    found = measures["orientation"](bell(covariance, [20.0, 28.0]), center=UNIT)
    np.testing.assert_allclose(found, direction, atol=1e-3)


def test_orientation_in_three_dimensions_and_along_an_axis():
    """A map on a line: along x it is (0, 0, 1), along a falling diagonal (1, -1, 0) over the root of two."""
    along, falling = np.zeros((5, 6, 7)), np.zeros((5, 6, 7))
    along[2, 3, 1:6] = 1
    for step in range(4):
        falling[step, 4 - step, 2] = 1
    center = np.array([1.0, 1.0, 1.0])
    np.testing.assert_allclose(measures["orientation"](along, center=center), [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(
        measures["orientation"](falling, center=center), np.array([1, -1, 0]) / np.sqrt(2), atol=1e-12
    )
