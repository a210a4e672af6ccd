"""Poolings as shifted slices against XLA's own: values, winners, pull-backs."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxrf.base.compiler import compiling_for
from jaxrf.lowering.pooling import (
    PoolingSpec,
    max_gradient,
    max_pool_forward,
    min_pool_forward,
    sum_gradient,
    sum_pool_forward,
    winners,
)

WAYS = {
    "max": (max_pool_forward, lax.max, -math.inf),
    "min": (min_pool_forward, lax.min, math.inf),
    "sum": (sum_pool_forward, lax.add, 0.0),
}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@st.composite
def poolings(draw):
    """A shape of one to three axes and a pooling that fits it; strides may exceed the window."""
    d = draw(st.integers(1, 3))
    window, strides, dilation = (tuple(draw(st.integers(1, high)) for _ in range(d)) for high in (3, 4, 2))
    shape = tuple((k - 1) * r + 1 + draw(st.integers(0, 5)) for k, r in zip(window, dilation))
    return shape, PoolingSpec(window, strides, dilation)


def xla(x, spec, operation, initial):
    return lax.reduce_window(
        x, np.asarray(initial, x.dtype), operation, spec.window, spec.strides, "VALID", window_dilation=spec.dilation
    )


def first_maxima(ct, x, spec):
    """The pull-back by loops: each element to the first maximum of its window, in row-major order."""
    pulled = np.zeros(x.shape)
    for at in np.ndindex(ct.shape):
        window = tuple(
            slice(i * s, i * s + (k - 1) * r + 1, r) for i, s, k, r in zip(at, spec.strides, spec.window, spec.dilation)
        )
        pulled[window][np.unravel_index(np.argmax(x[window]), spec.window)] += ct[at]
    return pulled


def pulled_to_winners(ct, x, spec):
    return max_gradient(ct, winners(x, spec), spec, x.shape)


@pytest.mark.parametrize("name", sorted(WAYS))
@settings(deadline=None, max_examples=8, derandomize=True)
@given(pooling=poolings())
def test_forward_is_that_of_xla(name, pooling):
    """Maxima and minima are the same numbers, sums differ by rounding."""
    shape, spec = pooling
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape))
    pool, operation, initial = WAYS[name]
    wanted = xla(x, spec, operation, initial)
    found = jax.jit(pool, static_argnums=1)(x, spec)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 if name == "sum" else 0)


@settings(deadline=None, max_examples=12, derandomize=True)
@given(pooling=poolings(), levels=st.sampled_from([1, 2, 50]))
def test_the_first_maximum_gets_the_cotangent(pooling, levels):
    """Also on a constant image, and on one of two values, where most windows have ties."""
    shape, spec = pooling
    rng = np.random.default_rng(0)
    x = rng.integers(0, levels, shape).astype(np.float64)
    ct = rng.normal(size=jax.eval_shape(lambda x: max_pool_forward(x, spec), x).shape)
    found = jax.jit(pulled_to_winners, static_argnums=2)(ct, x, spec)
    np.testing.assert_allclose(found, first_maxima(ct, x, spec), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("constant", [True, False])
def test_max_pooling_of_xla_is_pulled_back_alike(constant, dtype):
    """JAX's gradient of an overlapping max-pool takes the first maximum too: the same numbers, ties or not."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(np.ones((2, 7, 9, 3)) if constant else rng.normal(size=(2, 7, 9, 3)), dtype)
    spec = PoolingSpec((1, 3, 2, 1), (1, 2, 1, 1), (1, 1, 1, 1))
    wanted, pull = jax.vjp(lambda x: xla(x, spec, lax.max, -np.inf), x)
    ct = jnp.asarray(rng.integers(-8, 8, wanted.shape), dtype)
    np.testing.assert_array_equal(pulled_to_winners(ct, x, spec), pull(ct)[0])


@settings(deadline=None, max_examples=10, derandomize=True)
@given(pooling=poolings())
def test_sums_are_pulled_back_to_all_of_their_window(pooling):
    """The pull-back of a sum is the transpose of its forward pass."""
    shape, spec = pooling
    x = jnp.zeros(shape)
    out = jax.eval_shape(lambda x: sum_pool_forward(x, spec), x)
    ct = jnp.asarray(np.random.default_rng(0).normal(size=out.shape))
    (wanted,) = jax.linear_transpose(lambda x: xla(x, spec, lax.add, 0.0), x)(ct)
    found = jax.jit(sum_gradient, static_argnums=(1, 2))(ct, spec, shape)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def test_phases_alternate_alike_on_a_tpu():
    """Pads with holes in place of stacks give the same numbers; phases that no window reaches are zero."""
    rng = np.random.default_rng(0)
    x, shape = jnp.asarray(rng.normal(size=(2, 11, 13, 3))), (1, 2, 3, 1)
    for window in ((1, 3, 4, 1), (1, 3, 2, 1), shape):
        spec = PoolingSpec(window, shape, (1, 1, 1, 1))
        ct = jnp.asarray(rng.normal(size=max_pool_forward(x, spec).shape))
        with compiling_for("tpu"):
            found = [pulled_to_winners(ct, x, spec), sum_gradient(ct, spec, x.shape)]
        wanted = [pulled_to_winners(ct, x, spec), sum_gradient(ct, spec, x.shape)]
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_nan_is_kept():
    """A window that holds a NaN has the maximum NaN, in arrays large enough for XLA to lose it."""
    x = jnp.zeros((64, 66)).at[31, 40].set(jnp.nan)
    pooled = max_pool_forward(x, PoolingSpec((3, 3), (2, 2), (1, 1)))
    assert np.argwhere(np.isnan(pooled)).tolist() == [[15, 19], [15, 20]]
