"""Initializers: their laws, their scale, and their choice by name."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxrf.init
from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.errors import InputError, UnknownNameError
from jaxrf.init import center_lowered, random, uniform, with_init

KEY = jax.random.key(3)
INPUT = (9, 11, 3)


@pytest.fixture(scope="module")
def stack():
    subject = adapt(zoo.conv_stack(depth=3, width=4, use_bias=True), INPUT)
    return replace(subject, init=jax.jit(subject.init))


@pytest.mark.parametrize("name", list(jaxrf.init.known))
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (5, 6)])
def test_every_initializer_has_the_shape_and_type(name, shape):
    """Kernels of any rank, in the type asked for; the same for the same key."""
    drawn = jaxrf.init.known[name]()(KEY, shape, jnp.float32)
    assert (drawn.shape, drawn.dtype) == (shape, jnp.float32)
    np.testing.assert_array_equal(drawn, jaxrf.init.known[name]()(KEY, shape, jnp.float32))


def test_uniform_sums_to_its_total():
    """The weights of an output channel are equal and sum to the total."""
    kernel = np.asarray(uniform(2.5)(KEY, (3, 5, 4, 6), jnp.float32))
    np.testing.assert_allclose(kernel.sum((0, 1, 2)), 2.5, rtol=1e-6)
    assert len(np.unique(kernel)) == 1


def test_random_has_mean_zero_and_its_gain():
    """Variance times fan-in is the gain, and the mean is zero, to the error of 36864 draws."""
    kernel = np.asarray(random(2.0)(KEY, (3, 3, 64, 64), jnp.float32), np.float64)
    assert kernel.var() * 9 * 64 == pytest.approx(2.0, rel=0.03)
    assert abs(kernel.mean()) < 4 * kernel.std() / np.sqrt(kernel.size)
    for gain in (0, -1):
        with pytest.raises(InputError, match=f"A gain of {gain} was asked for"):
            random(gain)


def test_center_lowered_keeps_the_power_and_widens():
    """The mean square is that of the base, the center is lowest, and the variance of the position is as documented."""
    for center, variance in ((0.25, 0.803), (0.0, 5 / 6), (1.0, 2 / 3)):
        kernel = np.asarray(center_lowered(uniform(9.0), center)(KEY, (3, 3, 1, 1), jnp.float32), np.float64)[..., 0, 0]
        square = np.square(kernel)
        assert square.mean() == pytest.approx(1.0, rel=1e-5)
        assert (square.sum(1) * [1, 0, 1]).sum() / square.sum() == pytest.approx(variance, abs=5e-4)
        assert kernel[1, 1] == pytest.approx(center * kernel[0, 0], rel=1e-5)
    line = np.asarray(center_lowered(uniform(5.0), 0.5)(KEY, (5, 1, 1), jnp.float32))[:, 0, 0]
    np.testing.assert_allclose(line / line[0], [1, 0.75, 0.5, 0.75, 1], rtol=1e-5)
    base = jax.nn.initializers.he_normal()
    for shape in ((1, 1, 4, 6), (4, 6)):
        np.testing.assert_array_equal(center_lowered(base)(KEY, shape, jnp.float32), base(KEY, shape, jnp.float32))
    with pytest.raises(InputError, match=r"A center of 1\.5 was asked for"):
        center_lowered(center=1.5)


def test_patterns_choose_parameters(stack):
    """Those that match are drawn anew, the last pattern counts, and all others stay as they were."""
    changed = with_init(stack, {"*/kernel": "uniform", "params/conv_1/*": jax.nn.initializers.normal(5.0)})
    before, after = (s.initialize(KEY)["params"] for s in (stack, changed))
    assert len(np.unique(after["conv_0"]["kernel"])) == len(np.unique(after["conv_2"]["kernel"])) == 1
    assert np.std(after["conv_1"]["kernel"]) > 3 and np.std(after["conv_1"]["bias"]) > 0
    np.testing.assert_array_equal(before["conv_0"]["bias"], after["conv_0"]["bias"])


def test_a_parameter_does_not_depend_on_other_patterns(stack):
    """Its key comes from its name, so adding a pattern for others changes nothing; two parameters differ."""
    one = with_init(stack, {"*conv_1/kernel": "he_normal"}).initialize(KEY)["params"]
    two = with_init(stack, {"*/kernel": "he_normal"}).initialize(KEY)["params"]
    np.testing.assert_array_equal(one["conv_1"]["kernel"], two["conv_1"]["kernel"])
    assert not np.array_equal(two["conv_1"]["kernel"], two["conv_2"]["kernel"])


def test_works_inside_jit_and_for_nnx(stack):
    """Under jit the same numbers come out; NNX factories have names with slashes too."""
    changed = with_init(stack, {"*/kernel": random()})
    jitted, plain = jax.jit(changed.init)(KEY), changed.initialize(KEY)
    np.testing.assert_allclose(jitted["params"]["conv_1"]["kernel"], plain["params"]["conv_1"]["kernel"], rtol=1e-6)

    def make(rngs):
        return nnx.Sequential(nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.Conv(4, 2, (3, 3), rngs=rngs))

    made = with_init(adapt(make, INPUT), {"*/kernel": uniform()}).initialize(KEY)
    kernels = [leaf for leaf in jax.tree.leaves(made) if leaf.ndim == 4]
    assert [len(np.unique(kernel)) for kernel in kernels] == [1, 1]


def test_what_does_not_fit_is_named(stack):
    """Patterns without a match, unknown names, no initializers, wrong shapes, and models that cannot be drawn."""
    with pytest.raises(UnknownNameError, match=r"Unknown pattern of parameters '\*/kernl'.*must match at least one"):
        with_init(stack, {"*/kernl": "uniform"})
    with pytest.raises(UnknownNameError, match="Unknown initializer 'unifrom'.*Did you mean 'uniform'"):
        with_init(stack, {"*/kernel": "unifrom"})
    with pytest.raises(InputError, match=r"3 is not an initializer. Pass a function init\(key, shape, dtype\)"):
        with_init(stack, {"*/kernel": 3})
    with pytest.raises(InputError, match=r"parameter 'params/conv_0/bias' fails on its shape \(4,\)"):
        with_init(stack, {"*": "he_normal"}).initialize(KEY)
    with pytest.raises(InputError, match=r"'params/conv_0/bias' returned shape \(2,\); the parameter has \(4,\)"):
        with_init(stack, {"*/bias": lambda key, shape, dtype: jnp.zeros(2)}).initialize(KEY)
    with pytest.raises(InputError, match="cannot be initialized at random"):
        with_init(adapt(lambda x: 2 * x, INPUT), {"*": uniform()})
