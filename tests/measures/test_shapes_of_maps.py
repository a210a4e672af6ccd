"""Measures against closed forms: Gaussians, centered squares, cut fields, tilted ellipses."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.statistics.measures import measures
from jaxrf.statistics.measures.energy import contour_level

CENTER = np.array([60.0, 80.0])


def gaussian(covariance, center=CENTER, shape=(121, 161)) -> np.ndarray:
    relative = np.stack(np.indices(shape), -1) - center
    return np.exp(-np.einsum("yxi,ij,yxj->yx", relative, np.linalg.inv(covariance), relative) / 2)


ROUND = gaussian(np.eye(2) * 8**2)
TILTED = gaussian([[52.0, 36.0], [36.0, 73.0]])


def test_widths_of_a_gaussian():
    """Energy radius, half width, participation and entropy have the closed forms of their docstrings."""
    assert measures["energy_radius"](ROUND, 0.5, center=CENTER) == pytest.approx(8 * np.sqrt(2 * np.log(2)), abs=0.1)
    assert measures["energy_radius"](ROUND, 0.95, center=CENTER) == pytest.approx(8 * np.sqrt(2 * np.log(20)), abs=0.1)
    np.testing.assert_allclose(measures["size_half_width"](ROUND, center=CENTER), 2.3548 * 8, rtol=1e-3)
    np.testing.assert_allclose(measures["size_half_width"](ROUND, "slice", center=CENTER), 2.3548 * 8, rtol=1e-3)
    assert measures["participation"](ROUND, center=CENTER) == pytest.approx(4 * np.pi * 64, rel=1e-6)
    assert measures["entropy_positions"](ROUND, center=CENTER) == pytest.approx(2 * np.pi * np.e * 64, rel=1e-6)


def test_tilted_ellipse():
    """Covariance, its widest direction (3, 4)/5 and the ratio of its axes."""
    np.testing.assert_allclose(measures["covariance"](TILTED, center=CENTER), [[52, 36], [36, 73]], rtol=1e-4)
    np.testing.assert_allclose(measures["orientation"](TILTED, center=CENTER), [0.6, 0.8], atol=1e-4)
    assert measures["anisotropy"](TILTED, center=CENTER) == pytest.approx(2, rel=1e-4)
    line = np.zeros((5, 7))
    line[2] = 1
    assert measures["anisotropy"](line, center=np.array([2.0, 3.0])) == np.inf


def test_center_offset_is_against_the_true_center():
    """The offset says where the mass lies, seen from the unit."""
    np.testing.assert_allclose(measures["center_offset"](ROUND, center=CENTER - [2.5, -1]), [2.5, -1], atol=1e-9)


def test_gaussian_fit_recovers_its_own():
    """Mean, covariance and amplitude are found, nothing is left, and the kurtosis is zero."""
    fit = measures["gaussian"](np.stack([3 * TILTED, 2 * ROUND]), center=CENTER - 1)
    np.testing.assert_allclose(fit.covariance, [[[52, 36], [36, 73]], [[64, 0], [0, 64]]], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fit.mean, [CENTER, CENTER], rtol=1e-9)
    np.testing.assert_allclose(fit.amplitude, [3, 2], rtol=1e-6)
    np.testing.assert_allclose(fit.residual, 0, atol=1e-6)
    np.testing.assert_allclose(fit.kurtosis, 0, atol=2e-3)
    assert fit.refined.all()
    assert not fit.cut.any()


def test_gaussian_fit_sees_the_bright_middle_of_a_heavy_tail():
    """A narrow Gaussian on a wide pedestal: the fit is narrow, moments are wide, kurtosis and residual say so."""
    fit = measures["gaussian"](ROUND + 0.02, center=CENTER)
    moments = measures["sigma"](ROUND + 0.02, center=CENTER)
    assert (fit.sigma < 9.5).all()
    assert (moments > 15).all()
    assert fit.residual > 0.1
    assert fit.refined


def test_gaussian_fit_of_a_narrow_and_a_flat_map():
    """Without extent, or without an end, the moments are reported and refined is False."""
    pixel = np.zeros((5, 7))
    pixel[1, 2] = 4
    flat = np.ones((5, 7))
    fit = measures["gaussian"](np.stack([pixel, flat]), center=np.array([2.0, 3.0]))
    assert not fit.refined.any()
    np.testing.assert_allclose(fit.mean, [[1, 2], [2, 3]])
    assert fit.amplitude[0] == 4
    assert fit.residual[0] == 0


def test_gaussian_fit_says_when_the_border_cuts():
    """Two standard deviations over the border of the input, not of the window, count as cut."""
    near = gaussian(np.eye(2) * 64, center=np.array([10.0, 80.0]))
    assert measures["gaussian"](near, center=CENTER).cut
    inside = measures["gaussian"](near, center=CENTER, origin=np.array([50, 0]), input_shape=(300, 300))
    assert not inside.cut


@pytest.mark.parametrize("d", [1, 3])
def test_gaussian_fit_in_one_and_three_dimensions(d):
    """The fit works on lines and volumes."""
    shape, center = (31, 35, 33)[:d], np.array([15.0, 17.0, 16.0])[:d]
    widths = np.array([3.0, 4.0, 2.0])[:d]
    erf_map = np.exp(-sum(((g - c) / w) ** 2 for g, c, w in zip(np.indices(shape), center, widths, strict=True)) / 2)
    fit = measures["gaussian"](erf_map, center=center)
    np.testing.assert_allclose(fit.sigma, widths, rtol=1e-6)


def test_area_ratio_is_centered_on_the_true_center():
    """The square grows about the unit, also where that is a half, and only its part inside counts."""
    erf_map = np.zeros((5, 7))
    erf_map[0, 0] = 1
    ratio = measures["area_ratio"]
    assert ratio(erf_map, 1.0, center=np.array([2.0, 3.0])) == pytest.approx(1)
    assert ratio(erf_map, 1.0, center=np.array([0.5, 0.5])) == pytest.approx(4 / 35)
    assert ratio(erf_map, 1.0, center=np.array([1.0, 0.5])) == pytest.approx(3 * 2 / 35)
    assert ratio(erf_map, 1.0, center=np.array([0.0, 1.0])) == pytest.approx(2 * 3 / 35)


def test_area_ratio_of_a_window_is_that_of_the_whole_input():
    """A crop with its origin gives the number of the full map."""
    whole = measures["area_ratio"](ROUND, 0.7, center=CENTER)
    crop = ROUND[20:101, 30:140]
    cropped = measures["area_ratio"](crop, 0.7, center=CENTER, origin=np.array([20, 30]), input_shape=ROUND.shape)
    assert cropped == pytest.approx(whole)


def test_area_ratio_grows_with_the_share():
    """More of the map needs more of the input."""
    ratios = [measures["area_ratio"](ROUND, s, center=CENTER) for s in (0.1, 0.5, 0.9, 0.99, 1.0)]
    assert (np.diff(ratios) > 0).all()
    assert ratios[-1] <= 1


def test_replknet_area_ratio_restates_the_authors_loop():
    """The vectorized form equals the published loop over squares of side 3, 5, ... on log10(map + 1)."""
    maps = np.random.default_rng(0).lognormal(sigma=3, size=(4, 11, 15))
    got = measures["area_ratio_replknet2022"](maps, 0.3, center=np.array([5, 7]))
    for erf_map, ratio in zip(maps, got, strict=True):
        data = np.log10(erf_map + 1)
        data = data / data.max()
        for i in range(1, 11 // 2):
            if data[5 - i : 6 + i, 7 - i : 8 + i].sum() / data.sum() > 0.3:
                break
        assert ratio == pytest.approx((2 * i + 1) / 11 * (2 * i + 1) / 15)


def test_replknet_area_ratio_depends_on_scale_and_ours_does_not():
    """The logarithm makes the published number a function of the gradients' scale."""
    big = measures["area_ratio_replknet2022"](1e6 * ROUND, 0.5, center=CENTER)
    assert big > 2 * measures["area_ratio_replknet2022"](ROUND, 0.5, center=CENTER)


def test_radial_profile_of_a_gaussian():
    """Rings follow the closed form, and their positions count up to the map."""
    profile = measures["radial"](ROUND, center=CENTER)
    np.testing.assert_allclose(profile.mean[:20], np.exp(-(profile.radius[:20] ** 2) / 128), atol=0.01)
    assert profile.positions.sum() == ROUND.size
    assert repr(profile) == "Radial(101 rings, mean of shape (101,))"


def test_axial_profile_interpolates_between_positions():
    """A center between rows takes the mean of both; the offset starts at minus the center."""
    profile = measures["axial"](np.array([[1.0, 3.0], [2.0, 5.0]]), center=np.array([0.5, 1.0]))
    np.testing.assert_allclose(profile.value, [1.5, 4.0])
    np.testing.assert_allclose(profile.offset, [-1, 0])
    assert repr(profile) == "Axial(value of shape (2,))"
    with pytest.raises(UnknownNameError, match=r"Unknown kind of profile 'sum'.*'marginal', 'slice'"):
        measures["axial"](ROUND, kind="sum", center=CENTER)


def test_contour_levels_enclose_their_share():
    """The entries at or above the level hold the share, and one entry fewer does not."""
    level = contour_level(ROUND, 0.5, center=CENTER)
    inside = np.sort(ROUND[level <= ROUND])
    assert inside.sum() >= 0.5 * ROUND.sum() > inside[8:].sum()
    assert np.isnan(contour_level(np.zeros((5, 7)), 0.5, center=np.zeros(2)))


def test_smallest_area_of_a_gaussian():
    """The region that holds half of a Gaussian is a disk of 2 pi ln 2 sigma^2."""
    assert measures["smallest_area"](ROUND, 0.5, center=CENTER) == pytest.approx(2 * np.pi * np.log(2) * 64, rel=0.02)


def test_coverage_counts_positions_of_the_box():
    """Positions outside the box, or outside the map, are not reached; the threshold is a share of the peak."""
    line = np.array([0.1, 1.0, 0.5, 0.04, 0.0])
    coverage = measures["coverage"]
    assert coverage(line, center=np.array([1.0]), box=np.array([[0, 4]])) == 3 / 4
    assert coverage(line, 0.0, center=np.array([1.0]), box=np.array([[-2, 4]])) == 4 / 6
    with pytest.raises(InputError, match=r"threshold of 1\.5"):
        coverage(line, 1.5, center=np.array([1.0]), box=np.array([[0, 4]]))
    for name in ("coverage", "ratio_luo2016"):
        assert np.isnan(measures[name](line, center=np.array([1.0]), box=np.array([[2, 2]])))


def test_border_power_knows_the_border_of_the_input():
    """In a window the border is where the input ends, not where the window does."""
    flat = np.ones((5, 7))
    border = measures["border_power"]
    assert border(flat, 2, center=np.array([2.0, 3.0])) == pytest.approx(1 - 3 / 35)
    top = border(flat, center=np.array([2.0, 3.0]), origin=np.array([0, 10]), input_shape=(50, 50))
    assert top == pytest.approx(7 / 35)
    with pytest.raises(InputError, match="border of 0 positions"):
        border(flat, 0, center=np.array([2.0, 3.0]))


@pytest.mark.parametrize("tilted", [True, False])
@pytest.mark.parametrize("at", [(40, 43), (-3, 43), (95, 40)])
def test_the_fit_of_a_gaussian_does_not_depend_on_the_window(at, tilted):
    """A bell that its window cuts has the fit of the same map laid in the input, where zeros count; at borders too."""
    y, x = np.mgrid[:21, :25] - np.array([10, 9])[:, None, None]
    bell, shape = np.exp(-(y**2 + x**2 + x * y) / (2 * 9.0**2)), (101, 107)
    whole = np.zeros((141, 147))
    whole[at[0] + 20 : at[0] + 41, at[1] + 20 : at[1] + 45] = bell
    whole = whole[20:121, 20:127]
    bell = bell * (whole[np.clip(np.arange(21) + at[0], 0, 100)][:, at[1] : at[1] + 25] > 0)
    bell[(np.arange(21) + at[0] < 0) | (np.arange(21) + at[0] > 100)] = 0
    place = {"origin": np.array(at), "input_shape": shape}
    inside = measures["gaussian"](bell, tilted, center=np.array([10, 9]), **place)
    laid = measures["gaussian"](whole, tilted, center=np.array([10, 9]))
    np.testing.assert_allclose(inside.sigma, laid.sigma, rtol=1e-4)
    np.testing.assert_allclose(inside.mean + at, laid.mean, atol=1e-3)
    assert inside.refined and laid.refined
    alone = measures["gaussian"](bell, tilted, center=np.array([10, 9]))
    assert (alone.sigma > 1.05 * inside.sigma).any()


def test_a_gaussian_without_tilt_is_that_of_five_parameters():
    """On a tilted ellipse it is what SciPy's `curve_fit` finds for height, mean and two widths on the whole input."""
    from scipy.optimize import curve_fit

    y, x = np.mgrid[:61, :71].astype(float)
    a, b = y - 28, x - 40
    erf_map = np.exp(-(a**2 / 30 + b**2 / 90 - a * b / 60)) + 0.02 * np.exp(-(a**2 + b**2) / 400)

    def bell(_, height, my, mx, sy, sx):
        return (height * np.exp(-((y - my) ** 2 / (2 * sy**2) + (x - mx) ** 2 / (2 * sx**2)))).ravel()

    window = {"origin": np.array([10, 12]), "input_shape": (61, 71)}
    fit = measures["gaussian"](erf_map[10:50, 12:66], False, center=np.array([18, 28]), **window)
    laid = np.zeros_like(erf_map)
    laid[10:50, 12:66] = erf_map[10:50, 12:66]
    (height, my, mx, sy, sx), _ = curve_fit(bell, None, laid.ravel(), p0=(1, 25, 35, 5, 5))
    np.testing.assert_allclose(fit.sigma, [sy, sx], rtol=1e-4)
    np.testing.assert_allclose(fit.mean, [my - 10, mx - 12], atol=1e-3)
    np.testing.assert_allclose(fit.amplitude, height, rtol=1e-4)
    assert fit.covariance[0, 1] == 0


def test_unevenness_of_strides_that_leave_positions_out():
    """One phase of four alone, whatever the place; none where the period is another one."""
    dark = np.zeros((12, 8))
    dark[1::2, ::2] = 3
    for origin in (np.zeros(2), np.array([1, 1])):
        assert measures["unevenness"](dark, center=CENTER, origin=origin) == pytest.approx(np.sqrt(3))
    assert measures["unevenness"](dark, (2, 1), center=CENTER) == pytest.approx(1)
    assert measures["unevenness"](dark, 1, center=CENTER) == 0
    with pytest.raises(InputError, match="period=0 is not a whole number"):
        measures["unevenness"](dark, 0, center=CENTER)


def test_dark_phases_of_strides_and_checkerboards():
    """Pixels that a stride leaves out are dark; a checkerboard is not, but under a threshold."""
    dark, board = np.zeros((8, 8)), 2.0 - np.indices((8, 8)).sum(0) % 2
    dark[1::2, ::2] = 1
    assert measures["dark_phases"](dark, center=CENTER) == 0.75
    assert measures["dark_phases"](dark, (2, 1), center=CENTER) == 0.5
    assert measures["dark_phases"](board, center=CENTER) == 0
    assert measures["dark_phases"](board, 2, 0.5, center=CENTER) == 0.5
    for wrong in (-0.1, 1.0):
        with pytest.raises(InputError, match="share of the brightest phase, in .0, 1."):
            measures["dark_phases"](dark, 2, wrong, center=CENTER)
