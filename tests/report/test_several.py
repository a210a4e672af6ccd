"""Figures of several results: the grid, profiles, and a measure over numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.report.curves import plot_measure, plot_profiles
from jaxrf.report.grid import plot_grid
from jaxrf.report.scales import norm_of, scales
from jaxrf.report.view import view
from tests.report.test_figures import result_of


def narrow(factor: float = 3.0, **changes):
    """A map that falls off faster about the same center."""
    result = result_of(**changes)
    return replace(result, mean=result.mean**factor, stderr=result.stderr**factor)


def spans(figure, count: int) -> list[tuple[float, float]]:
    return [(np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())) for ax in figure.axes[:count]]


def test_panels_of_a_grid_share_their_scale_and_their_extent():
    """Each panel shows as many positions as every other about its unit's center, on one norm, under its name."""
    figure = plot_grid({"wide": result_of(), "narrow": narrow()})
    assert [ax.get_title().splitlines()[0] for ax in figure.axes[:2]] == ["wide", "narrow"]
    assert spans(figure, 2) == [spans(figure, 2)[0]] * 2
    images = [ax.images[-1] for ax in figure.axes[:2]]
    assert images[0].norm is images[1].norm
    for ax in figure.axes[:2]:
        np.testing.assert_allclose([np.mean(ax.get_xlim()), np.mean(ax.get_ylim())], [12, 8])
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_frames_are_field_box_and_input():
    """The field needs less than the box of 15 positions, the box less than the input of 28."""
    wide = {"a": narrow(8.0)}
    sides = {frame: spans(plot_grid(wide, frame=frame), 1)[0][0] for frame in ("field", "box", "input")}
    assert sides["field"] < 12 < 15 <= sides["box"] < 16.5 and 28 <= sides["input"] < 31


def test_sizes_stand_below_the_names():
    """Sigma without an error where there is one sample, once where both axes agree."""
    result = result_of()
    title = plot_grid([result]).axes[0].get_title()
    sigma = result.measure("sigma")[0]
    assert f"{sigma[1]:.3g}" in title and "box 15 × 15" in title and "±" not in title
    assert plot_grid([result], sizes=False).axes[0].get_title() == "conv"


@pytest.mark.parametrize("name", list(scales))
def test_every_scale_takes_the_peak_for_the_brightest(name):
    """Zero is the darkest color, the peak the brightest, and more is never darker."""
    shown = view(result_of(), 0)
    drawn = scales[name].drawn(shown)
    colors = np.asarray(norm_of(scales[name], [shown])(drawn))
    order = np.argsort(shown.values, axis=None)
    rising = np.clip(colors.ravel()[order], 0, 1)
    assert (np.diff(rising) >= -1e-12).all() and rising[0] <= 1e-6 and rising[-1] == pytest.approx(1, abs=1e-9)


def test_the_scale_of_replknet_depends_on_the_size_of_scores():
    """log10(A + 1) of small scores is nearly linear, of large ones nearly logarithmic."""
    small, large = (result_of(mean=factor * result_of().mean) for factor in (1e-6, 1e6))
    drawn = [scales["replknet2022"].drawn(view(one, 0)) for one in (small, large)]
    np.testing.assert_allclose(drawn[0], view(small, 0).values, atol=1e-5)
    assert drawn[1].mean() > 2 * drawn[0].mean()


def test_profiles_are_those_of_the_views():
    """One curve for each result, along the axis asked for, about the center of its unit."""
    ax = plot_profiles({"a": result_of(), "b": narrow()}, axis=0, scale="linear")
    value, _ = view(result_of(), 0).profile(0)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), value)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), np.arange(20) - 8.0)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_a_measure_stands_at_its_number():
    """Numbers are places on the axis, names are ticks; one curve for each series."""
    ax = plot_measure({"one": {2: result_of(), 8: narrow()}, "other": {4: narrow()}}, xlabel="depth")
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [2, 8])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [r.measure("sigma")[0, 1] for r in (result_of(), narrow())])
    named = plot_measure({"stem": result_of(), "head": narrow()}, measure="participation")
    assert [tick.get_text() for tick in named.get_xticklabels()] == ["stem", "head"]


def test_a_map_goes_on_the_axes_given():
    """With `ax` the map alone is drawn there, and these axes come back; a small box fills the panel by itself."""
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert result_of().plot(ax=ax) is ax and len(ax.images) == 1
    row = result_of().theoretical
    tiny = replace(row, fields=tuple(replace(one, lo=one.lo * 0 + 8, hi=one.lo * 0 + 12) for one in row.fields))
    assert np.ptp(result_of(theoretical=tiny).plot().axes[0].get_xlim()) < 5
    assert np.ptp(result_of(theoretical=tiny).plot(zoom=False).axes[0].get_xlim()) > 28


def test_positions_are_of_the_layer_that_fields_are_on():
    """A result of `wrt=` names that layer on its axes."""
    ax = result_of(provenance={"wrt": "stem"}).plot().axes[0]
    assert ax.get_xlabel() == "x (position of stem)"


def test_what_cannot_stand_side_by_side_is_refused():
    """No results, other scores, lines in a grid, unknown frames and scales: each is named."""
    with pytest.raises(InputError, match="There are no results"):
        plot_grid({})
    with pytest.raises(InputError, match="'a' has average 'weighted' and 'b' has 'normalized'"):
        plot_grid({"a": result_of(), "b": result_of(average="normalized")})
    with pytest.raises(InputError, match="'a' has protocol 'luo2016' and 'b' has None, which cannot be compared"):
        plot_profiles({"a": result_of(provenance={"protocol": "luo2016"}), "b": result_of()})
    averaged = result_of(provenance={"estimator": {"name": "sign_averaged"}})
    with pytest.raises(InputError, match="'a' has estimator 'sampled' and 'b' has 'sign_averaged'"):
        plot_grid({"a": result_of(), "b": averaged})
    with pytest.raises(InputError, match="1 spatial axes; a grid shows two"):
        plot_grid([result_of(1)])
    with pytest.raises(UnknownNameError, match="Did you mean 'field'"):
        plot_grid([result_of()], frame="fields")
    with pytest.raises(UnknownNameError, match="log"):
        plot_grid([result_of()], scale="logg")
    with pytest.raises(InputError, match="axis=2 was asked for"):
        plot_profiles([result_of()], axis=2)
    with pytest.raises(InputError, match="'x' is a int, not a result"):
        plot_grid({"x": 3})
