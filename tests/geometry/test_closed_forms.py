"""Closed forms against each other, against index sets and against published numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrf.errors import InputError
from jaxrf.geometry import closed_forms as cf
from jaxrf.geometry.closed_forms import Layer
from tests.geometry.index_sets import Step, endless, evaluate, hulls

CHAINS = json.loads((Path(__file__).parents[1] / "data" / "google_cases.json").read_text())["chains"]["cases"]


def chains(most_padding):
    layers = st.builds(Layer, st.integers(1, 5), st.integers(1, 3), st.integers(0, most_padding), st.integers(1, 3))
    return st.lists(layers, min_size=1, max_size=4)


def as_graph(chain):
    """The chain as a graph, padded in front only."""
    return tuple(
        Step(
            "conv", options={"kernel": c.kernel, "stride": c.stride, "padding": (c.padding, 0), "dilation": c.dilation}
        )
        for c in chain
    )


@pytest.mark.parametrize("case", [c for c in CHAINS if "kernels" in c], ids=str)
def test_published_chains(case):
    """Sizes after each layer, as the suite of rfa-toolbox has them."""
    chain = [Layer(k, s) for k, s in zip(case["kernels"], case["strides"], strict=True)]
    assert [cf.size(chain[: i + 1]) for i in range(len(chain))] == case["sizes"]


def test_vgg16():
    """Sizes after every convolution and pooling of VGG-16."""
    blocks = [2, 2, 3, 3, 3]
    chain = [layer for n in blocks for layer in [Layer(3, padding=1)] * n + [Layer(2, 2)]]
    (expected,) = [v for c in CHAINS for key, v in c.items() if key.startswith("vgg16")]
    assert [cf.size(chain[: i + 1]) for i in range(len(chain))] == expected


def test_paths_of_a_small_graph():
    """Two branches of kernels 3 and 5: the smallest and the largest path bound the field."""
    (case,) = [c["min_max"] for c in CHAINS if "min_max" in c]
    first, tail = Layer(3), [Layer(3), Layer(3)]
    for depth, name in enumerate(["c4", "c5"], start=1):
        paths = [[first, Layer(k, 2), *tail[:depth]] for k in (3, 5)]
        assert [cf.size(path) for path in paths] == case[name]
    assert [cf.size([first, Layer(k, 2)]) for k in (3, 5)] == [case["c2"][0], case["c3"][0]]


def test_araujo_two_layers():
    """Kernel 3, stride 3, padding 1, then kernel 2: unit 0 sees positions -1 to 4."""
    chain = [Layer(3, 3, 1), Layer(2)]
    assert cf.box(chain, 0) == (-1, 5)
    assert (cf.start(chain, 0), cf.end(chain, 0)) == (-1, 5)


def test_yu_koltun():
    """3x3 convolutions of dilation 1, 2, 4 see 3, 7, 15 positions."""
    chain = [Layer(3, dilation=d) for d in (1, 2, 4)]
    assert [cf.size_by_sum(chain[: i + 1]) for i in range(3)] == [3, 7, 15]


def test_resnet18_in_torchvision_style():
    """Strides, paddings and centers of the longest path of a ResNet-18: center of unit u is 32 u."""
    chain = [Layer(7, 2, 3), Layer(3, 2, 1)] + [Layer(3, 1, 1)] * 4
    chain += ([Layer(3, 2, 1)] + [Layer(3, 1, 1)] * 3) * 3
    assert (cf.size(chain), cf.stride(chain), cf.padding(chain)) == (435, 32, 217)
    assert cf.center(chain, 3) == 96


def test_center_may_be_a_half():
    """A kernel of 2 has its middle between two positions."""
    assert cf.center([Layer(2, 2)], 3) == 6.5


@given(chains(4), st.integers(0, 20))
def test_recursion_and_sums_agree(chain, unit):
    """Walking back and summing up give the same size and the same ends."""
    assert cf.size(chain) == cf.size_by_sum(chain)
    assert cf.box(chain, unit) == (cf.start(chain, unit), cf.end(chain, unit))
    assert cf.end(chain, unit) - cf.start(chain, unit) == cf.size(chain)


@settings(deadline=None, max_examples=60)
@given(chains(4))
def test_against_index_sets(chain):
    """The box of a unit is the hull of the positions that it depends on, on an endless input."""
    stride = cf.stride(chain)
    far = -(-cf.padding(chain) // stride) + cf.size(chain) // stride + 1
    found = endless(as_graph(chain), 1, [0, 1, -1], 1, stride, far + 1)
    assert found == [cf.box(chain, unit) for unit in (0, 1, -1)]


@settings(deadline=None, max_examples=60)
@given(chains(0), st.integers(0, 9))
def test_without_padding_the_field_is_inside(chain, more):
    """Units of an unpadded chain see what the closed form says, from the smallest input on that has any."""
    size = cf.size(chain) + more
    found = hulls(evaluate(as_graph(chain), size))
    assert found == [cf.box(chain, unit) for unit in range(len(found))]
    assert len(found) == more // cf.stride(chain) + 1


@pytest.mark.parametrize("wrong", [{"kernel": 0}, {"kernel": 3, "stride": 0}, {"kernel": 3, "dilation": -1}])
def test_impossible_layers(wrong):
    """Kernel, stride and dilation are at least 1."""
    with pytest.raises(InputError, match="It must be at least 1"):
        Layer(**wrong)
