"""The sign-averaged estimator: its law for one equation, its signs, and where it needs none."""

from __future__ import annotations

import itertools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrf.adapters import adapt
from jaxrf.engine.pull import pull_back
from jaxrf.engine.range import NOTHING, Scaled
from jaxrf.engine.run import Pullback
from jaxrf.engine.scales import Scales
from jaxrf.engine.signs import fresh_signs, power
from jaxrf.engine.view import Shared
from jaxrf.engine.windows import windows
from jaxrf.fields.run import Run
from jaxrf.interpret.weights import random_weights
from jaxrf.planning.programs import traced
from tests.engine.models import conv, images
from tests.engine.random_networks import Net, layer, open_run
from tests.running import batched

pytestmark = pytest.mark.usefixtures("quick")

PRODUCTS = {
    "strided": (lambda w, x: conv(x, w, 2), (1, 5, 2), (3, 2, 2)),
    "grouped and dilated": (lambda w, x: conv(x, w, groups=2, rhs_dilation=(2,)), (1, 6, 4), (3, 2, 2)),
    "transposed": (lambda w, x: conv(x, w, padding=[(1, 2)], lhs_dilation=(2,)), (1, 4, 2), (2, 2, 3)),
    "dense": (lambda w, x: x @ w, (1, 4, 3), (3, 4)),
    "rows in groups": (lambda w, x: jax.lax.ragged_dot(x[0], w, jnp.array([2, 3]))[None], (1, 5, 2), (2, 2, 3)),
    "dense from the left": (lambda w, x: jnp.einsum("ck,byk->cby", w, x), (1, 4, 3), (4, 3)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_power_is_the_mean_square_over_all_signs(name, double):
    """Over all 2^12 choices of the signs of a weight the squared pull-back averages to `power`."""
    f, shape, size = PRODUCTS[name]
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=size), rng.normal(size=shape)
    program = traced(adapt(f, shape[1:], variables=w, dtype=np.float64, spatial_axes=(1,)))
    target = program.layers["output"].tangent
    ct = rng.normal(size=target.shape)
    plan = windows(program, target, program.input, {}, whole=True)
    (product,) = random_weights(program, [step.equation for step in plan.steps])
    wanted = list(plan.coefficients())
    shared = Shared(dict(zip(wanted, program.evaluate(wanted, {program.arguments[0]: w}))), plan.starts)
    found = pull_back(plan, shared, plan.starts.table(1), ct[None], {product.equation: power}).array[0]
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=w.size))).reshape(-1, *w.shape)
    pulled = jax.jit(lambda s: jax.lax.map(lambda s: jax.vjp(lambda x: f(s * w, x), x)[1](ct)[0], s))(signs)
    np.testing.assert_allclose(found, np.square(pulled).mean(0), rtol=1e-12)


def test_signs_are_fair_and_belong_to_unit_and_equation():
    """Another batch of units draws the same signs for a unit; other units, equations and samples draw others."""
    root = jax.random.key(5)
    drawn = fresh_signs(root, jnp.array([3, 7]), 2, (9, 11, 5))
    assert drawn.shape == (2, 9, 11, 5) and drawn.dtype == bool
    np.testing.assert_array_equal(fresh_signs(root, jnp.array([7]), 2, (9, 11, 5))[0], drawn[1])
    others = [drawn[1], fresh_signs(root, jnp.array([3]), 4, (9, 11, 5))[0]]
    others.append(fresh_signs(jax.random.key(6), jnp.array([3]), 2, (9, 11, 5))[0])
    for other in others:
        assert abs(np.mean(drawn[0] == other) - 0.5) < 4 * 0.5 / np.sqrt(9 * 11 * 5)
    assert abs(np.mean(drawn) - 0.5) < 4 * 0.5 / np.sqrt(2 * 9 * 11 * 5)
    assert fresh_signs(root, jnp.array([3]), 2, (0, 4)).shape == (1, 0, 4)


def normed(_, x):
    """Its norms add channels, whose signs are drawn."""
    for _ in range(2):
        x = nn.relu(nn.LayerNorm()(layer()(x)))
    return layer()(x)


def maps_of(pull: Pullback, opened: Run, keys: jax.Array, seed: int = 0) -> np.ndarray:
    """Maps (key, unit, *spatial) of one network, each key with the same image."""
    image = images(1, *opened.prepared.pullback.program.image.shape[1:], dtype=np.float32)
    return pull.maps(opened.leaves(seed), np.repeat(image[:, None], len(keys), 0), keys).maps


@pytest.mark.slow
def test_batching_changes_nothing():
    """Units one by one and five at a time have the same maps, where signs are drawn, key by key."""
    opened = open_run(Net(normed), units=np.array([[4, 4], [5, 8], [6, 6], [7, 5], [8, 9]]), crop=False)
    assert opened.prepared.pullback.signs.drawn
    keys = jax.random.split(jax.random.key(0), 2)
    together, single = (
        maps_of(batched(opened.prepared.pullback, units_per_batch=n, batches_per_call=1), opened, keys) for n in (5, 1)
    )
    np.testing.assert_allclose(together, single, rtol=0, atol=1e-6 * single.max())
    assert (together.sum((-1, -2)) > 0).all()
    assert not np.array_equal(together[0], together[1])


def blocks(_, x):
    """A strided stem, an overlapping max-pool, two residual blocks, nearest upsampling and a concatenation."""
    low = nn.max_pool(nn.relu(layer(4, strides=2)(x)), (3, 3), (2, 2), "SAME")
    x = nn.relu(layer(4)(low))
    for _ in range(2):
        x = nn.relu(x + layer(4)(nn.relu(layer(4)(x))))
    x = jax.image.resize(x, (1, 2 * x.shape[1], 2 * x.shape[2], 4), "nearest")
    low = jnp.repeat(jnp.repeat(low, 2, 1), 2, 2)
    return layer(4)(jnp.concatenate([x, low], -1))


def test_magnitudes_of_any_scale_meet_as_squares():
    """With exponents of their own, one far below the other, or zeros that set no scale."""
    a, b = np.array([[3.0, 0.0], [3.0, 1.0], [2.0, 0.0]]), np.array([[4.0, 2.0], [4.0, 1.0], [0.0, 0.0]])
    exponents = np.array([5, 200, 7], np.int32), np.array([5, 0, NOTHING], np.int32)
    one, other = (Scaled(jnp.array(c), jnp.array(e)) for c, e in zip((a, b), exponents))
    both = one.met(other, Scales(lambda operand: operand.value), in_squares=True)
    np.testing.assert_array_equal(both.exponents(), [5, 200, 7])
    np.testing.assert_allclose(both.array, [[5, 2], [3, 1], [2, 0]], rtol=1e-6)
    plain = Scaled(jnp.array(a)).met(Scaled(jnp.array(b)), Scales(lambda operand: operand.value), in_squares=True)
    np.testing.assert_allclose(plain.array, np.hypot(a, b), rtol=1e-6)


@pytest.mark.slow
def test_where_elements_stay_apart_the_map_is_the_mean_over_all_signs():
    """One network: 2000 maps with signs drawn everywhere average to the one map that is made without any."""
    opened = open_run(Net(blocks), (24, 28, 2), crop=False)
    signs = opened.prepared.pullback.signs
    assert not signs.drawn
    keys = jax.random.split(jax.random.key(1), 2000)
    (once, again) = maps_of(batched(opened.prepared.pullback, images_at_once=2), opened, keys[:2])[:, 0]
    np.testing.assert_array_equal(once, again)
    everywhere = replace(signs, in_squares=frozenset(), gathering=frozenset())
    assert len(everywhere.drawn) == len(signs.averaged) == 7
    drawn = maps_of(replace(opened.prepared.pullback, signs=everywhere), opened, keys)[:, 0].astype(np.float64)
    bright = once > 1e-3 * once.max()
    z = ((drawn.mean(0) - once)[bright]) / (drawn.std(0)[bright] / np.sqrt(len(keys)))
    assert bright.sum() > 100
    assert np.abs(z).max() < 5 and np.sqrt(np.square(z).mean()) < 1.5
    assert drawn.sum((1, 2)).mean() == pytest.approx(once.sum(), rel=0.02)
