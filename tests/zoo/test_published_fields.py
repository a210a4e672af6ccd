"""The networks of the zoo have the published receptive fields and costs, by oracles that do not use the engine."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.zoo import unets
from jaxrf.zoo.layers import AvgPool
from tests.marks import mostly_slow
from tests.zoo.primal_walk import Layer, primal_walk

DATA = Path(__file__).parents[1] / "data"
UNETS = json.loads((DATA / "unet.json").read_text())


def rows(name: str) -> list[dict[str, str]]:
    lines = (DATA / name).read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


ARAUJO = rows("araujo2019.csv")
VARIANTS = {
    "inception_v2-no-separable-conv": ("inception_v2", {"separable": False}),
    "inception_resnet_v2-same": ("inception_resnet_v2", {"padding": "SAME"}),
}
"""Networks of the table that are options of another one in the zoo."""


OFTEN = {
    "alexnet_v2", "vgg_a", "vgg_16", "mobilenet_v1", "mobilenet_v1_075", "inception_v2", "resnet_v1_50", "resnet_v2_50",
}  # fmt: skip
NETWORKS = mostly_slow(sorted({row["network"] for row in ARAUJO}), OFTEN)


@cache
def slim_layers(network: str) -> dict[str, Layer]:
    name, options = VARIANTS.get(network, (network, {}))
    return primal_walk(zoo.models[name](**options), (224, 224, 3))


@pytest.mark.parametrize("network", NETWORKS)
def test_slim_end_points_have_the_published_fields(network):
    """Each end-point is a module of that name, with the size, stride and padding of Araujo et al. on both axes."""
    layers = slim_layers(network)
    for row in ARAUJO:
        if row["network"] == network:
            layer = layers[row["end_point"]]
            expected = [(int(row[key]),) * 2 for key in ("size", "stride", "pad_224")]
            assert [layer.size, layer.stride, layer.padding] == expected, row["end_point"]
            assert layer.aligned, row["end_point"]


@pytest.mark.parametrize("network", NETWORKS)
def test_slim_end_points_have_the_published_cost(network):
    """Operations up to each end-point: within 2 % or the last digit, a multiply-add counting as two."""
    layers = slim_layers(network)
    for row in ARAUJO:
        if row["network"] == network:
            published = pytest.approx(float(row["gflops_224"]), rel=0.02, abs=5e-4)
            assert layers[row["end_point"]].flops / 1e9 == published, row["end_point"]


@pytest.mark.parametrize(("network", "style"), sorted({(row["network"], row["style"]) for row in rows("resnets.csv")}))
def test_resnets_have_the_reference_fields(network, style):
    """The symmetric ResNets are centered at stride * unit; with Flax's SAME padding they are not aligned."""
    padding = "SAME" if style == "same" else "symmetric"
    layers = primal_walk(zoo.models[network](padding=padding), (224, 224, 3))
    for row in rows("resnets.csv"):
        if (row["network"], row["style"]) == (network, style):
            layer = layers[row["after"]]
            expected = [(int(row[key]),) * 2 for key in ("size", "stride", "padding")]
            assert [layer.size, layer.stride, layer.padding] == expected
            assert layer.aligned is (style == "torchvision")


def unet_support(monkeypatch, extent: int, **options) -> np.ndarray:
    """Which inputs (columns) each output (rows) of a U-Net on one axis sees: the Jacobian under positive weights.

    A mean takes the place of each max-pool, since it has the same window and lets every input of it through.
    """
    monkeypatch.setattr(unets, "MaxPool", AvgPool)
    model = zoo.unet(width=1, **options)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, extent, 1)))
    weights = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.5), shapes)
    jacobian = jax.jit(jax.jacrev(lambda x: model.apply(weights, x[None, :, None])[0, :, 0]))
    return np.asarray(jacobian(jnp.ones(extent))) != 0


@pytest.mark.parametrize("name", UNETS["vinloo"]["min_max_over_interior_units"])
def test_transposed_unets_have_the_reference_fields(monkeypatch, name):
    """The smallest and the largest field over the phases of interior units."""
    depth, kernel, extent = int(name[1]), int(name[3]), 160
    support = unet_support(monkeypatch, extent, depth=depth, kernel=kernel, up="transposed")
    middle = support[extent // 2 : extent // 2 + 2**depth]
    sizes = [int(np.ptp(np.flatnonzero(row))) + 1 for row in middle]
    assert [min(sizes), max(sizes)] == UNETS["vinloo"]["min_max_over_interior_units"][name]


@pytest.mark.parametrize(("pool", "case"), [(1, "1,5"), (1, "3,5"), (2, "2,3"), (2, "3,3"), (4, "1,3"), (4, "2,5")])
def test_nearest_unets_have_the_reference_halo(monkeypatch, pool, case):
    """How far the middle unit sees, to the farther side."""
    depth, kernel = map(int, case.split(","))
    extent = 256
    support = unet_support(monkeypatch, extent, depth=depth, kernel=kernel, up="nearest", pool=pool)
    seen = np.flatnonzero(support[extent // 2])
    halo = UNETS["csbdeep"]["halo_of_the_middle_pixel"][f"pool{pool}"][case]
    assert max(extent // 2 - seen[0], seen[-1] - extent // 2) == halo


@pytest.mark.parametrize(("depth", "kernel", "dilation"), [(10, 3, 1), (3, 3, (1, 2, 4)), (4, (3, 5), 2)])
def test_stacks_have_the_closed_form_field(depth, kernel, dilation):
    """One plus the sum of (kernel - 1) * dilation, per axis; the padding is half of what it adds."""
    model = zoo.conv_stack(depth, kernel, width=4, dilation=dilation)
    layer = primal_walk(model, (40, 33, 3))[f"conv_{depth - 1}"]
    kernels = (kernel, kernel) if isinstance(kernel, int) else kernel
    total = depth * dilation if isinstance(dilation, int) else sum(dilation)
    assert layer.size == tuple(1 + (k - 1) * total for k in kernels)
    assert layer.padding == tuple((k - 1) * total // 2 for k in kernels)


def residual(counts: tuple[int, ...], first: list[tuple[int, int]], *later: tuple[int, int]) -> list[tuple[int, int]]:
    """Kernels and strides of blocks of `later` ones: stage by stage, each but the first behind those of `first`."""
    return [step for i, count in enumerate(counts) for step in [*(first if i else []), *(later * count)]]


POOL = (2, 2)
PATHS = {
    "vgg11": [*[(3, 1), POOL] * 2, *[(3, 1), (3, 1), POOL] * 3],
    "vgg19": [*[(3, 1), (3, 1), POOL] * 2, *[*[(3, 1)] * 4, POOL] * 3],
    "densenet121": [(7, 2), (3, 2), *residual((6, 12, 24, 16), [POOL], (3, 1))],
    "densenet201": [(7, 2), (3, 2), *residual((6, 12, 48, 32), [POOL], (3, 1))],
    "resnext50_32x4d": [(7, 2), (3, 2), *residual((3, 3, 5, 2), [(3, 2)], (3, 1))],
    "wide_resnet50_2": [(7, 2), (3, 2), *residual((3, 3, 5, 2), [(3, 2)], (3, 1))],
    "efficientnet_b0": [
        *[(3, 2), (3, 1), (3, 2), (3, 1), (5, 2), (5, 1), (3, 2), (3, 1), (3, 1), *[(5, 1)] * 3],
        *[(5, 2), *[(5, 1)] * 3, (3, 1)],
    ],
    "mobilenet_v3_large": [
        *[(3, 2), (3, 1), (3, 2), (3, 1), (5, 2), (5, 1), (5, 1), (3, 2), *[(3, 1)] * 5],
        *[(5, 2), (5, 1), (5, 1)],
    ],
    "regnet_y_400mf": [(3, 2), (3, 2), *residual((0, 2, 5, 5), [(3, 2)], (3, 1))],
    "convnext_small": [(4, 4), *residual((3, 3, 27, 3), [POOL], (7, 1))],
    "replknet_31b": [
        *[(3, 2), (3, 1), (3, 2), *[(31, 1)] * 2, (3, 2), *[(29, 1)] * 2, (3, 2), *[(27, 1)] * 18],
        *[(3, 2), *[(13, 1)] * 2],
    ],
    "slak_tiny": [
        *[(4, 4), *[(51, 1)] * 3, POOL, *[(49, 1)] * 3, POOL, *[(47, 1)] * 9, POOL, *[(13, 1)] * 3],
    ],
    "inception_next_tiny": [(4, 4), *residual((3, 3, 9, 3), [POOL], (11, 1))],
    "poolformer_s12": [(7, 4), *residual((2, 2, 6, 2), [(3, 2)], (3, 1))],
    "van_b1": [(7, 4), *residual((2, 2, 4, 2), [(3, 2)], (5, 1), (19, 1), (3, 1))],
}
"""The path that sees farthest, written down from the papers: (reach of the kernel, stride) of each layer."""
KNOWN = {"vgg11": 150, "vgg19": 268, "densenet121": 2071, "resnext50_32x4d": 427, "wide_resnet50_2": 427}
"""Sizes that are published: Araujo et al. (2019) for the stages of VGG-11 and ResNet-50."""


@pytest.mark.parametrize("name", mostly_slow(PATHS, {"vgg11", "poolformer_s12"}))
def test_networks_of_papers_have_the_fields_of_their_longest_path(name):
    """Size and stride of the last map, without what gates and normalizations see."""
    size, stride = 1, 1
    for kernel, step in PATHS[name]:
        size, stride = size + (kernel - 1) * stride, stride * step
    assert KNOWN.get(name, size) == size
    layer = primal_walk(zoo.models[name](), zoo.models[name].input_shape)[""]
    assert (layer.size, layer.stride) == ((size, size), (stride, stride))


@pytest.mark.parametrize(
    ("name", "options", "shape", "size"),
    [
        pytest.param("wavenet", {}, (8192, 1), 1 + 1 + 3 * 1023, marks=pytest.mark.slow),
        ("wavenet", {"stacks": 1, "channels": 4}, (4096, 1), 1024 + 1),
        ("tcn", {}, (8192, 1), 1 + 2 * 6 * 255),
        ("tcn", {"levels": 4, "kernel": 3}, (99, 1), 1 + 2 * 2 * 15),
    ],
)
def test_causal_networks_have_the_closed_form_field(name, options, shape, size):
    """WaveNet sees 1024 samples per stack of ten layers behind its first one; TCN 1 + 2 (k - 1) (2^n - 1) (section 3)."""
    row = jaxrf.trf(zoo.models[name](**options), shape)[-1]
    assert (row.size, row.stride, row.look_ahead) == ((size,), (1,), (0,))


def test_the_3d_unet_has_the_field_of_its_windows():
    """92 or 100 positions by phase; the paper's 88 are what a tile is larger than its output (section 3, figure 2)."""
    sizes = set()
    for unit in range(8):  # from the output to the input: the span of positions that it sees at each level
        lo, hi = unit, unit + 5
        for _ in range(2):
            lo, hi = lo // 2, (hi + 1) // 2 + 4
        lo, hi = lo // 2, (hi + 1) // 2 + 4
        span = hi - lo
        for _ in range(3):
            span = 2 * span + 4
        sizes.add(span)
    assert sizes == {92, 100}
    table = jaxrf.trf(zoo.unet_3d(width=2), zoo.unet_3d.input_shape)
    found = {hi - lo for unit in range(8) for lo, hi in table[-1].box((unit, unit, unit))}
    assert found <= sizes and max(found) == max(sizes)
    out = jax.eval_shape(
        lambda: zoo.unet_3d(width=2).init_with_output(jax.random.key(0), jnp.zeros((1, 132, 116, 3)))[0]
    )
    assert (132 - out.shape[1], 116 - out.shape[2]) == (88, 88)


@pytest.mark.slow
def test_dilation_keeps_the_size_of_a_resnet():
    """DeepLab's ResNet-50 sees 427 positions as the plain one, at stride 8; ASPP adds its largest rate, a 3x3 its one."""
    table = jaxrf.trf(zoo.deeplab_v3(width=2, features=4, image_pool=False), (104, 104, 3))
    row = table["backbone"]
    assert (row.size, row.stride) == ((427, 427), (8, 8))
    assert table["aspp"].size == (427 + 2 * 36 * 8,) * 2
    assert table[-1].size == (427 + 2 * 36 * 8 + 2 * 8,) * 2
