"""Figures of ERF maps: what they show, in which places, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.geometry.field import Continuation, Field
from jaxrf.geometry.row import Row
from jaxrf.report import figures
from jaxrf.report.view import view
from jaxrf.results.result import Result

INPUT = (20, 28, 24)


def result_of(d: int = 2, seed: int = 0, **changes) -> Result:
    """Unit (2, 3, 3) of a layer with stride 4 and size 15: a Gaussian about its center, zero outside the box."""
    fields = []
    for axis, extent in enumerate(INPUT[:d]):
        n = extent // 4
        shape = [n if a == axis else 1 for a in range(d)]
        lo = (4 * np.arange(n) - 7).reshape(shape)
        one = np.full([1] * d, -7)
        endless = Continuation(axis=axis, period=1, step=4, lo=one, hi=one + 15)
        fields.append(Field(extent, np.maximum(lo, 0), np.minimum(lo + 15, extent), endless))
    units = tuple(extent // 4 for extent in INPUT[:d])
    row = Row("conv", "Conv", (*units, 8), units, tuple(fields))
    center = 4.0 * np.array([2, 3, 3][:d])
    grid = np.indices(INPUT[:d])
    far = [g - c for g, c in zip(grid, center, strict=True)]
    mean = np.exp(-sum(f**2 for f in far) / 18.0) * np.all([np.abs(f) <= 7 for f in far], axis=0)
    mean = 5 * mean * np.random.default_rng(seed).uniform(0.8, 1.2, mean.shape)
    values = {
        "mean": mean[None],
        "stderr": mean[None] / 10,
        "count": 16,
        "origin": np.zeros((1, d)),
        "units": np.array([[2, 3, 3][:d]]),
        "theoretical": row,
        "score": "square",
        "channels": "probe",
        "input_shape": INPUT[:d],
    }
    return Result(**(values | changes))


def labels(figure) -> list[str]:
    return [text.get_text() for legend in [*figure.legends, *(ax.get_legend() for ax in figure.axes)] if legend
            for text in legend.get_texts()]  # fmt: skip


@pytest.mark.parametrize("d", [1, 2, 3])
def test_every_dimension_saves_in_every_format(tmp_path, d):
    """Lines, planes and volumes are written as PNG, PDF and SVG."""
    figure = result_of(d).plot()
    for ending, start in {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}.items():
        figure.savefig(tmp_path / f"map.{ending}")
        assert (tmp_path / f"map.{ending}").read_bytes().startswith(start)


def test_box_center_and_map_lie_where_the_geometry_says():
    """Unit (2, 3) of stride 4: the box is [1, 16) x [5, 20), the center (8, 12); pixel edges are at halves."""
    ax = result_of().plot().axes[0]
    (box,) = ax.patches
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (4.5, 0.5, 15, 15)
    cross = next(line for line in ax.lines if line.get_marker() == "+")
    np.testing.assert_array_equal(cross.get_xydata(), [[12, 8]])
    assert ax.images[-1].get_extent() == [-0.5, 27.5, 19.5, -0.5]


def test_a_window_lies_at_its_origin():
    """A map of a window is drawn at its place in the input, which is shown whole."""
    result = result_of()
    window = result_of(mean=result.mean[:, 1:16, 5:20], stderr=result.stderr[:, 1:16, 5:20], origin=np.array([[1, 5]]))
    ax = window.plot().axes[0]
    assert ax.images[-1].get_extent() == [4.5, 19.5, 15.5, 0.5]
    assert ax.get_xlim()[0] < 0 < 27 < ax.get_xlim()[1]
    left, right = window.plot(zoom=True).axes[0].get_xlim()
    assert 4 < left < 5 < 19 < right < 20.5


def test_contours_hold_their_shares():
    """The positions at or above each level hold the share of the smoothed map, and none lies outside the box."""
    shown = view(result_of(), 0)
    smooth, levels = shown.regions([0.5, 0.95])
    for share, level in zip([0.5, 0.95], levels, strict=True):
        assert share <= smooth[smooth >= level].sum() / smooth.sum() < share + 0.02
    assert smooth[0].max() == smooth[16:].max() == smooth[:, :5].max() == 0
    assert len(result_of().plot().axes[0].collections) == 2


def test_planes_of_a_window_go_through_the_center():
    """A window of a volume from (1, 5, 4) on, of a unit about (8, 12, 12): planes at 7, 7 and 8 of it."""
    result = result_of(3)
    window = result.mean[:, 1:16, 5:20, 4:20]
    shown = view(result_of(3, mean=window, stderr=window, origin=np.array([[1, 5, 4]])), 0)
    for axes, plane in (((1, 2), window[0, 7]), ((0, 2), window[0, :, 7]), ((0, 1), window[0, :, :, 8])):
        np.testing.assert_array_equal(shown.slice(axes), plane / window.max())
    for axis, line in enumerate((window[0, :, 7, 8], window[0, 7, :, 8], window[0, 7, 7])):
        np.testing.assert_allclose(shown.profile(axis)[0], line / window.max())


@pytest.mark.parametrize("origin", [(0, 0), (1, 5)])
def test_contours_lie_where_the_map_does(origin):
    """The contour of a round map about (8, 12) is a circle about (8, 12), and where it runs the map has its level."""
    y, x = np.indices(INPUT[:2])
    round_ = np.exp(-((y - 8) ** 2 + (x - 12) ** 2) / 18) * (np.abs(y - 8) <= 7) * (np.abs(x - 12) <= 7)
    window = round_[origin[0] : 16, origin[1] : 20][None]
    figure = result_of(mean=window, stderr=window, origin=np.array([origin])).plot(shares=(0.5,))
    (contour,) = figure.axes[0].collections
    (path,) = contour.get_paths()
    around = path.vertices[:-1] - [12, 8]
    np.testing.assert_allclose(around.min(axis=0) + around.max(axis=0), 0, atol=0.05)
    radius = np.hypot(*around.T)
    assert radius.max() - radius.min() < 0.3
    assert radius.mean() == pytest.approx(3 * np.sqrt(2 * np.log(2)), rel=0.1)


def test_bars_of_a_line_lie_where_the_map_does():
    """In one dimension the bar of a share covers the smallest interval about the mass that holds it."""
    line = np.exp(-((np.arange(20.0) - 8) ** 2) / 18)[None]
    figure = result_of(1, mean=line, stderr=line).plot(shares=(0.9,))
    (bar,) = (line for ax in figure.axes for line in ax.lines if line.get_label() == "90% of the map")
    offset, height = bar.get_xydata().T
    covered = offset[np.isfinite(height)]
    assert covered.min() == -covered.max() and 4 <= covered.max() <= 6
    assert np.array_equal(covered, np.arange(covered.min(), covered.max() + 1))


def test_profiles_are_the_map_through_the_center():
    """The curve is the row of the center over the peak, with its error as the band; a half center mixes two rows."""
    result = result_of()
    shown = view(result, 0)
    value, error = shown.profile(1)
    np.testing.assert_allclose(value, result.mean[0, 8] / result.mean.max())
    np.testing.assert_allclose(error, value / 10)
    row = result.theoretical
    half = view(
        result_of(
            theoretical=Row(row.name, row.kind, row.shape, row.unit_shape, (_wider(row.fields[0]), row.fields[1]))
        ),
        0,
    )
    assert half.center[0] == 8.5
    np.testing.assert_allclose(half.profile(1)[0], result.mean[0, 8:10].mean(0) / result.mean.max())


def test_curves_and_edges_are_offsets_from_the_center():
    """Unit (2, 3) about (8, 12): along x the curve runs from -12 to 15, along y from -8; edges of the box are at halves."""
    result = result_of()
    beside = result.plot(scale="linear").axes[1]
    along_x, along_y = (next(line for line in beside.lines if line.get_label() == f"along {n}") for n in "xy")
    np.testing.assert_array_equal(along_x.get_xdata(), np.arange(-12, 16))
    np.testing.assert_array_equal(along_y.get_xdata(), np.arange(-8, 12))
    np.testing.assert_allclose(along_x.get_ydata(), result.mean[0, 8] / result.mean.max())
    np.testing.assert_allclose(along_y.get_ydata(), result.mean[0, :, 12] / result.mean.max())
    upright = [line for line in beside.lines if len(set(line.get_xdata())) == 1]
    assert sorted(line.get_xdata()[0] for line in upright) == [-7.5, -7.5, 7.5, 7.5]


def _wider(field: Field) -> Field:
    """The same field with one position more at its end."""
    c = field.continuation
    return Field(field.extent, field.lo, field.hi, Continuation(c.axis, c.period, c.step, c.lo, c.hi + 1))


def test_legend_and_labels_name_what_is_shown():
    """Box with its size, center, shares, and axes in input positions."""
    figure = result_of().plot(shares=(0.25, 0.9))
    assert labels(figure) == ["theoretical box (15 × 15)", "center of the unit", "25% of the map", "90% of the map",
                              "along x", "along y"]  # fmt: skip
    assert figure.axes[0].get_xlabel() == "x (input position)"
    assert figure.axes[0].get_title() == "conv, unit (2, 3)"
    assert "95% of the map" in labels(result_of(1).plot())


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_a_photo_lies_under_the_map(channels):
    """Gray and color photos in any range are drawn under the map, which lets its dark parts show them."""
    photo = np.random.default_rng(0).normal(size=(20, 28, *channels))
    ax = result_of().plot(photo=photo).axes[0]
    gray, image = ax.images
    assert gray.get_array().shape == (20, 28)
    assert gray.get_extent() == image.get_extent() == [-0.5, 27.5, 19.5, -0.5]
    assert (gray.get_array().min(), gray.get_array().max()) == (0, 1)
    colors = image.get_cmap()(np.array([0.0, 1.0]))
    assert colors[0, 3] == 0 < 0.85 < colors[1, 3]


def test_scales():
    """Log has four decades on colors and profiles, linear starts at zero."""
    log, linear = result_of().plot(scale="log").axes, result_of().plot(scale="linear").axes
    assert log[0].images[-1].norm.vmin == 1e-4
    assert log[1].get_yscale() == "log"
    assert linear[0].images[-1].norm.vmin == 0
    assert linear[1].get_yscale() == "linear"


def test_signed_maps_have_colors_about_zero_and_no_contours():
    """A map with negative entries is neither measured nor drawn on a log scale."""
    result = result_of()
    ax, beside = result_of(mean=-result.mean, score="signed").plot().axes[:2]
    assert (ax.images[-1].norm.vmin, ax.images[-1].norm.vmax) == (-1, 1)
    assert not ax.collections
    assert beside.get_yscale() == "linear"


def test_a_unit_without_a_center_has_no_cross():
    """Profiles then go through the middle of its box, and figure and legend say so."""
    row = result_of().theoretical
    fields = tuple(replace(one, continuation=None, local=()) for one in row.fields)
    figure = result_of(theoretical=replace(row, fields=fields)).plot()
    plane, profile = figure.axes[0], next(ax for ax in figure.axes if ax.get_xlabel().startswith("offset"))
    assert not [line for line in plane.lines if line.get_marker() == "+"]
    assert "center of the unit" not in labels(figure)
    assert profile.get_title() == "through the middle of the box" and "middle of the box" in profile.get_xlabel()


@pytest.mark.parametrize(("value", "words"), [(0.0, "the map is zero"), (np.nan, "the map is not finite")])
@pytest.mark.parametrize("scale", ["log", "linear"])
def test_maps_without_a_field_say_so(tmp_path, value, words, scale):
    """A zero or non-finite map is drawn without contours, and the title says why."""
    empty = np.full((1, 20, 28), value)
    figure = result_of(mean=empty, stderr=empty).plot(scale=scale)
    assert words in figure.axes[0].get_title()
    assert not figure.axes[0].collections
    figure.savefig(tmp_path / "map.png")


def test_bad_requests_are_refused():
    """Unit numbers, photos, shares, scales and dimensions are checked, with what was found."""
    result = result_of()
    with pytest.raises(InputError, match="Unit number 1 was asked for, but the result has 1"):
        result.plot(1)
    with pytest.raises(InputError, match=r"photo has shape \(28, 20, 3\), but the input is \(20, 28\)"):
        result.plot(photo=np.zeros((28, 20, 3)))
    with pytest.raises(InputError, match=r"photo has shape \(1, 20, 28, 3\)"):
        result.plot(photo=np.zeros((1, 20, 28, 3)))
    with pytest.raises(InputError, match=r"share of 1.2 was asked for"):
        result.plot(shares=(1.2,))
    with pytest.raises(InputError, match="5 contours were asked for"):
        result.plot(shares=(0.1, 0.2, 0.3, 0.4, 0.5))
    with pytest.raises(UnknownNameError, match="Unknown scale 'lin'.*Did you mean 'linear'"):
        result.plot(scale="lin")


def test_matplotlib_is_imported_by_drawing_only(monkeypatch):
    """Importing the module costs no matplotlib; without it, drawing says what to install."""
    code = "import sys, jaxrf.report.figures, jaxrf.results.result; print('matplotlib' in sys.modules, 'jax' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False"]
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'jaxrf\[plot\]'"):
        figures.plot(result_of())
