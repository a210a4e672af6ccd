"""The reference itself: each operation on a signal small enough to see, and numbers known from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.geometry.index_sets import (
    Step,
    add,
    concat,
    conv,
    cumsum,
    cut,
    endless,
    evaluate,
    hulls,
    mean,
    nearest,
    pad,
    pool,
    reverse,
    roll,
    signals,
    source,
    unet,
)

UNET = json.loads((Path(__file__).parents[1] / "data" / "unet.json").read_text())


def listed(x):
    return [sorted(s) for s in x]


def test_conv_reads_its_taps():
    """Kernel 3, stride 2, padding 1 before and 0 after, on 5 positions."""
    assert listed(conv(source(5), 3, 2, (1, 0))) == [[0, 1], [1, 2, 3]]


def test_conv_skips_zero_taps():
    """A masked kernel has holes."""
    assert listed(conv(source(5), [True, False, True])) == [[0, 2], [1, 3], [2, 4]]


def test_dilation_leaves_holes():
    """Two taps, three apart."""
    assert listed(conv(source(5), 2, dilation=3)) == [[0, 3], [1, 4]]


def test_base_dilation_is_a_transposed_convolution():
    """Kernel 2, stride 2, transposed: each position feeds two outputs."""
    assert listed(conv(source(3), 2, padding=(1, 1), base_dilation=2)) == [[0], [0], [1], [1], [2], [2]]


def test_base_dilation_with_one_tap_leaves_empty_positions():
    """A bed of nails: the positions between depend on nothing."""
    assert listed(conv(source(2), 1, base_dilation=3)) == [[0], [], [], [1]]


def test_pool_has_its_kernel_as_stride():
    """Windows of 2 on 5 positions; the last one does not fit."""
    assert listed(pool(source(5), 2)) == [[0, 1], [2, 3]]


def test_pad_crops_where_negative():
    """One position off the front, an empty one between and two behind."""
    assert listed(pad(source(3), -1, 2, interior=1)) == [[], [1], [], [2], [], []]


def test_branches_unite():
    """A sum depends on what either branch depends on; lengths must agree."""
    assert listed(add(source(3), roll(source(3), 1))) == [[0, 2], [0, 1], [1, 2]]
    with pytest.raises(AssertionError, match="different lengths"):
        add(source(3), source(4))


def test_moves():
    """Slices, repetition, concatenation and reversal only move positions."""
    x = source(5)
    assert listed(cut(x, 1, 5, 2)) == [[1], [3]]
    assert listed(nearest(x[:2], 2)) == [[0], [0], [1], [1]]
    assert listed(concat(x[3:], x[:1])) == [[3], [4], [0]]
    assert listed(reverse(x))[:2] == [[4], [3]]


def test_cumulative_and_global():
    """A running sum sees its past, a mean sees all."""
    assert listed(cumsum(source(3))) == [[0], [0, 1], [0, 1, 2]]
    assert listed(mean(source(3))) == [[0, 1, 2]] * 3


def test_graph_refers_to_signals_by_number():
    """A residual block: the input is signal 0, the sum of both is the result."""
    graph = (Step("conv", (0,), {"kernel": 3, "padding": (1, 1)}), Step("add", (0, 1)))
    assert len(signals(graph, 7)) == 3
    assert hulls(evaluate(graph, 7))[:2] == [(0, 2), (0, 3)]


def test_endless_box_leaves_the_input():
    """Unit 0 of a padded convolution of stride 2 begins at -1."""
    graph = (Step("conv", options={"kernel": 3, "stride": 2, "padding": (1, 1)}),)
    assert endless(graph, 9, [0, 4], 1, 2, 3) == [(-1, 2), (7, 10)]


@pytest.mark.parametrize("name", ["d3k2", "d3k3"])
def test_unet_sizes_by_phase(name):
    """Smallest and largest field over the phases of a U-Net with transposed convolutions."""
    kernel = int(name[-1])
    found = hulls(evaluate(unet(3, kernel, transposed=True), 304))[152:160]
    sizes = [hi - lo for lo, hi in found]
    assert [min(sizes), max(sizes)] == UNET["vinloo"]["min_max_over_interior_units"][name]


@pytest.mark.parametrize(
    ("pool_by", "depth", "kernel", "halo"),
    [
        (int(pool_name[4:]), *map(int, key.split(",")), halo)
        for pool_name, cases in UNET["csbdeep"]["halo_of_the_middle_pixel"].items()
        for key, halo in cases.items()
    ],
)
def test_unet_middle_pixel(pool_by, depth, kernel, halo):
    """The half-field of pixel n/2, a multiple of the period, of U-Nets with nearest upsampling."""
    size = 2 * pool_by**depth * (2 * halo // pool_by**depth + 1)
    lo, hi = hulls(evaluate(unet(depth, kernel, pool_by), size))[size // 2]
    assert max(size // 2 - lo, hi - 1 - size // 2) == halo
