"""The oracles against derivatives by hand and finite differences, in float64."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrf.adapters import adapt
from jaxrf.adapters.tap import tap
from jaxrf.checks.oracles import SCORES, erf_map, jacobian
from jaxrf.errors import InputError, UnknownNameError

STEP = 1e-6


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def quadratic(x):
    """Each output is the product of two neighbors: the derivative is the other one."""
    return x[:, 1:] * x[:, :-1]


class Net(nn.Module):
    """A smooth net with a branch, a shared module and a tree of outputs."""

    @nn.compact
    def __call__(self, x):
        shared = nn.Conv(3, (3, 3), name="shared", param_dtype=x.dtype)
        y = nn.tanh(nn.Conv(3, (3, 3), strides=(2, 1), name="stem", param_dtype=x.dtype)(x))
        y = y + shared(nn.tanh(shared(y)))
        return {"map": nn.tanh(y), "pooled": y.mean((1, 2))}


@pytest.fixture(scope="module")
def subject():
    with jax.enable_x64(True):
        return adapt(Net(), (5, 4, 2), dtype=np.float64)


@pytest.fixture(scope="module")
def variables(subject):
    with jax.enable_x64(True):
        return subject.initialize(jax.random.key(0))


@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(2, 5, 4, 2))


def differences(function, x):
    """The Jacobian of `function` at `x` by central differences, one input number at a time."""
    columns = []
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = STEP
        columns.append((np.asarray(function(x + step)) - np.asarray(function(x - step))) / (2 * STEP))
    return np.stack(columns, -1).reshape(*columns[0].shape, *x.shape)


def test_jacobian_by_hand():
    """Products of neighbors: unit i depends on x[i] and x[i + 1], each with the other as derivative."""
    subject = adapt(quadratic, (4, 1), dtype=np.float64)
    x = np.array([2.0, 3.0, 5.0, 7.0]).reshape(1, 4, 1)
    expected = [[3, 2, 0, 0], [0, 5, 3, 0], [0, 0, 7, 5]]
    np.testing.assert_array_equal(jacobian(subject, (), x).reshape(3, 4), expected)


def test_erf_map_by_hand():
    """Unit 1 of the products of neighbors scores the squares of 5 and 3, and nothing elsewhere, for each image."""
    subject = adapt(quadratic, (4, 1), dtype=np.float64)
    x = np.array([[2.0, 3.0, 5.0, 7.0], [1.0, 1.0, -2.0, 0.0]])[..., None]
    np.testing.assert_array_equal(erf_map(subject, (), x, (1,), np.ones(1)), [[0, 25, 9, 0], [0, 4, 1, 0]])


@pytest.mark.parametrize(("score", "expected"), [("square", 3**2 + 4**2), ("abs", 7.0), ("relu", 4.0), ("signed", 1.0)])
def test_scores_by_hand(score, expected):
    """Gradients -3 and 4 on two channels give 25, 7, 4 and 1."""
    subject = adapt(lambda x: x @ jnp.array([[-3.0], [4.0]]), (3, 2), dtype=np.float64)
    found = erf_map(subject, (), np.zeros((1, 3, 2)), (2,), np.ones(1), score=score)
    np.testing.assert_array_equal(found, [[0, 0, expected]])


def test_the_cotangent_may_differ_by_image():
    """One cotangent per image weighs the channels of that image."""
    subject = adapt(lambda x: x @ jnp.array([[1.0, 10.0]]), (3, 1), dtype=np.float64)
    found = erf_map(subject, (), np.zeros((2, 3, 1)), (0,), np.array([[1.0, 0.0], [1.0, -1.0]]), score="signed")
    np.testing.assert_array_equal(found, [[1, 0, 0], [-9, 0, 0]])


@pytest.mark.parametrize("select", ["map", "pooled", lambda outputs: outputs["map"][..., :1]])
def test_jacobian_is_the_limit_of_differences(subject, variables, images, select):
    """The dense Jacobian of each output equals central differences, batch axes and all."""
    pick = select if callable(select) else (lambda outputs: outputs[select])
    function = jax.jit(lambda x: pick(subject.fn(variables, x)))
    found = jacobian(subject, variables, images, select)
    np.testing.assert_allclose(found, differences(function, images), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("score", sorted(SCORES))
def test_erf_map_is_a_row_of_the_jacobian(subject, variables, images, score):
    """A map is the score of the cotangent times the Jacobian's rows at one unit."""
    cotangent = np.array([1.0, -1.0, 0.5])
    dense = np.asarray(jacobian(subject, variables, images, "map"))
    found = erf_map(subject, variables, images, (1, 2), cotangent, output="map", score=score)
    for image in range(2):
        gradient = np.tensordot(cotangent, dense[image, 1, 2], 1)[image]
        by_hand = {
            "square": (gradient**2).sum(-1),
            "abs": abs(gradient).sum(-1),
            "relu": np.where(gradient > 0, gradient, 0).sum(-1),
            "signed": gradient.sum(-1),
            "positive_sum": np.where(gradient.sum(-1) > 0, gradient.sum(-1), 0),
        }
        np.testing.assert_allclose(found[image], by_hand[score], rtol=1e-12, atol=1e-15)


def test_an_output_without_positions(subject, variables, images):
    """A pooled output has the empty unit."""
    dense = np.asarray(jacobian(subject, variables, images, "pooled"))
    found = erf_map(subject, variables, images, (), np.array([0, 1.0, 0]), output="pooled", score="signed")
    np.testing.assert_allclose(found[1], dense[1, 1, 1].sum(-1), rtol=1e-12)


@pytest.mark.parametrize("layer", ["stem", "shared", "shared#1"])
def test_layers_on_the_input(subject, variables, images, layer):
    """A layer's Jacobian equals differences of what the module returned at that call."""

    def function(x):
        _, state = Net().apply(variables, x, capture_intermediates=True)
        name, _, call = layer.partition("#")
        return state["intermediates"][name]["__call__"][int(call or 0)]

    found = jacobian(subject, variables, images, layer=layer)
    np.testing.assert_allclose(found, differences(jax.jit(function), images), rtol=1e-6, atol=1e-8)


def test_layer_on_layer_obeys_the_chain_rule(subject, variables, images):
    """The derivative by the stem, times the stem's by the image, is the derivative by the image."""
    whole = np.asarray(jacobian(subject, variables, images[:1], "map"))
    stem = np.asarray(jacobian(subject, variables, images[:1], layer="stem"))
    rest = np.asarray(jacobian(subject, variables, images[:1], "map", wrt="stem"))
    np.testing.assert_allclose(np.tensordot(rest, stem, 4), whole, rtol=1e-12, atol=1e-14)


def test_a_layer_on_itself_is_the_identity(subject, variables, images):
    """The map of a unit of a layer on that layer is one at the unit."""
    found = erf_map(subject, variables, images, (1, 2), np.array([1.0, 0, 0]), layer="stem", wrt="stem")
    expected = np.zeros((2, 3, 4))
    expected[:, 1, 2] = 1
    np.testing.assert_array_equal(found, expected)


def test_wrt_sees_only_what_passes_through_it(subject, variables, images):
    """The first call of a shared module does not depend on its second."""
    found = erf_map(subject, variables, images, (1, 2), np.ones(3), layer="shared", wrt="shared#1")
    np.testing.assert_array_equal(found, np.zeros((2, 3, 4)))


def test_features_may_come_first():
    """With spatial axes (2, 3) unit and map are on these, and the channels on axis 1."""
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 7))
    last = adapt(lambda x: jnp.tanh(x[:, ::2, 1:] ** 2), (5, 7, 3), dtype=np.float64)
    first = adapt(lambda x: jnp.tanh(x[:, :, ::2, 1:] ** 2), (3, 5, 7), spatial_axes=(2, 3), dtype=np.float64)
    expected = erf_map(last, (), np.moveaxis(x, 1, -1), (1, 4), np.array([1.0, 2, 3]))
    assert expected[0, 2, 5] > 0
    np.testing.assert_array_equal(erf_map(first, (), x, (1, 4), np.array([1.0, 2, 3])), expected)


def windows(x):
    """Two windows of two positions per image, on the batch axis."""
    y = tap(x.reshape(-1, 2, 3) ** 2, "window")
    return y.reshape(x.shape)


def test_windows_on_the_batch_axis():
    """Where windows stand on axis 0, the unit counts windows of its own image, and maps have both axes."""
    subject, x = adapt(windows, (4, 3), dtype=np.float64), np.arange(24.0).reshape(2, 4, 3)
    found = erf_map(subject, (), x, (1, 0), np.array([1.0, 0, 0]), layer="window", unit_axes=(0, 1), score="signed")
    np.testing.assert_array_equal(found, [[0, 0, 2 * x[0, 2, 0], 0], [0, 0, 2 * x[1, 2, 0], 0]])
    found = erf_map(subject, (), x, (3,), np.ones(3), wrt="window", wrt_axes=(0, 1))
    np.testing.assert_array_equal(found, [[[0, 0], [0, 3]]] * 2)
    with pytest.raises(InputError, match=r"shape \(4, 2, 3\) does not have the 2 images on axis 0. Say with unit_axes"):
        erf_map(subject, (), x, (1,), np.ones(3), layer="window", unit_axes=(1,))
    with pytest.raises(InputError, match=r"Say with wrt_axes"):
        erf_map(subject, (), x, (1,), np.ones(3), wrt="window", wrt_axes=(1,))


def test_images_that_see_each_other_show_their_own_part():
    """Where images are centered over the batch, a map holds its own image's share of the derivative."""
    subject = adapt(lambda x: x - x.mean(0, keepdims=True), (3, 1), dtype=np.float64)
    found = erf_map(subject, (), np.zeros((4, 3, 1)), (1,), np.ones(1), score="signed")
    np.testing.assert_allclose(found, [[0, 0.75, 0]] * 4, rtol=1e-15)


class Step(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return jnp.sin(nn.Conv(1, (2,), padding=[(1, 0)], name="conv", param_dtype=x.dtype)(x)), None


class Scanned(nn.Module):
    @nn.compact
    def __call__(self, x):
        over = {"params": 0}
        return nn.scan(Step, variable_axes=over, split_rngs={"params": True}, length=3)(name="steps")(x, None)[0]


def test_bodies_of_scan_are_out_of_reach_but_without_jit():
    """A layer inside a scan is refused; without jit each iteration is a call, whose map is one position wider."""
    subject = adapt(Scanned(), (7, 1), dtype=np.float64)
    variables, x = subject.initialize(jax.random.key(0)), np.ones((1, 7, 1))
    with pytest.raises(InputError, match=r"'steps/conv' is inside the body of a scan, remat, jit or vmap.*disable_jit"):
        erf_map(subject, variables, x, (5,), np.ones(1), layer="steps/conv")
    with pytest.raises(InputError, match=r"is inside the body of a scan"):
        erf_map(subject, variables, x, (5,), np.ones(1), wrt="steps/conv")
    with jax.disable_jit():
        for call, width in zip(("", "#1", "#2"), itertools.count(2)):
            found = erf_map(subject, variables, x, (5,), np.ones(1), layer=f"steps/conv{call}")
            assert np.flatnonzero(found[0]).tolist() == list(range(6 - width, 6))


@jax.jit
def jitted(x):
    return tap(x**2, "square")


def test_layers_of_jitted_functions_need_disable_jit():
    """A tap in a function that was jitted and traced before is unknown, says what to do, and is found without jit."""
    subject, x = adapt(jitted, (4, 1), dtype=np.float64), np.ones((1, 4, 1))
    with pytest.raises(UnknownNameError, match=r"Unknown layer 'square'.*need jax.disable_jit\(\)"):
        erf_map(subject, (), x, (1,), np.ones(1), layer="square")
    with jax.disable_jit():
        found = erf_map(subject, (), x, (1,), np.ones(1), layer="square")
    np.testing.assert_array_equal(found, [[0, 4, 0, 0]])


def test_names_that_do_not_exist(subject, variables, images):
    """Unknown layers, outputs and scores name the nearest."""
    at = (subject, variables, images, (0, 0), np.ones(3))
    with pytest.raises(
        UnknownNameError, match=r"Unknown layer 'sharde'. Did you mean 'shared'\? Known: .*'shared#1', 'stem'\."
    ):
        erf_map(*at, layer="sharde")
    with pytest.raises(UnknownNameError, match=r"Unknown layer 'steem'.*Did you mean 'stem'\?"):
        jacobian(subject, variables, images, "map", wrt="steem")
    with pytest.raises(UnknownNameError, match=r"Unknown output 'maps'. Did you mean 'map'\? Known: 'map', 'pooled'\."):
        erf_map(*at, output="maps")
    with pytest.raises(UnknownNameError, match=r"Unknown score 'sqare'.*Did you mean 'square'\?"):
        erf_map(*at, output="map", score="sqare")


def test_several_outputs_need_a_name(subject, variables, images):
    """Without a name, several outputs are refused and listed."""
    with pytest.raises(InputError, match=r"2 outputs, \['map', 'pooled'\]. Say which by its name"):
        erf_map(subject, variables, images, (0, 0), np.ones(3))


@pytest.mark.parametrize("unit", [(3, 0), (0, -1), (0,), (0, 0, 0)])
def test_units_outside(subject, variables, images, unit):
    """Units beyond the map or of another rank are refused with the sizes."""
    with pytest.raises(InputError, match=r"is outside of the output, whose positions have the sizes \(3, 4\)"):
        erf_map(subject, variables, images, unit, np.ones(3), output="map")


def test_cotangents_of_another_shape(subject, variables, images):
    """A cotangent has the shape of the channels, with or without an axis of images."""
    with pytest.raises(
        InputError, match=r"has shape \(4,\); needed is .* \(3,\), or one cotangent per image, \(2, 3\)"
    ):
        erf_map(subject, variables, images, (0, 0), np.ones(4), output="map")
