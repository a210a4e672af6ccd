"""`jaxrf.trf` gives the published receptive fields, exactly; one trace for each network."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax import lax

import jaxrf
from jaxrf import zoo
from jaxrf.geometry.table import Table

DATA = Path(__file__).parents[1] / "data"
UNETS = json.loads((DATA / "unet.json").read_text())
GOOGLE = json.loads((DATA / "google_cases.json").read_text())
CASES = {case["name"]: case for case in GOOGLE["cases"]}
SMALL = {"alexnet_v2", "inception_v2", "mobilenet_v1", "mobilenet_v1_075", "resnet_v1_50", "vgg_16", "vgg_a"}


def rows(name: str) -> list[dict[str, str]]:
    lines = (DATA / name).read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


ARAUJO, RESNETS = rows("araujo2019.csv"), rows("resnets.csv")
VARIANTS = {
    "inception_v2-no-separable-conv": ("inception_v2", {"separable": False}),
    "inception_resnet_v2-same": ("inception_resnet_v2", {"padding": "SAME"}),
}
"""Networks of the table that are options of another one in the zoo."""


@pytest.mark.parametrize(
    "network",
    [n if n in SMALL else pytest.param(n, marks=pytest.mark.slow) for n in sorted({row["network"] for row in ARAUJO})],
)
def test_the_table_of_araujo(network):
    """Each end-point has the size, stride and padding of Araujo et al. on both axes, tight, and its cost within 2 %."""
    name, options = VARIANTS.get(network, (network, {}))
    table = jaxrf.trf(zoo.models[name](**options), (224, 224, 3))
    for row in ARAUJO:
        if row["network"] == network:
            layer = table[row["end_point"]]
            expected = [(int(row[key]),) * 2 for key in ("size", "stride", "pad_224")]
            assert [layer.size, layer.stride, layer.padding] == expected, row["end_point"]
            assert layer.exact and layer.aligned and not layer.notes
            assert layer.flops_so_far == pytest.approx(1e9 * float(row["gflops_224"]), rel=0.02, abs=5e5), row[
                "end_point"
            ]


@pytest.mark.parametrize(("network", "style"), sorted({(row["network"], row["style"]) for row in RESNETS}))
def test_resnets(network, style):
    """The symmetric ResNets are centered at stride * unit; with Flax's SAME padding they are not aligned."""
    padding = "SAME" if style == "same" else "symmetric"
    table = jaxrf.trf(zoo.models[network](padding=padding), (224, 224, 3))
    for row in RESNETS:
        if (row["network"], row["style"]) == (network, style):
            layer = table[row["after"]]
            expected = [(int(row[key]),) * 2 for key in ("size", "stride", "padding")]
            assert [layer.size, layer.stride, layer.padding] == expected
            assert layer.aligned is (style == "torchvision")
            assert layer.exact


def numbers(table: Table) -> dict[str, tuple]:
    """What does not depend on the size of the input, of the layers that are not global."""
    return {row.name: (row.size, row.stride, row.padding) for row in table if not row.global_axes}


@pytest.mark.parametrize("network", ["resnet18", "resnet152"])
@pytest.mark.slow
def test_large_inputs(network):
    """On 2048 x 2048 every local layer has the numbers that it has at 224 x 224."""
    model = zoo.models[network]()
    small, large = (numbers(jaxrf.trf(model, (n, n, 3))) for n in (224, 2048))
    assert len(small) > 50
    assert large == small


@pytest.mark.parametrize(
    ("depth", "kernel", "dilation", "stride"), [(10, 3, 1, 1), (3, 3, (1, 2, 4), 1), (4, (3, 5), 2, 1), (3, 5, 1, 2)]
)
def test_stacks_have_the_closed_form(depth, kernel, dilation, stride):
    """Size 1 + sum of (k - 1) d prod(s), stride prod(s), and padding with which the stack was built."""
    table = jaxrf.trf(zoo.conv_stack(depth, kernel, width=4, dilation=dilation, stride=stride), (64, 77, 3))
    kernels = (kernel, kernel) if isinstance(kernel, int) else kernel
    dilations = (dilation,) * depth if isinstance(dilation, int) else dilation
    for layer in range(depth):
        reach = sum(d * stride**i for i, d in enumerate(dilations[: layer + 1]))
        row = table[f"conv_{layer}"]
        assert row.size == tuple(1 + (k - 1) * reach for k in kernels)
        assert row.stride == (stride ** (layer + 1),) * 2
        if stride == 1:
            assert row.padding == tuple((k - 1) * reach // 2 for k in kernels)


@pytest.mark.parametrize("name", UNETS["vinloo"]["min_max_over_interior_units"])
def test_transposed_unets(name):
    """The smallest and the largest field over the phases of interior units."""
    model = zoo.unet(width=1, depth=int(name[1]), kernel=int(name[3]), up="transposed")
    row = jaxrf.trf(model, (160, 176, 1))[-1]
    assert [list(pair) for pair in row.sizes] == [UNETS["vinloo"]["min_max_over_interior_units"][name]] * 2
    assert row.period == (2 ** int(name[1]),) * 2
    assert row.stride == (1, 1)


@pytest.mark.parametrize(("pool", "case"), [(1, "1,5"), (1, "3,5"), (2, "2,3"), (2, "3,3"), (4, "1,3"), (4, "2,5")])
def test_nearest_unets(pool, case):
    """How far the middle unit sees is CSBDeep's halo; aligned tiles need no more."""
    depth, kernel = map(int, case.split(","))
    model = zoo.unet(width=1, depth=depth, kernel=kernel, up="nearest", pool=pool)
    row = jaxrf.trf(model, (256, 320, 1))[-1]
    halo = UNETS["csbdeep"]["halo_of_the_middle_pixel"][f"pool{pool}"][case]
    for (lo, hi), middle, sides in zip(row.box((128, 160)), (128, 160), row.halo()):
        assert max(middle - lo, hi - 1 - middle) == halo
        assert max(sides) <= halo


def operation(words: str):
    """An operation of a case, such as "conv[3,5] s2 VALID" or "pad [1,0]"."""
    if words.startswith("pad"):
        before, after = map(int, re.findall(r"\d+", words))
        return lambda x: jnp.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
    if words == "relu":
        return nn.relu
    *kernel, stride = map(int, re.findall(r"\d+", words))
    sizes, strides = (*kernel, *kernel)[:2], (stride, stride)
    if words.startswith("maxpool"):
        return lambda x: nn.max_pool(x, sizes, strides, "VALID")
    ones = jnp.ones((*sizes, 1, 1))
    return lambda x: lax.conv_general_dilated(x, ones, strides, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def chain(words: list[str], x):
    for one in words:
        x = operation(one)(x)
    return x


@pytest.mark.parametrize(
    ("name", "shape"), [("aligned", (16, 20, 1)), ("aligned_pool", (16, 20, 1)), ("non_square", (31, 23, 1))]
)
def test_graphs_of_the_receptive_field_library(name, shape):
    """Small graphs of two branches, or with kernels that are not square."""
    case = CASES[name]

    def model(x):
        if "chain" in case:
            return chain(case["chain"], x)
        return nn.relu(chain(case["left"], x) + chain(case["right"], x))

    row = jaxrf.trf(model, shape)[-1]
    assert [list(v) for v in (row.size, row.stride, row.padding)] == [case["size"], case["stride"], case["padding"]]
    assert row.aligned is case["aligned"]


def test_branches_of_different_strides_are_reported():
    """Where the authors of that library raise, the row says that its paths are not aligned, and has no stride."""
    case = CASES["unaligned"]
    row = jaxrf.trf(lambda x: chain(case["left"], x) + chain(case["right"], x), (8, 8, 1))[-1]
    assert not row.aligned
    assert row.stride == (None, None)
    assert row.exact


@pytest.mark.parametrize("case", [case for case in GOOGLE["chains"]["cases"] if "kernels" in case], ids=str)
def test_chains_of_the_toolbox(case):
    """Sizes after each layer of a chain."""

    def model(x):
        for i, (k, s) in enumerate(zip(case["kernels"], case["strides"])):
            x = jaxrf.tap(lax.reduce_window(x, 0.0, lax.add, (1, k, k, 1), (1, s, s, 1), "SAME"), str(i))
        return x

    table = jaxrf.trf(model, (64, 80, 1))
    assert [row.size for row in table][:-1] == [(size, size) for size in case["sizes"]]


def test_a_graph_of_the_toolbox():
    """Smallest and largest size where a short and a long path meet."""
    expected = next(case for case in GOOGLE["chains"]["cases"] if "dag" in case)["min_max"]

    def conv(x, k, s, name):
        return jaxrf.tap(lax.reduce_window(x, 0.0, lax.add, (1, k, k, 1), (1, s, s, 1), "SAME"), name)

    def model(x):
        x = conv(x, 3, 1, "c1")
        x = conv(x, 3, 2, "c2") + conv(x, 5, 2, "c3")
        return conv(conv(x, 3, 1, "c4"), 3, 1, "c5")

    table = jaxrf.trf(model, (64, 80, 1))
    assert {name: [table[name].min_size[0], table[name].size[0]] for name in expected} == expected


def test_vgg16():
    """The size after every convolution and pooling of VGG-16's features."""
    expected = next(v for case in GOOGLE["chains"]["cases"] for k, v in case.items() if k.startswith("vgg16"))
    table = jaxrf.trf(zoo.models["vgg_16"](), (224, 224, 3))
    sizes = [row.size[0] for row in table if re.search(r"/(conv\d_\d|pool\d)$", row.name)]
    assert sizes == expected


def test_worked_examples():
    """Yu and Koltun's dilations 1, 2, 4; and two layers in one dimension, by Araujo et al."""
    table = jaxrf.trf(zoo.conv_stack(3, 3, width=2, dilation=(1, 2, 4)), (40, 50, 1))
    assert [table[f"conv_{i}"].size[0] for i in range(3)] == [3, 7, 15]

    def two(x):
        return nn.avg_pool(nn.avg_pool(x, (3,), (3,), [(1, 1)]), (2,), (1,), [(0, 0)])

    assert jaxrf.trf(two, (20, 1))[-1].box((0,)) == ((-1, 5),)
