"""Figures of theoretical fields: what is drawn is where the rows say."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import matplotlib as mpl
import numpy as np
import pytest

from jaxrf.errors import InputError
from jaxrf.geometry.field import Paths
from jaxrf.geometry.row import Row
from jaxrf.report.geometry_figures import MOST_TICKS, VEIL, plot_boxes, plot_path_counts, plot_size_over_depth
from jaxrf.results.paths import PathCounts
from tests.geometry.made_rows import STEM, image_row, made_field, whole_field

mpl.use("agg")


@pytest.fixture(scope="module")
def stem():
    return image_row(STEM, (29, 43), step=4, name="stem")


@pytest.fixture(autouse=True)
def closed():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def corners(patch):
    (left, top), width, height = patch.get_xy(), patch.get_width(), patch.get_height()
    return (top + 0.5, top + height + 0.5), (left + 0.5, left + width + 0.5)


@pytest.mark.parametrize("clip", [False, True])
def test_boxes_are_where_the_row_says(stem, clip):
    """After the frame of the input comes one rectangle per unit, and a dot at its center."""
    units = [(0, 10), (3, 5)]
    ax = plot_boxes(stem, units, image=np.zeros((29, 43, 3), np.uint8), clip=clip)
    frame, *boxes = ax.patches
    assert corners(frame) == ((0, 29), (0, 43))
    assert [corners(box) for box in boxes] == [stem.box(unit, clip) for unit in units]
    if not clip:
        assert [(d.get_ydata()[0], d.get_xdata()[0]) for d in ax.lines] == [stem.center(unit) for unit in units]


def test_what_no_box_holds_of_an_image_is_veiled(stem):
    """Inside of each box the image is as it is, around them it is hidden in part; without an image there is no veil."""
    units = [(0, 10), (3, 5)]
    _, veil = plot_boxes(stem, units, image=np.zeros((29, 43, 3), np.uint8)).images
    inside = np.zeros((29, 43), bool)
    for (top, bottom), (left, right) in (stem.box(unit, clip=True) for unit in units):
        inside[top:bottom, left:right] = True
    np.testing.assert_array_equal(veil.get_array()[..., 3], np.where(inside, 0, VEIL))
    assert len(plot_boxes(stem, units).images) == 1


def test_axes_show_the_boxes_that_leave_the_input(stem):
    """Limits hold every box; the ground is hatched only where something lies outside."""
    ax = plot_boxes(stem, [(0, 10)])
    assert ax.get_xlim()[1] > 45.5
    assert ax.get_ylim()[1] < -5.5
    assert ax.patch.get_hatch()
    assert not plot_boxes(stem, [(3, 5)]).patch.get_hatch()


def test_center_unit_of_each_layer(stem):
    """Layers keep their order in the legend, with the extent of their box."""
    first = image_row(STEM[:1], (29, 43), step=2, name="first")
    ax = plot_boxes([first, stem])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["first  7×7", "stem  11×11"]
    assert corners(ax.patches[1]) == first.box(first.center_unit)


def test_given_axes_are_used(stem):
    """Both figures draw on the axes that they are handed."""
    from matplotlib import pyplot

    _, (left, right) = pyplot.subplots(1, 2)
    assert plot_boxes(stem, ax=left) is left
    assert plot_size_over_depth([stem], ax=right) is right


def test_size_over_depth(stem):
    """One curve where axes agree; a layer that sees all is an open circle, not a drop of the curve."""
    pooled = Row("pool", "Mean", (4,), (), (whole_field(29, 0), whole_field(43, 0)))
    ax = plot_size_over_depth([stem])
    assert [(line.get_label(), line.get_ydata()[0]) for line in ax.lines][:1] == [("size", 11)]
    assert [line.get_ydata()[0] for line in ax.lines[1:]] == [43, 29]
    ax = plot_size_over_depth([stem, pooled])
    curves = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    np.testing.assert_equal(curves["size along y"], [11, np.nan])
    assert (curves["sees the whole input along y"], curves["sees the whole input along x"]) == ([29], [43])
    assert {text.get_text() for text in ax.texts} == {"input along y: 29", "input along x: 43"}


def test_axes_of_different_sizes_have_curves_of_their_own(stem):
    """A field of 11 rows and 7 columns is a curve along y and one along x."""
    x = stem.fields[1]
    endless = replace(x.continuation, hi=x.continuation.hi - 4)
    narrow = replace(stem, fields=(stem.fields[0], replace(x, hi=x.hi - 4, continuation=endless)))
    curves = {line.get_label(): list(line.get_ydata()) for line in plot_size_over_depth([stem, narrow]).lines}
    assert (curves["size along y"], curves["size along x"]) == ([11, 11], [11, 7])


def test_unproductive_layers_are_shaded(stem):
    """The ground is shaded under layers whose smallest path exceeds the input, and the band reaches down to it."""
    paths = Paths(Fraction(4), Fraction(0), Fraction(0), Fraction(44), True)
    deep = replace(stem, fields=tuple(replace(one, paths=paths) for one in stem.fields))
    assert len(plot_size_over_depth([stem, stem]).patches) == 0
    ax = plot_size_over_depth([stem, deep, deep])
    assert [patch.get_x() for patch in ax.patches] == [0.5, 1.5]
    assert [text.get_text() for text in ax.get_legend().get_texts()].count("unproductive") == 1
    assert len(ax.collections) == 1


def test_deep_models_name_some_layers(stem):
    """Names under the axis stay few enough to read."""
    ax = plot_size_over_depth([replace(stem, name=f"layer{i}") for i in range(3 * MOST_TICKS + 1)])
    names = [text.get_text() for text in ax.get_xticklabels()]
    assert len(names) <= MOST_TICKS
    assert names[:2] == ["layer0", "layer4"]
    assert ax.get_xlabel() == "layer (one name in 4)"


def test_bad_input(stem):
    """What cannot be drawn says why."""
    line = Row("line", "Conv", (8, 4), (8,), (made_field(STEM, 29, step=4),))
    with pytest.raises(InputError, match=r"an input of two spatial axes; here they are \(29,\)"):
        plot_boxes(line)
    with pytest.raises(InputError, match=r"The 2 layers have inputs of sizes \[\(29,\), \(29, 43\)\]"):
        plot_size_over_depth([line, stem])
    with pytest.raises(InputError, match=r"There are no layers to draw"):
        plot_size_over_depth([])
    with pytest.raises(InputError, match=r"image has shape \(43, 29\); the input of the layers is 29×43"):
        plot_boxes(stem, image=np.zeros((43, 29)))
    with pytest.raises(InputError, match="Unknown units 'middle'"):
        plot_boxes(stem, "middle")
    with pytest.raises(InputError, match="There are no units to draw"):
        plot_boxes(stem, [])
    with pytest.raises(InputError, match=r"Unit \(8, 0\) is outside of layer 'stem'"):
        plot_boxes(stem, [(8, 0)])


HOLES = PathCounts(np.array([[1, 0, 3], [2, 0, 123456789]]), (4, 6), (9, 11), "dilated", (3, 4))


def test_counts_stand_on_their_positions():
    """Each position with a path shows its count, a long one in short; holes are left blank."""
    ax = plot_path_counts(HOLES)
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(6, 4): "1", (8, 4): "3", (6, 5): "2", (8, 5): "1.2e8"}
    assert ax.images[0].get_extent() == [5.5, 8.5, 5.5, 3.5]
    shown = ax.images[0].get_array()
    assert shown.mask.tolist() == [[False, True, False], [False, True, False]]
    assert shown.max() == 1
    assert ax.get_title(loc="left") == "dilated (3, 4): 1.2e8 paths, density 0.67"


def test_large_maps_have_no_numbers():
    """Numbers are written where there is room, or where they are asked for."""
    large = replace(HOLES, counts=np.ones((3, 30), int))
    assert len(plot_path_counts(large).texts) == 0
    assert len(plot_path_counts(large, numbers=True).texts) == 90


def test_counts_of_one_axis_are_a_strip():
    """One spatial axis is drawn as one line, logarithms with one digit."""
    ax = plot_path_counts(replace(HOLES, counts=np.log([1, 2, 4]), origin=(5,), input_shape=(20,), unit=(6,), log=True))
    assert [text.get_text() for text in ax.texts] == ["0.0", "0.7", "1.4"]
    assert np.asarray(ax.images[0].get_array()).ravel() == pytest.approx([0.25, 0.5, 1])


def test_counts_of_a_volume_are_refused():
    """Three axes have no picture; the message says how to draw a slice."""
    with pytest.raises(InputError, match="needs one or two spatial axes; here the box is 2×3×1"):
        plot_path_counts(replace(HOLES, counts=np.ones((2, 3, 1), int), origin=(0, 0, 0), input_shape=(2, 3, 1)))
