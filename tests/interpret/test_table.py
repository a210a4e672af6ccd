"""Tables of traced models: layer to layer, rows of real networks, inputs that are too small."""

from __future__ import annotations

import csv
import io
import json
import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError, UnknownNameError, UnknownPrimitiveError
from jaxrf.geometry.table import Table


class Valid(nn.Module):
    """Convolutions without padding, with pooling before them if asked for."""

    kernel: int = 3
    stride: int = 1
    pool: int = 0

    @nn.compact
    def __call__(self, x):
        for i in range(4):
            if self.pool:
                x = nn.max_pool(x, (self.pool,) * 2, (self.pool,) * 2)
            x = nn.Conv(4, (self.kernel,) * 2, self.stride, padding="VALID", name=f"conv{i}")(x)
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Valid(),
            r"conv_general_dilated in layer 'conv2', called at test_table.py:\d+ \(.*__call__\) makes an empty array",
        ),
        (Valid(stride=9), r"layer 'conv1'.* of shape \(0, 0, 4\) from one of shape \(1, 1, 4\)"),
        (Valid(kernel=9), r"layer 'conv0'.* from one of shape \(5, 7, 3\). An input of 5×7×3 is too small for Valid"),
        (
            Valid(kernel=1, pool=2),
            r"select_and_gather_add in layer 'output', called at .*__call__\) makes an empty array",
        ),
        (lambda x: x[:, 5:], r"Layer 'output' comes out empty, of shape \(0, 7, 3\)"),
    ],
)
def test_an_input_that_is_too_small_names_the_first_empty_layer(model, message):
    """Windows larger than the map, and strides beyond it, end with the module that has them, its line and its sizes."""
    for call in (jaxrf.trf, jaxrf.paths):
        with pytest.raises(InputError, match=message):
            call(model, (5, 7, 3))


def test_an_empty_slice_on_the_way_is_no_error():
    """A roll by nothing joins an empty slice; its field is that of the rest."""
    row = jaxrf.trf(lambda x: jnp.concatenate([x[:, 3:3], x], 1), (5, 7, 3))[-1]
    assert (row.size, row.stride) == ((1, 1), (1, 1))


def test_fields_on_a_layer_count_its_positions():
    """From conv1 of a stack with stride 2: two more 3x3 convolutions are 5 of its positions, stride 1."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 3), 2, name="conv1")(x)
            side = nn.Conv(4, (1, 1), name="side")(x)
            x = nn.Conv(4, (3, 3), name="conv2")(x)
            return nn.Conv(4, (3, 3), 2, padding=1, name="conv3")(x) + side[:, ::2, ::2]

    table = jaxrf.trf(Net(), (16, 24, 3), wrt="conv2")
    assert table.names == ("conv3", "output")
    table = jaxrf.trf(Net(), (16, 24, 3), wrt="conv1")
    assert table.names == ("side", "conv2", "conv3", "output")
    row = table["conv3"]
    assert (row.size, row.stride, row.padding, row.input_shape) == ((5, 5), (2, 2), (2, 2), (8, 12))
    assert row.box((0, 5), clip=True) == ((0, 3), (8, 12))
    assert table["output"].min_size == (1, 1)
    assert "seen from 'conv1'" in str(table)
    with pytest.raises(UnknownNameError, match="Unknown layer 'conv9'.*Did you mean"):
        jaxrf.trf(Net(), (16, 24, 3), wrt="conv9")


def test_fields_on_tokens_count_tokens():
    """On a layer of windows of tokens the positions are window and token: attention inside sees one whole window."""

    class Windows(nn.Module):
        @nn.compact
        def __call__(self, x):
            b, h, w, c = x.shape
            x = x.reshape(b, h // 2, 2, w // 3, 3, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 6, c)
            x = nn.Dense(4, name="embed")(x)
            return nn.MultiHeadDotProductAttention(2, name="attention")(x)

    row = jaxrf.trf(Windows(), (4, 9, 3), wrt="embed")["attention"]
    assert row.input_shape == (6, 6)  # six windows of six tokens
    assert row.box((4, 1), clip=True) == ((4, 5), (0, 6))
    assert row.global_axes == ("x",)


def test_rows_of_a_network_agree_with_their_definitions():
    """share, units_seeing, halo and smallest_input of a real row, recomputed from its boxes."""
    table = jaxrf.trf(zoo.resnet18(), (96, 128, 3))
    row = table["layer2"]
    center = row.box(row.center_unit, clip=True)
    assert row.share == pytest.approx(np.prod([hi - lo for lo, hi in center]) / (96 * 128))
    seeing = row.units_seeing((40, 77))
    for unit in np.ndindex(*row.unit_shape):
        inside = all(lo <= p < hi for p, (lo, hi) in zip((40, 77), row.box(unit, clip=True)))
        assert seeing[unit] == inside
    (before, after), _ = row.halo()
    lo, hi = row.box((5, 5))[0]
    assert (before, after) == (8 * 5 - lo, hi - 8 * 6)
    size = row.smallest_input[0]
    fits = [(b - 49, b + 50) for b in range(0, size, 8)]
    nearest = min(fits, key=lambda box: abs(sum(box) - size))
    assert nearest[0] >= 0 and nearest[1] <= size


def test_unproductive_layers_of_a_small_input():
    """A stack whose smallest path exceeds 16 positions: layers from the eighth on (size 17) are unproductive."""
    table = jaxrf.trf(zoo.conv_stack(depth=12), (16, 16, 3))
    found = [row.unproductive for row in table if row.name.startswith("conv_")]
    assert found == [2 * depth + 1 > 16 for depth in range(1, 13)]


def test_exports_hold_halo_smallest_input_and_causes():
    """CSV and JSON name what is global and why, and hold halos and smallest inputs."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 5), name="conv")(x)
            return nn.GroupNorm(2, name="norm")(x)

    table = jaxrf.trf(Net(), (9, 11, 3))
    lines = {line["name"]: line for line in csv.DictReader(io.StringIO(table.to_csv()))}
    conv, norm = lines["conv"], lines["norm"]
    assert (conv["halo_before_y"], conv["halo_after_x"], conv["smallest_input_x"]) == ("1", "2", "5")
    assert norm["global_axes"] == "y x"
    assert norm["global_cause"].startswith("reduce_sum in layer 'norm'")
    values = {row["name"]: row for row in json.loads(table.to_json())["rows"]}
    assert values["conv"]["halo"] == [[1, 1], [2, 2]]
    assert values["conv"]["smallest_input"] == [3, 5]
    assert Table.from_json(table.to_json())["norm"].global_cause == table["norm"].global_cause


def test_names_survive_train_mode():
    """A model that changes its statistics is called twice while it is traced, and its layers are named once."""
    table = jaxrf.trf(
        nn.Sequential([nn.Conv(4, (3, 3)), nn.BatchNorm(use_running_average=False), nn.Conv(4, (3, 3))]), (9, 11, 3)
    )
    assert table.names == ("layers_0", "layers_1", "layers_2", "output")
    assert table["layers_1"].global_axes == ("y", "x", "batch")


class Centered(nn.Module):
    """Means between layers, in the model itself and in a block of it."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(3, (3, 3), name="a")(x)
        x = nn.remat(Inner)(name="block")(x - x.mean(1, keepdims=True))
        return nn.Conv(3, (3, 3), name="b")(jnp.sin(x))


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.jit(nn.Conv)(3, (1, 1), name="first")(x)
        return nn.Conv(3, (1, 1), name="last")(x - x.max(2, keepdims=True))


class Plain(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.a = nnx.Conv(2, 3, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.b = nnx.Conv(3, 2, (3, 3), rngs=rngs)

    def __call__(self, x):
        x = self.a(x)
        return self.b(self.norm(x - x.mean(1, keepdims=True)))


def centered(x):
    x = jaxrf.tap(jnp.sin(x), "a")
    return jaxrf.tap(jnp.cos(x - x.mean(1, keepdims=True)), "b")


def causes(row):
    """The layers that made the axes y and x global."""
    return [re.findall(r"in layer '([^']*)'", row.global_cause.get(axis, "")) for axis in "yx"]


def test_causes_name_the_layer_whose_operation_it_is():
    """What a module does between two of its layers is its own; `output` stands for the model, whose row it is."""
    table = jaxrf.trf(Centered(), (5, 7, 2))
    found = {row.name: causes(row) for row in table}
    assert found["a"] == [[], []]
    assert found["block/first"] == [["output"], []]
    assert found["block/last"] == found["block"] == found["b"] == [["output"], ["block"]]
    assert "test_table.py" in table["b"].global_cause["x"] and "(Inner.__call__)" in table["b"].global_cause["x"]


def test_causes_in_nnx_and_in_functions():
    """So it is in NNX; in a function, taps alone tell, and an operation works for the first one behind it."""
    net = Plain(nnx.Rngs(0))
    assert causes(jaxrf.trf(net, (5, 7, 2))["norm"])[0] == ["output"]
    assert causes(jaxrf.trf(centered, (5, 7, 2))["b"])[0] == ["b"]


def test_train_mode_of_nnx_names_the_way_out():
    """Batch statistics of an NNX module say `model.eval()` wherever they are the cause, and are gone after it."""
    net = Plain(nnx.Rngs(0))
    row = jaxrf.trf(net, (5, 7, 2))["norm"]
    assert re.search(r"in layer 'norm', .*in train mode.*model\.eval\(\)", row.global_cause["batch"])
    net.eval()
    assert "batch" not in jaxrf.trf(net, (5, 7, 2))["norm"].global_axes
    net.train()
    with pytest.raises(InputError, match=r"see each other \(.*model\.eval\(\).*same size; found 1 after 2"):
        jaxrf.erf(net, inputs=[np.ones((2, 5, 7, 2), np.float32), np.ones((1, 5, 7, 2), np.float32)])


def test_unknown_operations_name_the_layer_whose_they_are():
    """A loop between two layers is not put down to the second."""

    class Loop(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(2, (3, 3), name="a")(x)
            x = jax.lax.while_loop(lambda y: y.sum() > 3, lambda y: y * 0.5, x)
            return nn.Conv(2, (3, 3), name="b")(x)

    with pytest.raises(
        UnknownPrimitiveError, match=r"primitive 'while', in layer 'output', called at .*Loop\.__call__\)"
    ):
        jaxrf.trf(Loop(), (5, 7, 2))


def test_paths_of_one_center_and_two_strides_are_not_aligned():
    """Unit 0 sees position 0 by both paths, unit 3 sees 3 by one and 6 by the other; of the same stride they agree."""
    assert not jaxrf.trf(lambda x: x[:, ::2] + x[:, :5], (10, 1))[-1].aligned
    assert jaxrf.trf(lambda x: x[:, ::2] + 3 * x[:, :10:2], (10, 1))[-1].aligned
    assert not jaxrf.trf(lambda x: x[:, ::2] + x[:, 1::2], (10, 1))[-1].aligned


def test_paths_that_meet_keep_the_smallest_one():
    """Kernels 5, 3, and 3 behind 5: the largest is 7 wide, the smallest 3; merged into an axis they keep one center."""

    def conv(x, taps):
        return jax.lax.conv_general_dilated(
            x, np.ones((taps, 1, 1), np.float32), (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )

    row = jaxrf.trf(lambda x: conv(x, 5) + conv(x, 3) + conv(conv(x, 3), 5), (11, 1))[-1]
    assert (row.size, row.min_size, row.aligned) == ((7,), (3,), True)

    def shuffled(x):
        """Two features become two positions, and stand beside the copies of nearest upsampling."""
        return x.reshape(-1, 10, 1) + jnp.repeat(x[..., :1], 2, 1)

    row = jaxrf.trf(shuffled, (5, 2))[-1]
    assert (row.stride, row.aligned) == ((Fraction(1, 2),), True)
    assert not jaxrf.trf(lambda x: shuffled(x) + jnp.pad(x, ((0, 0), (0, 5), (0, 0)))[..., :1], (5, 2))[-1].aligned


def test_the_box_of_a_unit_is_the_hull_over_its_features():
    """Of two features one sees its own position and one the position two before: together three positions."""
    row = jaxrf.trf(lambda x: jnp.concatenate([x, jnp.pad(x, ((0, 0), (2, 0), (0, 0)))[:, :-2]], -1), (9, 1))[-1]
    assert (row.size, row.padding, row.box(5)) == ((3,), (2,), ((3, 6),))
    row = jaxrf.trf(lambda x: x.reshape(-1, 5, 4), (10, 2))[-1]  # two positions that become features
    assert (row.size, row.stride, row.padding, row.box(2)) == ((2,), (2,), (0,), ((4, 6),))


def test_flops_are_those_of_one_image():
    """Three taps on 11 positions and a bias; a dense layer of 2 to 5 features on each; the larger of two, five times."""
    taps, dense = np.ones((3, 1, 1), np.float32), np.ones((2, 5), np.float32)

    def conv(x):
        return jax.lax.conv_general_dilated(x, taps, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))

    assert jaxrf.trf(conv, (11, 1))[-1].flops == 11 * (2 * 3 + 1)
    assert jaxrf.trf(lambda x: x @ dense, (11, 2))[-1].flops == 2 * 11 * 2 * 5
    assert jaxrf.trf(lambda x: nn.max_pool(x, (2,), (2,)), (10, 1))[-1].flops == 5 * 2


class Shared(nn.Module):
    """A block that is called twice and mixes in itself, between two layers of their own."""

    @nn.compact
    def __call__(self, x):
        block = Mixed(name="block")
        return nn.Dense(7, name="head")(block(block(nn.Dense(4, name="stem")(x))))


class Mixed(nn.Module):
    @nn.compact
    def __call__(self, x):
        inner = nn.Dense(5, name="inner")(x)
        return x + inner @ np.ones((5, 4), np.float32)


def test_flops_of_a_layer_and_of_all_before_it_are_told_apart():
    """A call of a block costs what stands in it, whatever ran before; the last layers hold all of the model."""
    table = jaxrf.trf(Shared(), (11, 3))
    per_call, positions = 2 * (4 * 5 + 5 * 4), 11
    own = {"stem": 2 * 3 * 4, "block": per_call, "block#1": per_call, "head": 2 * 4 * 7, "block/inner#1": 2 * 4 * 5}
    assert {name: table[name].flops for name in own} == {name: positions * cost for name, cost in own.items()}
    so_far = {"stem": 24, "block": 24 + per_call, "block#1": 24 + 2 * per_call, "output": 24 + 2 * per_call + 56}
    assert {name: table[name].flops_so_far for name in so_far} == {n: positions * cost for n, cost in so_far.items()}
    assert table["output"].flops == table["output"].flops_so_far


def test_flops_of_taps_in_a_function():
    """In a function a tap holds what stands between it and the one before; within a module it is not told apart."""
    first, second = np.ones((2, 5), np.float32), np.ones((5, 3), np.float32)

    def model(x):
        return jaxrf.tap(jaxrf.tap(x @ first, "first") @ second, "second")

    rows = jaxrf.trf(model, (11, 2))
    assert [(row.flops, row.flops_so_far) for row in rows] == [(220, 220), (330, 550), (550, 550)]

    class Tapping(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jaxrf.tap(nn.Dense(3, name="dense")(x), "tapped")

    row = jaxrf.trf(Tapping(), (11, 2))["tapped"]
    assert (row.flops, row.flops_so_far) == (None, 11 * 2 * 2 * 3)
