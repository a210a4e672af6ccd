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

from jaxrf import zoo
from jaxrf.zoo import unets
from jaxrf.zoo.layers import AvgPool
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


@cache
def slim_layers(network: str) -> dict[str, Layer]:
    name, options = VARIANTS.get(network, (network, {}))
    return primal_walk(zoo.models[name](**options), (224, 224, 3))


@pytest.mark.parametrize("network", sorted({row["network"] for row in ARAUJO}))
def test_slim_end_points_have_the_published_fields(network):
    """Each end-point is a module of that name, with the size, stride and padding of Araujo et al. on both axes."""
    layers = slim_layers(network)
    for row in ARAUJO:
        if row["network"] == network:
            layer = layers[row["end_point"]]
            expected = [(int(row[key]),) * 2 for key in ("size", "stride", "pad_224")]
            assert [layer.size, layer.stride, layer.padding] == expected, row["end_point"]
            assert layer.aligned, row["end_point"]


@pytest.mark.parametrize("network", sorted({row["network"] for row in ARAUJO}))
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
