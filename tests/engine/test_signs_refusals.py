"""What the sign-averaged estimator refuses, with the reason: models, initializers and options."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf.engine.symmetry import check_symmetric, excess_of_mean
from jaxrf.errors import InputError, UnknownNameError
from tests.engine.models import conv
from tests.engine.random_networks import SHAPE, STACK, Net, erf, layer, open_run

pytestmark = pytest.mark.usefixtures("quick")


def shared(_, x):
    twice = layer(3)
    return twice(nn.relu(twice(x)))


def in_a_scan(_, x):
    class Step(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.relu(layer(3)(x)), None

    return nn.scan(Step, variable_broadcast="params", split_rngs={"params": False}, length=2)()(x, None)[0]


def standardized(module, x):
    w = module.param("w", nn.initializers.normal(), (3, 3, 3, 4))
    return conv(x, w - w.mean((0, 1, 2)))


def tied(module, x):
    w = module.param("w", nn.initializers.normal(), (3, 3))
    return (x @ w) * w[0]


def repeated(module, x):
    w = module.param("w", nn.initializers.normal(), (3, 4))
    return conv(x, jnp.broadcast_to(w, (3, 3, 3, 4)))


def attention(_, x):
    x = x.reshape(x.shape[0], -1, x.shape[-1])
    return nn.softmax(x @ x.swapaxes(1, 2)) @ x


def complex_weights(module, x):
    w = module.param("w", lambda key, shape: jax.random.normal(key, shape, jnp.complex64), (3, 4))
    return jnp.abs(x @ w)


MODELS = {
    "used more than once, as weights that are shared": shared,
    "constant in a scan": in_a_scan,
    "beyond its order, cast and scale": standardized,
    "also by mul": tied,
    "used more than once": repeated,
    "as attention does": attention,
    "is complex": complex_weights,
    "no random weight lies between": lambda _, x: nn.relu(x),
}


@pytest.mark.parametrize("words", MODELS)
def test_a_model_that_cannot_be_averaged_is_refused(words):
    """Before anything is computed, with the reason."""
    with pytest.raises(InputError, match=words):
        open_run(Net(MODELS[words]), (6, 8, 3), units=np.zeros((1, 1 if "attention" in words else 2), int))


INITIALIZERS = {
    "constant": jax.nn.initializers.constant(0.1),
    "positive": jax.nn.initializers.uniform(0.1),
    "shifted": lambda key, shape, dtype: 0.1 * jax.random.normal(key, shape, dtype) + 0.02,
    "mean at one position": lambda key, shape, dtype: (
        (0.1 * jax.random.normal(key, shape, dtype)).at[0, 0].add(0.1).at[2, 2].add(-0.1)
    ),
    "the same in each draw": lambda key, shape, dtype: jax.random.normal(jax.random.key(0), shape, dtype),
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_weights_with_a_mean_are_refused(name):
    """Constant, positive and shifted kernels, those with a mean at some positions, and those that are not random."""
    with pytest.raises(
        InputError, match=r"weights of layer 'conv_1' do not have zero mean: .* at most 0.05 is allowed"
    ):
        erf(init={"*/conv_1/kernel": INITIALIZERS[name]}, seeds=1)


@pytest.mark.parametrize("name", ["orthogonal", "lecun_normal", "he_uniform", "center_lowered"])
def test_weights_of_zero_mean_are_accepted(name):
    """The usual initializers pass, whatever their law."""
    opened = open_run(init={"*/kernel": name})
    check_symmetric(opened.prepared.pullback.program, opened.prepared.pullback.signs.weights, opened.leaves)


def test_weights_of_zero_are_accepted():
    """A layer that starts at zero is its own average, and dead."""
    with pytest.warns(UserWarning, match="2 of 2 maps are zero everywhere"):
        assert erf(init={"*/conv_2/kernel": jax.nn.initializers.zeros}, seeds=2).dead == 2


def test_small_layers_are_not_refused_by_chance():
    """Means of a few normal weights are of chance: none of 2000 small weights is refused; one of mean 2 sigma is."""
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2000, 8, 3, 3, 2, 1))
    for one in draws:
        assert excess_of_mean(one.mean(0), float(np.square(one).mean()), (2, 0, 1), (0, 1)) == 0
    moved = draws[0] + 2
    found = excess_of_mean(moved.mean(0), float(np.square(moved).mean()), (2, 0, 1), (0, 1))
    assert found == pytest.approx(18 * 4, rel=0.4)


@pytest.mark.parametrize("score", ["abs", "signed", "relu"])
def test_other_scores_are_refused(score):
    """It gives expected squares."""
    with pytest.raises(InputError, match=f"expected squares, and the score is '{score}'"):
        erf(score=score)


def test_given_weights_are_refused():
    """Trained weights have one sign each."""
    variables = STACK.init(jax.random.key(0), np.zeros((1, *SHAPE), np.float32))
    with pytest.raises(InputError, match="averages over the signs of random weights, and these were given"):
        jaxrf.erf(STACK, variables, jaxrf.noise(1), input_shape=SHAPE, estimator="sign_averaged")


@pytest.mark.parametrize("channels", ["sum", "relu_sum"])
def test_a_sum_over_channels_needs_a_random_weight_next(channels):
    """After a ReLU it is fine; through a LayerNorm, or on a skip to the input, all channels would keep one sign."""
    assert len(open_run(Net(lambda _, x: nn.relu(layer()(x))), channels=channels).prepared.pullback.signs.averaged) == 1
    with pytest.raises(InputError, match=f"channels='{channels}' pulls the sum .* in layer 'LayerNorm_0'"):
        open_run(Net(lambda _, x: nn.LayerNorm()(layer()(x))), channels=channels)
    with pytest.raises(InputError, match=f"channels='{channels}' reaches what it is pulled back to"):
        open_run(Net(lambda _, x: x + layer(3)(x)), channels=channels)


def test_unknown_estimators_are_named():
    """With the nearest known one."""
    with pytest.raises(UnknownNameError, match="Unknown estimator 'sign_average'.*Did you mean 'sign_averaged'"):
        erf(estimator="sign_average")


def test_check_compares_gradients_only():
    """The oracle knows no expectations."""
    with pytest.raises(InputError, match="a sign-averaged map is an expectation"):
        jaxrf.check(STACK, None, jaxrf.noise(1), input_shape=SHAPE, estimator="sign_averaged")
