"""Path counts of traced models: worked examples, dense Jacobians of ones, and counting along all paths one by one."""

from __future__ import annotations

import collections
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError, UnknownNameError
from tests.geometry import index_sets
from tests.geometry.index_sets import Step


class Stack(nn.Module):
    """3x3 convolutions, each followed by an activation."""

    dilations: tuple[int, ...] = (1, 1)
    act: object = staticmethod(nn.relu)
    norm: bool = False

    @nn.compact
    def __call__(self, x):
        kernel = (3,) * (x.ndim - 2)
        for i, d in enumerate(self.dilations):
            x = nn.Conv(4, kernel, kernel_dilation=d, name=f"conv{i}")(x)
            x = self.act(nn.LayerNorm()(x) if self.norm else x)
        return x


def on_input(paths) -> np.ndarray:
    """Counts on the whole input."""
    full = np.zeros(paths.input_shape, object)
    full[tuple(slice(lo, hi) for lo, hi in paths.box)] = paths.counts
    return full


def test_two_convolutions_give_an_outer_product():
    """Two 3x3 convolutions seen from the middle of 5x5: the outer product of (1, 2, 3, 2, 1)."""
    paths = jaxrf.paths(Stack(), (5, 5, 3))
    line = np.array([1, 2, 3, 2, 1])
    np.testing.assert_array_equal(paths.counts, np.outer(line, line))
    assert (paths.counts.dtype, paths.total, paths.density) == (np.int64, 81, 1.0)


def test_borders_lose_paths():
    """The corner unit of 5x7 has the paths that stay inside on the way: (2, 2, 1) per axis."""
    paths = jaxrf.paths(Stack(), (5, 7, 3), unit=(0, 0))
    np.testing.assert_array_equal(paths.counts, np.outer([2, 2, 1], [2, 2, 1]))
    assert paths.box == ((0, 3), (0, 3))


def test_dilated_stacks_leave_holes():
    """Three dilations of 2 reach every second position only: gridding, 7 of 13 positions per axis."""
    paths = jaxrf.paths(Stack((2, 2, 2)), (15, 17, 3))
    line = np.array([1, 0, 3, 0, 6, 0, 7, 0, 6, 0, 3, 0, 1])
    np.testing.assert_array_equal(paths.counts, np.outer(line, line))
    np.testing.assert_array_equal(paths.support, np.outer(line, line) > 0)
    assert paths.density == pytest.approx(49 / 169)


@pytest.mark.parametrize("act", [nn.silu, nn.gelu, lambda x: nn.softmax(x) * jnp.tanh(x)])
def test_elementwise_arithmetic_is_no_step(act):
    """SiLU, GELU, softmax over channels and LayerNorm count once, though their derivatives have several terms."""
    paths = jaxrf.paths(Stack(act=act, norm=True), (7, 5, 3))
    np.testing.assert_array_equal(paths.counts, jaxrf.paths(Stack(), (7, 5, 3)).counts)


def test_the_two_sides_of_a_residual_block_are_two_ways():
    """x + conv1x1(x) has two paths, x + silu(x) one."""

    def model(x):
        kernel = jnp.ones((1, 3, 3))
        return x + lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))

    assert jaxrf.paths(model, (7, 3)).counts.tolist() == [2]
    assert jaxrf.paths(lambda x: x + jax.nn.silu(x), (7, 3)).counts.tolist() == [1]


def test_a_gate_adds_a_path_to_every_position():
    """Squeeze-and-excitation: its own position by the product, all positions by the gate; held constant, the first."""

    class Gate(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x * nn.sigmoid(nn.Dense(3)(x.mean((1, 2))))[:, None, None]

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Gate(name="se")(x)

    expected = np.ones((5, 7), int)
    expected[2, 3] = 2
    np.testing.assert_array_equal(jaxrf.paths(Net(), (5, 7, 3)).counts, expected)
    assert jaxrf.paths(Net(), (5, 7, 3), treat_as_constant=["se"]).counts.tolist() == [[1]]


def test_depth_to_space_reads_positions_off_features():
    """A window of 3 over sub-positions, two of which come from one position: 1 and 2 paths, or 2 and 1."""

    def model(x):
        b, n, c = x.shape
        x = x.reshape(b, n, 2, c // 2).reshape(b, 2 * n, c // 2)
        return lax.conv_general_dilated(
            x, jnp.ones((3, c // 2, 2)), (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )

    assert jaxrf.paths(model, (7, 6), unit=6).counts.tolist() == [1, 2]
    assert jaxrf.paths(model, (7, 6), unit=7).counts.tolist() == [2, 1]


def test_a_flattened_map_counts_its_features_once():
    """Flatten and dense: one path from each position, however many channels."""

    def model(x):
        return jax.nn.relu(x).reshape(x.shape[0], -1) @ jnp.ones((5 * 7 * 3, 4))

    assert (jaxrf.paths(model, (5, 7, 3)).counts == 1).all()


def test_attention_pairs_every_position_with_every_other():
    """One head over 6 tokens: every token is seen, the others alike, the own one by its query as well."""

    def model(x):
        weights = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", x, x) + 0 * x[..., :1], axis=-1)
        return jnp.einsum("bqk,bkd->bqd", weights, x)

    counts = jaxrf.paths(model, (6, 3), unit=2, spatial_axes=(1,)).counts
    assert (counts > 0).all()
    assert len(set(np.delete(counts, 2))) == 1  # all other tokens are alike
    assert counts[2] > counts[0]


class Mixed(nn.Module):
    """Strides, dilation, branches, pooling, resizing, transposed convolution, reversal: one feature, no activation."""

    @nn.compact
    def __call__(self, x):
        conv = {"features": 1, "use_bias": False}
        a = nn.Conv(kernel_size=(3, 3), strides=(2, 1), **conv)(x)
        b = nn.Conv(kernel_size=(1, 5), strides=(2, 1), kernel_dilation=(1, 2), **conv)(x)
        y = 4 * nn.avg_pool(a + b, (2, 2), (1, 1), padding=((0, 1), (1, 0)))
        y = jax.image.resize(y, (y.shape[0], y.shape[1] * 2, y.shape[2] + 3, 1), "nearest")
        y = nn.ConvTranspose(kernel_size=(3, 3), strides=(2, 2), **conv)(y)
        z = jnp.cumsum(y[:, ::-1], 1).transpose(0, 3, 1, 2).reshape(1, -1)
        return z.reshape(1, 1, *y.shape[1:3]).transpose(0, 2, 3, 1) + jnp.pad(
            y[:, 2:], ((0, 0), (1, 1), (0, 0), (0, 0))
        )


@pytest.mark.slow
def test_a_network_of_ones_has_its_counts_as_derivative():
    """With all weights 1 and one channel the Jacobian is the map of counts, for every unit tried."""
    model, shape = Mixed(), (9, 11, 1)
    variables = jax.tree.map(jnp.ones_like, model.init(jax.random.key(0), jnp.ones((1, *shape))))
    derivative = jax.jit(jax.jacrev(lambda x: model.apply(variables, x[None, ..., None])[0, ..., 0]))
    dense = np.asarray(derivative(jnp.ones(shape[:2])))
    for unit in [(3, 4), (0, 0), (10, 7), (19, 27)]:
        paths = jaxrf.paths(model, shape, unit=unit)
        np.testing.assert_array_equal(on_input(paths), dense[unit].round())
        logs = jaxrf.paths(model, shape, unit=unit, log=True)
        np.testing.assert_allclose(np.exp(logs.counts), paths.counts.astype(float))
        assert logs.total == pytest.approx(math.log(paths.total))


def counted(graph, size: int, unit: int, monkeypatch) -> collections.Counter:
    """How many ways lead to each position: the index-set oracle, made to add up instead of forgetting repetitions."""
    add = lambda many: sum(map(collections.Counter, many), collections.Counter())  # noqa: E731
    monkeypatch.setattr(index_sets, "union", add)
    monkeypatch.setattr(index_sets, "source", lambda n: [collections.Counter([i]) for i in range(n)])
    monkeypatch.setattr(index_sets, "NOTHING", collections.Counter())
    return index_sets.evaluate(graph, size)[unit]


def as_model(graph):
    """The graph as a function of JAX on (batch, positions, 1)."""

    def conv(x, kernel, stride=1, padding=(0, 0), dilation=1, base_dilation=1):
        return lax.conv_general_dilated(
            x, jnp.ones((kernel, 1, 1)), (stride,), [padding], (base_dilation,), (dilation,), ("NWC", "WIO", "NWC")
        )

    steps = {
        "conv": conv,
        "pool": lambda x, kernel, stride=None, padding=(0, 0): nn.avg_pool(
            x, (kernel,), (stride or kernel,), [padding]
        ),
        "add": lambda *xs: sum(xs[1:], xs[0]),
        "concat": lambda *xs: jnp.concatenate(xs, 1),
        "pad": lambda x, before=0, after=0, interior=0: lax.pad(
            x, 0.0, [(0, 0, 0), (before, after, interior), (0, 0, 0)]
        ),
        "cut": lambda x, start, stop, step=1: x[:, start:stop:step],
        "nearest": lambda x, factor: jnp.repeat(x, factor, 1),
        "reverse": lambda x: x[:, ::-1],
        "roll": lambda x, shift: jnp.roll(x, shift, 1),
        "cumsum": lambda x: jnp.cumsum(x, 1),
        "mean": lambda x: jnp.broadcast_to(x.mean(1, keepdims=True), x.shape),
    }

    def model(x):
        made = [x]
        for step in graph:
            made.append(steps[step.op](*(made[i] for i in step.inputs), **step.options))
        return made[-1]

    return model


GRAPHS = {
    "unet": index_sets.unet(2, 3),
    "transposed unet": index_sets.unet(2, 2, transposed=True),
    "three branches": (
        Step("conv", (0,), {"kernel": 3, "padding": (1, 1)}),
        Step("conv", (0,), {"kernel": 5, "padding": (2, 2)}),
        Step("pool", (0,), {"kernel": 3, "stride": 1, "padding": (1, 1)}),
        Step("add", (1, 2, 3)),
        Step("conv", (4,), {"kernel": 2, "stride": 2}),
        Step("cumsum", (5,)),
    ),
    "moves": (
        Step("pad", (0,), {"before": 2, "after": -1, "interior": 1}),
        Step("conv", (1,), {"kernel": 3, "dilation": 2, "stride": 2}),
        Step("roll", (2,), {"shift": 3}),
        Step("reverse", (2,)),
        Step("add", (3, 4)),
        Step("nearest", (5,), {"factor": 2}),
        Step("concat", (6, 0)),
        Step("cut", (7,), {"start": 1, "stop": 19, "step": 3}),
        Step("mean", (8,)),
        Step("add", (8, 9)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_are_counted_as_by_following_every_path(name, monkeypatch):
    """Branches, moves, wraps and global means give the counts of an oracle that follows each path by itself."""
    graph, size = GRAPHS[name], 16
    units = len(index_sets.evaluate(graph, size))
    for unit in (0, units // 3, units - 1):
        paths = jaxrf.paths(as_model(graph), (size, 1), unit=unit)
        with monkeypatch.context() as patch:
            expected = counted(graph, size, unit, patch)
        assert on_input(paths).tolist() == [expected[i] for i in range(size)]


def test_deep_networks_are_exact():
    """101 convolutions of kernel 3: 3^101 paths in Python integers, and its logarithm with log."""
    model = Stack((1,) * 101)
    paths = jaxrf.paths(model, (301, 1))
    assert paths.counts.dtype == object
    assert paths.total == 3**101
    assert jaxrf.paths(model, (301, 1), log=True).total == pytest.approx(101 * math.log(3))


def test_counts_lie_in_the_box_of_a_zoo_network():
    """A unit of a ResNet: the box is the row's, full, and its shares add up to 1."""
    model = zoo.resnet18()
    paths = jaxrf.paths(model, (64, 96, 3), layer="layer2", unit=(1, 9))
    assert paths.box == jaxrf.trf(model, (64, 96, 3))["layer2"].box((1, 9), clip=True)
    assert paths.density == 1.0
    assert paths.share().sum() == pytest.approx(1)
    assert paths.share().min() > 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"unit": (1, 2, 3)}, InputError, r"Unit \(1, 2, 3\) has 3 numbers, but layer 'output' has 2 axes"),
        ({"unit": (5, 0)}, InputError, r"Unit \(5, 0\) is outside of layer 'output'"),
        ({"unit": "middle"}, UnknownNameError, "Unknown choice of a unit 'middle'"),
        ({"layer": "conv7"}, UnknownNameError, "Unknown layer 'conv7'.*Did you mean"),
        ({"treat_as_constant": ["conv7"]}, UnknownNameError, "Unknown layer 'conv7'.*treat_as_constant"),
    ],
)
def test_what_does_not_fit_is_explained(options, error, message):
    """Units and names that do not exist are named, before anything is counted."""
    with pytest.raises(error, match=message):
        jaxrf.paths(Stack(), (5, 7, 3), **options)


@pytest.mark.parametrize(
    "model", [lambda x: jnp.pad(x, ((0, 0), (2, 0), (0, 0))), lambda x: x * np.array([1, 0, 1, 1, 1])[:, None]]
)
def test_a_unit_without_a_path_is_an_error(model):
    """A unit that sees padding only, or nothing by a known mask, has nothing to count; the density of such a row is None."""
    with pytest.raises(InputError, match=r"No path leads from the input to unit \(1,\) of layer 'output'"):
        jaxrf.paths(model, (5, 3), unit=1)
    nothing = lambda x: model(x)[:, 1:2]  # noqa: E731
    assert jaxrf.trf(nothing, (5, 3))[-1].density is None


class MaskedConv(nn.Module):
    """A convolution whose kernel is a parameter times known zeros, in no product of axes."""

    @nn.compact
    def __call__(self, x):
        taps = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 1]])
        mask = np.broadcast_to(taps[..., None, None], (3, 3, x.shape[-1], 4))
        return nn.Conv(4, (3, 3), mask=mask, name="conv")(x)


def test_known_zeros_of_kernels_are_no_steps():
    """Constants in a plain function and masks of a Linen layer: three taps of nine, half of their box of six positions."""
    expected = [[1, 0], [0, 1], [0, 1]]
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[[0, 1, 2], [1, 2, 2]] = 2.0

    def plain(x):
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    assert jaxrf.paths(plain, (7, 9, 1)).counts.tolist() == expected
    assert jaxrf.paths(MaskedConv(), (7, 9, 3), layer="conv").counts.tolist() == expected
    assert jaxrf.trf(MaskedConv(), (7, 9, 3))["conv"].density == 0.5


@pytest.mark.parametrize("form", ["matrix", "groups of rows"])
def test_a_product_in_two_forms_is_one_step(form):
    """x + x W has two paths, whether W is one matrix or one per group of rows."""
    w = jnp.ones((2, 4, 4))

    def model(x):
        rows = x.reshape(-1, 4)
        product = rows @ w[0] if form == "matrix" else lax.ragged_dot(rows, w, jnp.array([2, rows.shape[0] - 2]))
        return (rows + product).reshape(x.shape)

    assert jaxrf.paths(model, (6, 4), unit=2).counts.tolist() == [2]


def test_masks_let_positions_through_once():
    """x m + x m' by two known masks has one path wherever either of them is not zero, and elsewhere none."""
    first, second = np.array([0, 1, 0, 1, 0]), np.array([1, 1, 1, 0, 0])

    def model(x):
        y = x * first[:, None] + jax.nn.silu(x * second[:, None])
        return lax.conv_general_dilated(
            y, np.ones((3, 2, 1), np.float32), (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )

    assert [jaxrf.paths(model, (5, 2), unit=u).counts.tolist() for u in (0, 2, 4)] == [[1, 1], [1, 1, 1], [1]]


def test_a_known_choice_of_positions_is_no_step():
    """`where` by a known mask takes each position from one side."""
    model = lambda x: jnp.where(np.array([1, 1, 0, 0, 0], bool)[:, None], x, jnp.roll(x, 1, 1))  # noqa: E731
    assert [jaxrf.paths(model, (5, 2), unit=u).box for u in (1, 2)] == [((1, 2),), ((1, 2),)]


@pytest.mark.parametrize("method", ["cubic", "lanczos3", "lanczos5"])
def test_rounding_in_a_resize_is_no_path(method):
    """Three times as large: the middle one of each three copies its position, whose neighbors have weights at rounding level."""
    model = lambda x: jax.image.resize(x, (len(x), 33, 2), method)  # noqa: E731
    assert jaxrf.paths(model, (11, 2), unit=16).counts.tolist() == [1]
    assert jaxrf.trf(model, (11, 2))[-1].box((16,), clip=True) == ((5, 6),)


def test_repeated_positions_are_told_apart_behind_windows():
    """A mean that is repeated over 7 positions and convolved by 3: three ways to each position, two at the border."""

    def model(x):
        y = jnp.broadcast_to(x.mean(1, keepdims=True), x.shape)
        kernel = np.ones((3, 2, 2), np.float32)
        return lax.conv_general_dilated(y, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))

    assert [set(jaxrf.paths(model, (7, 2), unit=u).counts.tolist()) for u in (0, 3)] == [{2}, {3}]


@pytest.mark.parametrize("layer", ["attention", "gates"])
def test_counts_do_not_depend_on_channels(layer):
    """Heads, gated and grouped channels count once, whatever their number is."""

    class Net(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            if layer == "attention":
                return nn.MultiHeadDotProductAttention(min(2, self.width), qkv_features=2 * self.width)(x)
            a, b = jnp.split(nn.Conv(2 * self.width, (3,))(x), 2, -1)
            y = nn.GroupNorm(min(2, self.width))(a * nn.sigmoid(b))
            return jnp.pad(
                nn.Conv(self.width, (3,), feature_group_count=self.width)(y), ((0, 0), (1, 2), (0, 0)), "edge"
            )

    one, four = (jaxrf.paths(Net(width), (7, 3), unit=1) for width in (1, 4))
    assert one.counts.tolist() == four.counts.tolist()
    assert one.box == four.box
