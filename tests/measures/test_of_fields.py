"""Measures of prepared fields: numbers of a program, their derivatives by the weights, and a loss made of one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxrf
from jaxrf import zoo
from jaxrf.base.compiler import jit
from jaxrf.errors import InputError
from jaxrf.statistics.measures import measures
from tests.marks import mostly_slow

ASKED = {"sigma": {}, "participation": {}, "kurtosis": {}, "energy_within_soft": {"radius": 2.5}, "center_offset": {}}
"""Smooth measures, and their options."""
STEPS = 120
"""Of the descent."""


def conv(features, **options):
    return nn.Conv(features, (3, 3), param_dtype=jnp.float64, **options)


def gated(x):
    """A gate of the mean over positions, as squeeze and excitation have it."""
    gate = nn.sigmoid(nn.Dense(4, param_dtype=jnp.float64)(x.mean((1, 2), keepdims=True)))
    return conv(2)(x * gate)


def attending(x):
    """Positions that look at each other by a softmax."""
    tokens = x.reshape(x.shape[0], -1, x.shape[-1])
    weights = nn.softmax(tokens @ tokens.swapaxes(1, 2) / 2, axis=-1)
    return conv(2)(x + (weights @ tokens).reshape(x.shape))


def u_net(x):
    """Half of the resolution, and back beside what was there."""
    low = nn.relu(conv(4)(nn.max_pool(x, (3, 3), (2, 2), "SAME")))
    return conv(2)(jnp.concatenate([x, jax.image.resize(low, x.shape, "bilinear")], axis=-1))


NETS = {
    "relu": lambda x: conv(2)(nn.relu(x)),
    "tanh": lambda x: conv(2)(nn.tanh(x)),
    "group norm": lambda x: conv(2)(nn.tanh(nn.GroupNorm(2, param_dtype=jnp.float64)(x))),
    "batch norm": lambda x: conv(2)(nn.relu(nn.BatchNorm(True, param_dtype=jnp.float64)(x))),
    "max-pool": lambda x: conv(2)(nn.max_pool(x, (2, 2), (2, 2))),
    "strides and a skip": lambda x: conv(2, strides=2)(x + conv(4)(nn.silu(x))),
    "dilated, depthwise": lambda x: conv(2)(nn.gelu(conv(4, kernel_dilation=2, feature_group_count=4)(x))),
    "gate": gated,
    "attention": attending,
    "U-Net": u_net,
}


class Net(nn.Module):
    """A convolution before one of the nets."""

    name_: str

    @nn.compact
    def __call__(self, x):
        return NETS[self.name_](conv(4)(x))


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def prepared(name):
    """Images, weights and the field of two units, one of which is at the border."""
    images = jax.random.normal(jax.random.key(1), (1, 7, 9, 2), jnp.float64)
    rng = np.random.default_rng(0)  # biases at random, so that no pre-activation stands at the kink of a ReLU
    drawn = Net(name).init(jax.random.key(0), images)
    variables = jax.tree.map(lambda a: np.asarray(a + 0.1 * np.abs(rng.normal(size=a.shape))), drawn)
    return images, variables, jaxrf.prepare(Net(name), variables, images, units=[(1, 2), (0, 1)], channels=1)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", mostly_slow(NETS, {"tanh"}))
def test_derivatives_by_the_weights_are_those_of_differences(name):
    """Of five measures, along random directions in the space of all weights, in double precision, to 1e-6."""
    images, variables, field = prepared(name)

    def numbers(variables):
        maps = field(variables, images).array()
        place = {"center": field.center, "origin": field.origin}
        return jnp.stack([measures[name](maps, **options, **place).mean() for name, options in ASKED.items()])

    slope, value = jit(jax.grad(lambda v, of: numbers(v) @ of)), jit(numbers)
    slopes = [jax.tree.leaves(slope(variables, of)) for of in np.eye(len(ASKED))]
    rng = np.random.default_rng(1)
    for _ in range(3):
        way = jax.tree.map(lambda a: rng.normal(size=a.shape), variables)
        ends = [value(jax.tree.map(lambda a, v, h=h: a + h * v, variables, way)) for h in (1e-5, -1e-5)]
        along = np.array([sum((g * v).sum() for g, v in zip(one, jax.tree.leaves(way))) for one in slopes])
        assert (np.abs(along) > 1e-5).all()
        np.testing.assert_allclose(along, (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("double")
def test_derivatives_of_sign_averaged_maps():
    """They are those of differences, also where the root of a variance is taken that is zero behind closed ReLUs."""
    images = jax.random.normal(jax.random.key(1), (1, 7, 9, 1), jnp.float64)
    model = nn.Sequential([conv(2), nn.relu, conv(2), nn.relu, conv(1)])
    field = jaxrf.prepare(model, None, images, units=[(3, 4)], estimator="sign_averaged")
    variables = field.init(jax.random.key(0))

    def value(variables):
        maps = field(variables, images, jax.random.key(2)).array()
        return jaxrf.measures.sigma(maps, center=field.center, origin=field.origin).mean()

    hidden = model.apply(variables, images, method=lambda m, x: m.layers[2](m.layers[1](m.layers[0](x))))
    assert (np.asarray(hidden).max(-1) < 0).any()  # a position that no path goes through
    slope, value, rng = jit(jax.grad(value))(variables), jit(value), np.random.default_rng(0)
    way = jax.tree.map(lambda a: rng.normal(size=a.shape), variables)
    ends = [value(jax.tree.map(lambda a, v, h=h: a + h * v, variables, way)) for h in (1e-6, -1e-6)]
    along = sum(float((g * v).sum()) for g, v in zip(*map(jax.tree.leaves, (slope, way))))
    assert along == pytest.approx(float(ends[0] - ends[1]) / 2e-6, rel=1e-5)


@pytest.mark.usefixtures("double")
def test_measures_of_a_field_are_those_of_its_result():
    """Each measure of the maps on the device is the number of the result of the same maps on the host."""
    images, variables, field = prepared("tanh")
    maps = field(variables, images)
    result = field.result(maps)
    np.testing.assert_array_equal(field.center, result.center)
    for name in ("sigma", "energy_within", "area_ratio", "border_power"):
        place = {"input_shape": field.row.input_shape} if name in ("area_ratio", "border_power") else {}
        found = measures[name](maps.array(), center=field.center, origin=field.origin, **place)
        np.testing.assert_allclose(found[0], result.measure(name), rtol=1e-9)


@pytest.mark.parametrize("target", [1.2, pytest.param(2.0, marks=pytest.mark.slow)])
def test_a_target_is_reached(target):
    """Gradient descent on `(sigma / target - 1)^2` brings sigma of a layer within 5 % of it, on images it did not see."""
    model = zoo.conv_stack(depth=4, width=6)
    images = jax.random.normal(jax.random.key(0), (48, 13, 15, 1))
    field = jaxrf.prepare(model, None, images[:16], layer="conv_3")
    adam = optax.adam(optax.cosine_decay_schedule(0.03, STEPS))

    def width(variables, images, key):
        mean = field(variables, images, key).array().mean((0, 1))
        return jaxrf.measures.sigma(mean, center=field.center[0], origin=field.origin[0]).mean()

    @jax.jit
    def step(variables, state, number):
        def loss(variables):
            return (width(variables, images[:16], jax.random.fold_in(jax.random.key(2), number)) / target - 1) ** 2

        change, state = adam.update(jax.grad(loss)(variables), state)
        return optax.apply_updates(variables, change), state

    variables = field.init(jax.random.key(1))
    state, others = adam.init(variables), (images[16:], jax.random.key(3))
    assert abs(width(variables, *others) / target - 1) > 0.1
    for number in range(STEPS):
        variables, state = step(variables, state, number)
    assert abs(width(variables, *others) / target - 1) < 0.05


def test_a_measure_without_a_gradient_is_refused_in_a_loss():
    """A step function of the map in a loss on a field ends in an error that names a smooth one, before it compiles."""
    model = zoo.conv_stack(depth=2, width=2)
    images = jnp.ones((1, 7, 9, 1))
    field = jaxrf.prepare(model, None, images)

    def loss(variables):
        maps = field(variables, images, jax.random.key(0)).array()
        return jaxrf.measures.size_luo2016(maps, center=field.center, origin=field.origin).mean()

    with pytest.raises(InputError, match="'size_luo2016' is a step function of the map.*such as 'sigma'"):
        jax.jit(jax.grad(loss)).lower(field.init(jax.random.key(0)))
