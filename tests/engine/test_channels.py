"""Cotangents over channels: one probe for each unit, image and seed, and none that the weights were drawn with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.engine.channels import channel_rule, rules
from jaxrf.fields.run import sample_keys
from jaxrf.inputs.images import as_images
from tests.running import run_of


def test_probes_of_units_and_images_are_independent():
    """64 probes of 40 channels: fair signs, no two alike, and no two that agree more often than chance allows."""
    keys = sample_keys(3, 0, 4)
    drawn = np.concatenate([channel_rule("probe").cotangents(key, jnp.arange(16), 40, np.float32) for key in keys])
    assert set(np.unique(drawn)) == {-1, 1}
    assert abs(drawn.mean()) < 4 / np.sqrt(drawn.size)
    agreement = (drawn @ drawn.T / 40)[~np.eye(len(drawn), dtype=bool)]
    assert np.abs(agreement).max() < 0.8 and abs(np.square(agreement).mean() * 40 - 1) < 0.2


def test_probes_depend_on_the_number_of_the_unit_alone():
    """In another batch a unit has the probe that it had."""
    key = sample_keys(0, 5, 1)[0]
    some, all_ = (
        channel_rule("probe").cotangents(key, jnp.array(units), 6, np.float32) for units in ([4, 2], range(5))
    )
    np.testing.assert_array_equal(some, all_[jnp.array([4, 2])])


def test_probes_are_the_same_where_double_precision_is_switched_on():
    """Seeds and images have the same signs under x64."""

    def drawn():
        keys = sample_keys(3, 0, 4)
        return np.array([channel_rule("probe").cotangents(key, jnp.arange(3), 40, np.float32) for key in keys])

    usual = drawn()
    with jax.enable_x64(True):
        np.testing.assert_array_equal(drawn(), usual)


def test_units_of_one_image_have_probes_of_their_own():
    """A 1x1 convolution to three channels on three: of all units of a linear net, maps differ by their probes alone."""
    model = zoo.conv_stack(depth=1, width=3, kernel=1, activation="linear")
    found = jaxrf.erf(model, inputs=jaxrf.noise(1), input_shape=(5, 7, 3), units="all")
    powers = found.mean.sum(axis=(1, 2))
    # Three signs are four probes up to the sign of all, and 35 units draw most of them.
    assert len(np.unique(powers.round(6))) in (3, 4)


def test_each_index_and_sum_of_channels():
    """An index counts from the end where it is negative; "each" takes channels in order, fastest."""
    key = sample_keys(0, 0, 1)[0]
    units = jnp.arange(6)
    np.testing.assert_array_equal(
        channel_rule("each").cotangents(key, units, 3, np.float32), np.tile(np.eye(3), (2, 1))
    )
    np.testing.assert_array_equal(channel_rule(-1).cotangents(key, units[:2], 3, np.float32), [[0, 0, 1]] * 2)
    np.testing.assert_array_equal(channel_rule("sum").cotangents(key, units[:2], 3, np.float32), np.ones((2, 3)))


@pytest.mark.parametrize("number", [0, 2])
def test_no_probe_is_drawn_with_a_key_that_weights_may_have(number):
    """A network whose weights are the coins of image `number` and unit 0, drawn from the seed's key, is not its own probe."""

    def net(kernel, x):
        return x * kernel

    def init(key):
        own = jax.random.fold_in(jax.random.fold_in(key, number), 0)
        return jax.random.rademacher(own, (64,), np.float32)

    net.init = init
    images = as_images(jaxrf.noise(number + 1), (2, 2, 64))
    run = run_of(adapt(net, (2, 2, 64)), images, units=np.array([[0, 0]]))
    weights = np.asarray(run.leaves(5)[0])
    probe = channel_rule("probe").cotangents(sample_keys(5, number, 1)[0], jnp.array([0]), 64, np.float32)[0]
    assert 8 < (weights == probe).sum() < 56


@pytest.mark.parametrize("name", rules)
def test_every_rule_has_maps_cotangents_and_a_gate(name):
    """Cotangents have a row for each map of a unit, of a sign and size of their own, and a gate keeps or drops channels."""
    rule, size, units = rules[name], 3, 2
    number = units * rule.maps(size)
    found = np.asarray(rule.cotangents(jax.random.key(0), jnp.arange(number), size, np.float32))
    assert found.shape == (number, size) and set(np.unique(found)) <= {-1, 0, 1}
    values = jnp.array([[1.0, -1.0, 2.0]] * number)
    gated = np.asarray(rule.gated(jnp.asarray(found), values))
    assert ((gated == found) | ((gated == 0) & (np.asarray(values) <= 0))).all()
    assert rule.alike == bool((found == 1).all()) and (not rule.cancels or rule.alike)
    assert (gated == found).all() or not rule.cancels
