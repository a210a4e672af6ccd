"""The forward convolution and the input gradient, by whatever lowering is chosen, against JAX's own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from jaxrf.lowering import ConvolutionSpec, Problem, lowerings
from jaxrf.lowering.choice import choose, recording_problems
from jaxrf.lowering.convolution import convolution_forward, gradient_problem, input_gradient
from tests.lowering.problems import operands, problems


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def plain(x, kernel, problem):
    return lowerings["plain"].run(x, kernel, problem)


@pytest.mark.slow
@settings(deadline=None, max_examples=20, derandomize=True)
@given(problem=problems())
def test_forward_and_gradient_are_those_of_jax(problem):
    """Strides over kernels, dilations, groups, uneven and negative padding: float64 to rounding."""
    x, kernel = map(jnp.asarray, operands(problem))
    wanted, pull = jax.vjp(lambda x: plain(x, kernel, problem), x)
    found = jax.jit(convolution_forward, static_argnums=2)(x, kernel, problem.spec)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    if not wanted.size:
        return
    ct = jnp.asarray(np.random.default_rng(1).normal(size=wanted.shape))
    found = jax.jit(input_gradient, static_argnums=(2, 3))(ct, kernel, problem.spec, problem.spatial)
    np.testing.assert_allclose(found, pull(ct)[0], rtol=0, atol=1e-12)


def layer(size, inputs, outputs, taps, stride=1, groups=1, pad=None, dtype="float32", n=8):
    side = taps // 2 if pad is None else pad
    spec = ConvolutionSpec((stride,) * 2, ((side, side),) * 2, (1, 1), (1, 1), groups)
    return Problem((n, size, size, inputs), (taps, taps, inputs // groups, outputs), spec, dtype)


def back(p):
    return gradient_problem(p.result, p.kernel, p.spec, p.spatial, p.dtype)


@pytest.mark.parametrize(
    ("problem", "name"),
    [
        (layer(56, 64, 256, 1), "gemm"),
        (back(layer(56, 256, 512, 1, stride=2)), "gemm"),
        (layer(56, 96, 96, 7, groups=96), "shifts"),
        (layer(56, 96, 96, 3, stride=2, groups=96), "shifts"),
        (back(layer(56, 96, 96, 7, groups=96)), "shifts"),
        (back(layer(56, 96, 96, 3, stride=2, groups=96)), "phases"),
        (layer(224, 1, 1, 3), "shifts"),
        (layer(28, 1, 64, 5), "plain"),
        (layer(56, 128, 128, 3, groups=32), "groups"),
        (back(layer(224, 3, 64, 7, stride=2)), "interleave"),
        (back(layer(21, 3, 64, 7, stride=2, pad=0)), "plain"),
        (back(layer(224, 3, 64, 3)), "scatter"),
        (back(layer(11, 64, 64, 3, pad=0)), "scatter"),
        (layer(7, 512, 512, 3), "plain"),
        (layer(56, 64, 64, 3), "plain"),
        (back(layer(56, 64, 64, 3)), "plain"),
        (back(layer(57, 64, 64, 3, pad=0)), "plain"),
        (layer(56, 96, 96, 7, groups=96, dtype="bfloat16"), "plain"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.key,
)
def test_the_table_for_cpus(problem, name):
    """Each line of the table where it was measured or counted; dense convolutions and narrow types stay XLA's."""
    assert choose(problem, "cpu") == name
    assert choose(problem, "cuda") == "plain"


@pytest.mark.parametrize(
    ("problem", "name"),
    [
        (back(layer(224, 3, 64, 7, stride=2)), "interleave"),
        (back(layer(21, 3, 64, 7, stride=2, pad=0)), "interleave"),
        (back(layer(56, 96, 96, 3, stride=2, groups=96)), "plain"),
        (back(layer(224, 3, 64, 3)), "plain"),
        (back(layer(56, 64, 64, 3, stride=2)), "plain"),
        (layer(56, 96, 96, 7, groups=96), "plain"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.key,
)
def test_the_table_for_a_tpu(problem, name):
    """Gradients at images of few channels behind a strided stem are computed by phases; all else is XLA's."""
    assert choose(problem, "tpu") == name


def test_phases_choose_again_for_their_parts():
    """The pull-back of a strided depthwise convolution is phases, each of them shifts."""
    problem = back(layer(9, 6, 6, 3, stride=2, groups=6, n=1))
    _, kernel = operands(problem)
    with recording_problems() as seen:
        assert choose(problem, "cpu") == "phases"
        lowerings["phases"].prepare(jnp.asarray(kernel), problem)
    parts = [p for key, p in seen.items() if key != problem.key]
    assert sorted(p.taps for p in parts) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert {choose(p, "cpu") for p in parts} == {"shifts"}
