"""Every way of a pooling against XLA's own and against loops: values, winners, the way back; and which is chosen."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxrf.lowering import PoolingProblem, PoolingSpec, poolings
from jaxrf.lowering.pooling import FILLS, TABLE, choose_pooling
from jaxrf.lowering.slices import winners

OPERATIONS = {"max": lax.max, "min": lax.min, "sum": lax.add}
BACK = ["pads", "stack"]


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@st.composite
def problems(draw, joins=tuple(FILLS), back=False):
    """A pooling of one to three axes, with uneven padding; strides may exceed the window."""
    d = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(d))

    window, strides, dilation, before, after = each(1, 3), each(1, 4), each(1, 2), each(0, 2), each(0, 2)
    shape = tuple((k - 1) * r + 1 + draw(st.integers(0, 5)) for k, r in zip(window, dilation))
    spec = PoolingSpec(window, strides, tuple(zip(before, after)), dilation, (1,) * d)
    return PoolingProblem(shape, spec, draw(st.sampled_from(joins)), "float64", back)


def xla(x, problem):
    spec = problem.spec
    return lax.reduce_window(
        x, np.asarray(FILLS[problem.join], x.dtype), OPERATIONS[problem.join], spec.window, spec.strides, spec.padding,
        spec.holes, spec.dilation,
    )  # fmt: skip


def by(name, x, problem, places=()):
    assert poolings[name].applies(problem)
    return jax.jit(lambda x, places: poolings[name].run(x, places, problem))(x, places)


def first_winners(ct, x, problem):
    """The way back by loops: each element to the first maximum or minimum of its window, in row-major order."""
    spec, fill = problem.spec, FILLS[problem.join]
    padded = np.pad(x, spec.padding, constant_values=fill)
    pulled = np.zeros(padded.shape)
    for at in np.ndindex(ct.shape):
        window = tuple(
            slice(i * s, i * s + (k - 1) * r + 1, r) for i, s, k, r in zip(at, spec.strides, spec.window, spec.dilation)
        )
        best = np.argmax(padded[window]) if problem.join == "max" else np.argmin(padded[window])
        pulled[window][np.unravel_index(best, spec.window)] += ct[at]
    return pulled[tuple(slice(lo, lo + n) for n, (lo, _) in zip(x.shape, spec.padding))]


def test_every_way_is_tested_and_chosen_somewhere():
    """All that is registered has a line of the table, and is under the tests of this page."""
    assert set(poolings) == {"shifts", *BACK}
    assert {line.way for line in TABLE.lines} == {"plain", *poolings}


@settings(deadline=None, max_examples=18, derandomize=True)
@given(problem=problems())
def test_forward_is_that_of_xla(problem):
    """Maxima and minima are the same numbers, sums differ by rounding; the shape is the one that the problem says."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=problem.image))
    wanted, found = xla(x, problem), by("shifts", x, problem)
    assert found.shape == problem.result == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 if problem.join == "sum" else 0)


@pytest.mark.parametrize("way", BACK)
@settings(deadline=None, max_examples=8, derandomize=True)
@given(problem=problems(("max", "min"), back=True), levels=st.sampled_from([1, 2, 50]))
def test_the_first_winner_gets_the_cotangent(way, problem, levels):
    """Also on a constant image, and on one of two values, where most windows have ties."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, levels, problem.image).astype(np.float64)
    ct = rng.normal(size=problem.result)
    found = by(way, ct, problem, winners(jnp.asarray(x), problem))
    np.testing.assert_allclose(found, first_winners(ct, x, problem), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("constant", [True, False])
def test_max_pooling_of_xla_is_pulled_back_alike(constant, dtype):
    """JAX's gradient of an overlapping max-pool takes the first maximum too: the same numbers, ties or not."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(np.ones((2, 7, 9, 3)) if constant else rng.normal(size=(2, 7, 9, 3)), dtype)
    spec = PoolingSpec((1, 3, 2, 1), (1, 2, 1, 1), ((0, 0), (1, 1), (0, 1), (0, 0)), (1,) * 4, (1,) * 4)
    problem = PoolingProblem(x.shape, spec, "max", dtype, back=True)
    wanted, pull = jax.vjp(lambda x: xla(x, problem), x)
    ct = jnp.asarray(rng.integers(-8, 8, wanted.shape), dtype)
    for way in BACK:
        np.testing.assert_array_equal(by(way, ct, problem, winners(x, problem)), pull(ct)[0])


@pytest.mark.parametrize("way", BACK)
@settings(deadline=None, max_examples=6, derandomize=True)
@given(problem=problems(("sum",), back=True))
def test_sums_are_pulled_back_to_all_of_their_window(way, problem):
    """The way back is the transpose of the forward pass."""
    ct = jnp.asarray(np.random.default_rng(0).normal(size=problem.result))
    (wanted,) = jax.linear_transpose(lambda x: xla(x, problem), jnp.zeros(problem.image))(ct)
    np.testing.assert_allclose(by(way, ct, problem), wanted, rtol=0, atol=1e-12)


def test_nan_is_kept():
    """A window that holds a NaN has the maximum NaN, in arrays large enough for XLA to lose it."""
    x = jnp.zeros((64, 66)).at[31, 40].set(jnp.nan)
    spec = PoolingSpec((3, 3), (2, 2), ((0, 0),) * 2, (1, 1), (1, 1))
    pooled = by("shifts", x, PoolingProblem(x.shape, spec, "max"))
    assert np.argwhere(np.isnan(pooled)).tolist() == [[15, 19], [15, 20]]


STEM = PoolingProblem((1, 9, 9, 4), PoolingSpec((1, 3, 3, 1), (1, 2, 2, 1), ((0, 0),) * 4, (1,) * 4, (1,) * 4), "max")
BACKWARD, MOVING = {"back": True}, {"back": True, "whole": False}
LONG = replace(STEM, image=(1, 90, 9, 4), spec=replace(STEM.spec, window=(1, 65, 3, 1)))
DILATED = replace(STEM, spec=replace(STEM.spec, holes=(1, 2, 1, 1)))


@pytest.mark.parametrize(
    "problem, ways",
    [
        (STEM, "shifts plain plain"),
        (replace(STEM, dtype="bfloat16"), "plain plain plain"),
        (LONG, "plain plain plain"),
        (replace(STEM, image=(1, 2, 9, 4)), "plain plain plain"),
        (replace(STEM, **BACKWARD), "stack stack plain"),
        (replace(STEM, **MOVING), "stack stack pads"),
        (replace(STEM, join="sum", **BACKWARD), "stack stack pads"),
        (replace(LONG, dtype="bfloat16", **MOVING), "stack stack pads"),
        (replace(DILATED, **BACKWARD), "plain plain plain"),
        (DILATED, "plain plain plain"),
    ],
)
def test_what_is_chosen(problem, ways):
    """On a CPU, a GPU and a TPU: forward, back, on whole arrays and on windows; long windows, holes, empty results."""
    assert [choose_pooling(problem, platform) for platform in ("cpu", "gpu", "tpu")] == ways.split()
