"""Measures of maps whose mass lies beside the unit: what is about the unit, and what is about the mass."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.statistics.measures import measures

MASS = np.array([14.0, 31.0])
UNIT = np.array([20.0, 22.5])
SHAPE = (41, 57)


def bell(covariance, mean=MASS, shape=SHAPE) -> np.ndarray:
    relative = np.stack(np.indices(shape), -1) - mean
    return np.exp(-np.einsum("...i,ij,...j->...", relative, np.linalg.inv(covariance), relative) / 2)


TILTED = np.array([[6.0, 3.0], [3.0, 14.0]])


@pytest.mark.parametrize(
    "name", ["covariance", "sigma", "anisotropy", "orientation", "participation", "entropy_positions"]
)
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


def test_profiles_through_a_volume_cross_the_unit():
    """A slice along one axis of three holds the positions at the unit's center on both others, mixed where that is a half."""
    volume = np.random.default_rng(0).random((5, 6, 7))
    center = np.array([1.0, 3.5, 2.0])
    found = [measures["axial"](volume, axis, center=center) for axis in range(3)]
    np.testing.assert_allclose(found[0].value, volume[:, 3:5, 2].mean(1))
    np.testing.assert_allclose(found[1].value, volume[1, :, 2])
    np.testing.assert_allclose(found[2].value, volume[1, 3:5].mean(0))
    assert [one.offset[0] for one in found] == [-1, -3.5, -2]
    np.testing.assert_allclose(measures["axial"](volume, 1, "marginal", center=center).value, volume.sum((0, 2)))


@pytest.mark.parametrize("shape", [(12,), (3, 4), (3, 5, 7)])
def test_the_size_of_a_flat_block_is_its_mean_side(shape):
    """Luo's size is the root, of the order of the number of axes, of the positions; its ratio that over the box's."""
    block = np.zeros([n + 6 for n in shape])
    block[tuple(slice(2, 2 + n) for n in shape)] = 3
    center, positions, d = np.ones(len(shape)), np.prod(shape), len(shape)
    assert measures["size_luo2016"](block, center=center) == pytest.approx(positions ** (1 / d))
    box = np.array([[1, n + 4] for n in shape])
    expected = (positions / np.prod([n + 3 for n in shape])) ** (1 / d)
    assert measures["ratio_luo2016"](block, center=center, box=box) == pytest.approx(expected)


def test_the_border_of_the_input_and_not_of_the_window():
    """A window at (3, 2) of an input of 10 x 9: its last rows and columns lie on the border, its first do not."""
    window = np.random.default_rng(0).random((7, 7))
    whole = np.zeros((10, 9))
    whole[3:, 2:] = window
    place = {"origin": np.array([3, 2]), "input_shape": (10, 9)}
    for width in (1, 2, 4):
        found = measures["border_power"](window, width, center=UNIT, **place)
        assert found == pytest.approx(measures["border_power"](whole, width, center=UNIT))
    inner = window[:-1, :-1].sum() / window.sum()
    assert measures["border_power"](window, 1, center=UNIT, **place) == pytest.approx(1 - inner)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_residual_is_relative_to_the_map(scale):
    """Two bells of which one fit cannot be both: the root of the squares it misses, over those of the map."""
    x = np.arange(60.0)
    two = scale * (np.exp(-np.square((x - 15) / 3) / 2) + 0.6 * np.exp(-np.square((x - 40) / 4) / 2))
    fit = measures["gaussian"](two, center=np.array([22.0]))
    missed = fit.amplitude * np.exp(-np.square(x - fit.mean[0]) / fit.covariance[0, 0] / 2) - two
    assert fit.residual == pytest.approx(np.sqrt(np.square(missed).sum() / np.square(two).sum()), rel=1e-6)
    assert 0.1 < fit.residual < 0.9
