"""Rows: every number against brute force over index sets, and against published fields."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrf.errors import InputError
from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Field, Paths
from jaxrf.geometry.row import Row
from tests.geometry.index_sets import Step, endless, evaluate, hulls, unet
from tests.geometry.made_rows import STEM, along, image_row, made_field, token_row, whole_field

UNET = json.loads((Path(__file__).parents[1] / "data" / "unet.json").read_text())
NEAREST = (Step("nearest", options={"factor": 3}),)
NAILS = (Step("conv", options={"kernel": 1, "base_dilation": 2, "padding": (0, 1)}),)
CAUSAL = (Step("conv", options={"kernel": 4, "padding": (3, 0)}), Step("pool", options={"kernel": 2}))
CROPPED = (Step("pad", options={"before": -9}), Step("conv", options={"kernel": 2, "stride": 3}))
NETS = [(STEM, 1, 4), (unet(1, 3), 2, 2), (unet(2, 2), 4, 4), (NEAREST, 3, 1), (CAUSAL, 1, 2), (CROPPED, 1, 3)]

RESNET18 = (
    Step("conv", options={"kernel": 7, "stride": 2, "padding": (3, 3)}),
    *(Step("conv", options={"kernel": 3, "stride": s, "padding": (1, 1)}) for s in [2, 1, 1, 1, 1] + [2, 1, 1, 1] * 3),
)


@pytest.fixture(scope="module")
def stem():
    return image_row(STEM, (29, 43), step=4)


def test_size_stride_padding(stem):
    """Kernel 7 stride 2 padding 3, then kernel 3 stride 2 padding 1: 11, 4, 5 on each axis."""
    assert (stem.size, stem.stride, stem.padding) == ((11, 11), (4, 4), (5, 5))
    assert (stem.sizes, stem.period, stem.input_shape) == (((11, 11), (11, 11)), (1, 1), (29, 43))


def test_box_and_center_leave_the_input_unless_clipped(stem):
    """Unit (0, 10) is at the upper and right border: start = stride * unit - padding, center = start + (size - 1)/2."""
    assert stem.box((0, 10)) == ((-5, 6), (35, 46))
    assert stem.box((0, 10), clip=True) == ((0, 6), (35, 43))
    assert stem.center((0, 10)) == (0, 40)


def test_clipped_box_is_exact_at_borders():
    """Clipping on the way differs from clipping at the end: a crop of padding in between keeps nothing of it."""
    graph = (*CAUSAL, Step("conv", options={"kernel": 3, "padding": (1, 1)}))
    row = image_row(graph, (9,), step=2)
    assert [row.box(u, clip=True) for u in range(4)] == [(hull,) for hull in hulls(evaluate(graph, 9))]


def test_resnet18_center_unit():
    """At 224 the center unit of a torchvision-style ResNet is (3, 3), at pixel 96."""
    row = image_row(RESNET18, (224, 160), step=32)
    assert (row.size, row.stride, row.padding) == ((435, 435), (32, 32), (217, 217))
    assert row.center_unit == (3, 2)
    assert row.center((3, 2)) == (96, 64)
    assert row.share == 1.0


@pytest.mark.parametrize(("graph", "period", "step"), NETS)
def test_center_unit_is_the_nearest(graph, period, step):
    """No unit has a center nearer to the middle of the input, and no lower one is as near."""
    row = image_row(graph, (40, 24), period=period, step=step)
    for axis, extent in enumerate((40, 24)):
        centers = [row.center([u if a == axis else 0 for a in (0, 1)])[axis] for u in range(row.unit_shape[axis])]
        away = [abs(c - (extent - 1) / 2) for c in centers]
        ties = [u for u, distance in enumerate(away) if distance == min(away)]
        assert row.center_unit[axis] == ties[(len(ties) - 1) // 2]


@pytest.mark.parametrize("name", ["d3k2", "d3k3"])
def test_unet_has_phases(name):
    """Smallest and largest size over a U-Net's phases; start = stride * unit - padding at the first largest one."""
    row = image_row(unet(3, int(name[-1]), transposed=True), (128,), period=8, step=8)
    assert list(row.sizes[0]) == UNET["vinloo"]["min_max_over_interior_units"][name]
    assert (row.stride, row.period) == ((1,), (8,))
    largest = next(u for u in range(8) if row.box(u)[0][1] - row.box(u)[0][0] == row.size[0])
    assert row.box(largest)[0][0] == largest - row.padding[0]
    assert row.box(largest + 64)[0][0] == largest + 64 - row.padding[0]


@pytest.mark.parametrize("key", ["1,3", "2,3", "3,3"])
def test_halo_of_aligned_tiles_is_at_most_that_of_the_middle_pixel(key):
    """U-Nets of CSBDeep: the published halo is enough for tiles at multiples of the period."""
    depth, kernel = map(int, key.split(","))
    published = UNET["csbdeep"]["halo_of_the_middle_pixel"]["pool2"][key]
    row = image_row(unet(depth, kernel), (96,), period=2**depth, step=2**depth)
    assert max(row.halo()[0]) <= published
    assert min(row.halo()[0]) >= published - 1
    assert all(loose >= tight for loose, tight in zip(row.halo(aligned=False)[0], row.halo()[0], strict=True))


@pytest.mark.parametrize(("graph", "period", "step"), NETS)
@pytest.mark.parametrize("aligned", [True, False])
def test_halo_against_all_tiles(graph, period, step, aligned):
    """The halo is the worst over all tiles of what their units see beyond the input positions that they own."""
    row = image_row(graph, (24,), period=period, step=step)
    every = period if aligned else 1
    ends = range(0, 3 * period + 1, every)
    seen = endless(graph, 24, range(3 * period), period, step, 100)
    before = after = 0
    for a in ends:
        for b in ends:
            if a < b:
                before = max(before, a * step // period - min(lo for lo, _ in seen[a:b]))
                after = max(after, max(hi for _, hi in seen[a:b]) - b * step // period)
    assert row.halo(aligned) == ((before, after),)


@pytest.mark.parametrize(("graph", "period", "step"), NETS)
def test_smallest_input_by_trying(graph, period, step):
    """No smaller input has its center unit wholly inside."""
    row = image_row(graph, (40,), period=period, step=step)
    seen = endless(graph, 40, range(30 * period), period, step, 100)

    def inside(size):
        lo, hi = min(seen, key=lambda box: abs(box[0] + box[1] - size))
        return lo >= 0 and hi <= size

    assert row.smallest_input == (next(size for size in range(1, 200) if inside(size)),)


def test_smallest_input_of_resnet18():
    """435 positions around pixel 224, the first multiple of 32 that has 217 before it: 442."""
    assert image_row(RESNET18, (224,), step=32).smallest_input == (442,)


def test_fractional_stride():
    """Beyond the input's resolution three units share a position: stride 1/3, padding 0."""
    row = image_row(NEAREST, (5, 7), period=3, step=1)
    assert row.stride == (Fraction(1, 3),) * 2
    assert row.padding == (0, 0)
    assert row.box((4, 20)) == ((1, 2), (6, 7))


def test_units_without_paths():
    """Between the nails of a transposed convolution of one tap nothing is seen: size 0, an empty box, no center."""
    row = image_row(NAILS, (5,), period=2, step=1)
    assert row.sizes == ((0, 1),)
    assert row.box(3) == row.box(3, clip=True) == ((0, 0),)
    assert math.isnan(row.center(3)[0])
    assert row.center_unit == (4,)
    assert (row.halo(), row.smallest_input) == (((0, 0),), (1,))


def test_layer_without_any_path():
    """A layer that does not depend on the input has size 0 and no stride."""
    nothing = Field(5, np.array(EMPTY_LO), np.array(EMPTY_HI))
    row = Row("bias", "Bias", (3, 2), (3,), (nothing,))
    assert (row.size, row.stride, row.box(1), row.share) == ((0,), (None,), ((0, 0),), 0)
    assert not row.units_seeing(2).any()


def test_global_axes():
    """What sees everything has the size of the input, no stride, and the middle unit as its center."""
    row = Row("gate", "SE", (7, 9, 4), (7, 9), (whole_field(29, 2), whole_field(43, 2)), global_axes=("y", "x"))
    assert (row.size, row.stride, row.padding, row.period) == ((29, 43), (None,) * 2, (None,) * 2, (None,) * 2)
    assert (row.halo(), row.smallest_input) == ((None, None), (None, None))
    assert row.box((6, 0)) == row.box((6, 0), clip=True) == ((0, 29), (0, 43))
    assert (row.center_unit, row.center((0, 0)), row.share) == ((3, 4), (14, 21), 1)


def test_one_axis_global():
    """Axes are judged one by one."""
    fields = (made_field(STEM, 29, 0, 2, step=4), whole_field(43, 2))
    row = Row("rows", "Mean", (8, 1, 4), (8, 1), fields, global_axes=("x",))
    assert (row.size, row.stride) == ((11, 43), (4, None))
    assert row.halo() == ((5, 2), None)
    assert row.box((1, 0)) == ((-1, 10), (0, 43))


def test_pooled_layer_has_the_empty_unit():
    """Behind a global pooling a unit is the empty index."""
    row = Row("head", "Dense", (10,), (), (whole_field(29, 0), whole_field(43, 0)))
    assert row.box(()) == ((0, 29), (0, 43))
    assert row.center_unit == ()
    assert row.units_seeing((3, 4)).shape == ()


def test_tokens_have_boxes_and_no_stride():
    """Patches of 4 in a list of 5 x 7: token 17 is patch (2, 3); no single number is their stride."""
    row = token_row(4, 5, 7)
    assert (row.size, row.stride, row.padding, row.halo()) == ((4, 4), (None, None), (None, None), (None, None))
    assert row.box(17) == ((8, 12), (12, 16))
    assert row.center_unit == (17,)
    assert np.argwhere(row.units_seeing((9, 27))).tolist() == [[20]]


@pytest.mark.parametrize("start_moves", [True, False])
def test_windows_have_no_stride(start_moves):
    """A field whose start or only whose end also changes inside the window axis is not a line over units."""
    base = made_field(STEM, 29, 0, 2, step=4)
    inside = along(np.arange(2), 1, 2)
    c = base.continuation
    endless_field = replace(c, lo=c.lo + inside * start_moves, hi=c.hi + inside)
    row = Row("windows", "W", (8, 2, 4), (8, 2), (replace(base, continuation=endless_field),))
    assert (row.stride, row.size) == ((None,), (11 if start_moves else 12,))
    assert row.box((1, 1)) == ((start_moves - 1, 11),)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 28), st.integers(0, 42))
def test_units_seeing_is_the_inverse_of_box(y, x):
    """A unit sees a position if its clipped box contains it."""
    row = image_row(STEM, (29, 43), step=4)
    seeing = row.units_seeing((y, x))
    assert seeing.shape == row.unit_shape
    for unit in np.ndindex(row.unit_shape):
        (top, bottom), (left, right) = row.box(unit, clip=True)
        assert seeing[unit] == (top <= y < bottom and left <= x < right)


def with_paths(row, min_size, aligned=True):
    paths = Paths(Fraction(4), Fraction(0), Fraction(0), Fraction(min_size), aligned)
    return replace(row, fields=tuple(replace(one, paths=paths) for one in row.fields))


def test_paths(stem):
    """Smallest path and alignment come from the paths; without paths the one is None and the other true."""
    assert (stem.min_size, stem.aligned) == ((None, None), True)
    told = with_paths(stem, Fraction(13, 2), aligned=False)
    assert (told.min_size, told.aligned) == ((Fraction(13, 2),) * 2, False)


def test_unproductive_needs_every_axis(stem):
    """The smallest path must see more than the input on each axis: 29 x 43."""
    assert not stem.unproductive
    assert not with_paths(stem, 43).unproductive
    assert with_paths(stem, 44).unproductive


def test_share(stem):
    """The center unit (3, 5) sees 11 x 11 of 29 x 43 positions."""
    assert stem.share == 121 / (29 * 43)


def test_repr_is_one_line(stem):
    """Name, kind, the three numbers, the output; what is wrong only where it is."""
    assert repr(stem) == "Row('layer' Conv: size 11, stride 4, padding 5, output 8×11×4)"
    odd = replace(with_paths(stem, 5, aligned=False), exact=False, global_axes=("batch",))
    assert repr(odd).endswith("output 8×11×4, not aligned, not exact, global batch)")


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ((1, 2, 3), r"Unit \(1, 2, 3\) has 3 numbers, but layer 'layer' has 2 axes, of shape \(8, 11\)"),
        (3, r"Unit \(3,\) has 1 numbers"),
        ((8, 0), r"Unit \(8, 0\) is outside of layer 'layer', of shape \(8, 11\). Use numbers in 0..7, 0..10"),
        ((0, -1), r"Unit \(0, -1\) is outside"),
        ((0.5, 1), r"Unit \(0.5, 1\) is not a position: 2 whole numbers are needed for layer 'layer'"),
        ("center", r"Unit 'center' is not a position"),
    ],
)
def test_wrong_units(stem, unit, message):
    """A unit has the layer's rank, whole numbers, and lies within the layer."""
    with pytest.raises(InputError, match=message):
        stem.box(unit)
    with pytest.raises(InputError, match=message):
        stem.center(unit)


def test_wrong_positions(stem):
    """A position lies within the input."""
    with pytest.raises(InputError, match=r"Position \(29, 0\) is outside of the input of layer 'layer'"):
        stem.units_seeing((29, 0))


def test_layer_without_units():
    """An empty layer has no center unit, and says what to do."""
    row = Row("empty", "Conv", (0, 4), (0,), (Field(5, np.zeros(0, int), np.zeros(0, int)),))
    assert row.size == (0,)
    with pytest.raises(InputError, match=r"Layer 'empty' has no units: its unit shape is \(0,\). Use a larger input"):
        _ = row.center_unit


def test_fields_must_fit():
    """Bounds that do not broadcast to the unit shape are refused when the row is made."""
    with pytest.raises(InputError, match=r"'layer' on input axis 0 has bounds of shapes \(8,\) and \(8,\)"):
        Row("layer", "Conv", (9, 4), (9,), (made_field(STEM, 29, step=4),))
