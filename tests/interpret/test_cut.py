"""Statistics held constant: fields and maps of the rest, and what must not be cut."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf.errors import InputError, UnknownNameError


class Gate(nn.Module):
    """Squeeze-and-excitation; `stop` cuts by hand what treat_as_constant cuts."""

    stop: bool = False

    @nn.compact
    def __call__(self, x):
        gate = nn.sigmoid(nn.Dense(x.shape[-1], name="b")(nn.relu(nn.Dense(3, name="a")(x.mean((1, 2))))))
        gate = jax.lax.stop_gradient(gate) if self.stop else gate
        return x * gate[:, None, None]


class Normalize(nn.Module):
    """Instance normalization written out."""

    stop: bool = False

    @nn.compact
    def __call__(self, x):
        held = jax.lax.stop_gradient(x) if self.stop else x
        mean, var = held.mean((1, 2), keepdims=True), held.var((1, 2), keepdims=True)
        return (x - mean) / jnp.sqrt(var + 1e-3)


class Mix(nn.Module):
    """Self-attention over positions, with a residual; `stop` holds its weights."""

    stop: bool = False

    @nn.compact
    def __call__(self, x):
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        q, k, v = (nn.Dense(4, name=name)(tokens) for name in "qkv")
        weights = nn.softmax(jnp.einsum("bqd,bkd->bqk", q, k))
        weights = jax.lax.stop_gradient(weights) if self.stop else weights
        return x + nn.Dense(x.shape[-1], name="o")(jnp.einsum("bqk,bkd->bqd", weights, v)).reshape(x.shape)


class Net(nn.Module):
    """A layer between two convolutions of kernel 3."""

    middle: type[nn.Module]
    options: dict

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="before")(x)
        x = self.middle(**self.options, name="middle")(x)
        return nn.Conv(4, (3, 3), name="after")(x)


LAYERS = {
    "gate": (Gate, {}),
    "written out": (Normalize, {}),
    "batch norm": (nn.BatchNorm, {"use_running_average": False}),
    "group norm": (nn.GroupNorm, {"num_groups": 2}),
    "layer norm over space": (nn.LayerNorm, {"reduction_axes": (1, 2, 3), "feature_axes": -1}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_main_path_is_left(name):
    """Global with its statistics, and size 5, exact, in their absence; the layer's row says so."""
    net = Net(*LAYERS[name])
    row = jaxrf.trf(net, (9, 11, 3))[-1]
    assert set(row.global_axes) >= {"y", "x"}
    table = jaxrf.trf(net, (9, 11, 3), treat_as_constant=["middle"])
    assert (table[-1].size, table[-1].padding, table[-1].global_axes, table[-1].exact) == ((5, 5), (2, 2), (), True)
    assert table["middle"].notes == ("its statistics are treated as constant",)
    assert table["before"].notes == ()


@pytest.mark.parametrize("name", LAYERS)
def test_the_cause_names_layer_primitive_and_line(name):
    """A global axis says by which primitive, in which layer and line; batch-norm in training names the batch."""
    row = jaxrf.trf(Net(*LAYERS[name]), (9, 11, 3))["middle"]
    for axis in ("y", "x"):
        assert row.global_cause[axis].startswith("reduce_sum in layer 'middle")
        assert "called at test_cut.py:" in row.global_cause[axis]
    assert ("batch" in row.global_axes) == (name == "batch norm")


def test_other_layers_keep_their_statistics():
    """Only the named one of two gates is cut."""

    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Gate(name="second")(nn.Conv(4, (3, 3))(Gate(name="first")(x)))

    sizes = {
        names: jaxrf.trf(Two(), (9, 11, 3), treat_as_constant=names)[-1].size
        for names in [("first",), ("second",), ("first", "second")]
    }
    assert sizes == {("first",): (9, 11), ("second",): (9, 11), ("first", "second"): (3, 3)}


def test_one_of_several_calls_is_cut():
    """A module called twice: its second call is named with #1."""

    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            gate = Gate(name="gate")
            return gate(gate(x))

    assert jaxrf.trf(Twice(), (9, 11, 3), treat_as_constant=["gate"])["gate"].size == (1, 1)
    assert jaxrf.trf(Twice(), (9, 11, 3), treat_as_constant=["gate#1"])["gate"].size == (9, 11)
    assert jaxrf.trf(Twice(), (9, 11, 3), treat_as_constant=["gate", "gate#1"])[-1].size == (1, 1)


def test_a_pooling_without_another_path_stays():
    """Global pooling is the only way to what is behind it, so nothing is cut."""

    class Pooled(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(nn.Sequential([lambda x: x.mean((1, 2))], name="pool")(x))

    assert jaxrf.trf(Pooled(), (9, 11, 3), treat_as_constant=["pool"])[-1].size == (9, 11)


@pytest.mark.parametrize("middle", [Gate, Normalize, Mix])
@pytest.mark.parametrize("crop", [True, False])
def test_maps_are_those_of_a_model_that_stops_its_gradients(middle, crop):
    """The effective field with statistics held equals that of the same weights with stop_gradient written in."""
    variables = Net(middle, {}).init(jax.random.key(0), jnp.ones((1, 9, 11, 3)))
    inputs = np.random.default_rng(0).normal(size=(2, 9, 11, 3)).astype(np.float32)
    held = jaxrf.erf(Net(middle, {}), variables, inputs, treat_as_constant=["middle"], channels=0, crop=crop)
    theirs = jaxrf.erf(Net(middle, {"stop": True}), variables, inputs, channels=0, crop=False)
    full = np.zeros((1, 9, 11))
    for result in (held, theirs):
        assert result.mean.max() > 0
    for (y, x), value in np.ndenumerate(held.mean[0]):
        place = y + held.origin[0, 0], x + held.origin[0, 1]
        if 0 <= place[0] < 9 and 0 <= place[1] < 11:
            full[0, place[0], place[1]] = value
    other = np.zeros((1, 9, 11))
    for (y, x), value in np.ndenumerate(theirs.mean[0]):
        place = y + theirs.origin[0, 0], x + theirs.origin[0, 1]
        if 0 <= place[0] < 9 and 0 <= place[1] < 11:
            other[0, place[0], place[1]] = value
    np.testing.assert_allclose(full, other, atol=2e-5 * other.max())


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["midle"], UnknownNameError, "Unknown layer 'midle'.*Did you mean 'middle'.*treat_as_constant"),
        ("middle", InputError, r"is one name; a list of names is needed. Write \['middle'\]"),
        (["unused"], InputError, "Layer 'unused' has nothing to treat as constant: no derivative"),
    ],
)
def test_names_that_do_not_fit_are_explained(names, error, message):
    """A layer that does not exist or has no derivative, and a bare name, are errors."""

    class Side(Net):
        @nn.compact
        def __call__(self, x):
            nn.Conv(2, (3, 3), name="unused")(x)
            return Gate(name="middle")(x)

    with pytest.raises(error, match=message):
        jaxrf.trf(Side(Gate, {}), (9, 11, 3), treat_as_constant=names)


def test_check_refuses_what_the_oracle_cannot_do():
    """The dense oracle knows whole derivatives only."""
    with pytest.raises(InputError, match="leave treat_as_constant out"):
        jaxrf.check(Net(Gate, {}), inputs=jaxrf.noise(1), input_shape=(9, 11, 3), treat_as_constant=["middle"], seeds=1)


def test_a_mean_by_a_window_of_the_whole_axis_is_a_statistic():
    """A gate of an average pool as large as the image is held constant as one of a mean is; of a smaller one it stays."""

    def size(window, padding):
        def gated(x):
            return jaxrf.tap(x * jax.nn.sigmoid(nn.avg_pool(x, window, padding=padding)), "gate")

        return jaxrf.trf(gated, (5, 7, 2), treat_as_constant=["gate"])["gate"].size

    assert (size((5, 7), "VALID"), size((3, 1), "SAME")) == ((1, 1), (3, 1))
