"""Every lowering of a convolution against XLA's own, on problems that hypothesis draws."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jaxrf.lowering import ConvolutionSpec, Problem, lowerings
from tests.lowering.problems import operands, problems

# What to draw so that a lowering applies often.
DRAWN = {
    "plain": {},
    "gemm": {"taps": (1, 1), "groups": (1, 1)},
    "shifts": {"holes": (1, 1)},
    "groups": {"groups": (2, 4)},
    "phases": {"strides": (1, 1)},
    "interleave": {"strides": (1, 1), "groups": (1, 1)},
    "scatter": {"strides": (1, 1), "groups": (1, 1)},
}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def by(name, problem, x, kernel):
    way = lowerings[name]
    return jax.jit(lambda x, kernel: way.run(x, way.prepare(kernel, problem), problem))(x, kernel)


def narrowed(problem, name):
    """The problem, changed where `name` needs it: one input per group, or no kernel dilation."""
    if name == "shifts":
        groups = problem.spec.groups
        return Problem(
            (*problem.image[:-1], groups), (*problem.taps, 1, problem.kernel[-1]), problem.spec, problem.dtype
        )
    if name == "interleave":
        spec = problem.spec
        ones = (1,) * len(spec.strides)
        spec = ConvolutionSpec(spec.strides, spec.padding, spec.lhs_dilation, ones, 1)
        return Problem(problem.image, problem.kernel, spec, problem.dtype)
    return problem


def test_every_lowering_is_tested():
    """A lowering that is registered is drawn for here."""
    assert set(DRAWN) == set(lowerings)


@pytest.mark.parametrize("name", sorted(DRAWN))
@settings(deadline=None, max_examples=15, derandomize=True)
@given(data=st.data())
def test_a_lowering_is_the_convolution(name, data):
    """In float64 it differs from XLA's convolution by rounding alone, and has the shape that the problem says.

    Where the taps stand in reverse order, that is the convolution by the kernel that was reversed before.
    """
    problem = narrowed(data.draw(problems(**DRAWN[name])), name)
    assume(lowerings[name].applies(problem))
    reverse = name == "plain" or data.draw(st.booleans())
    x, kernel = operands(problem)
    wanted = by("plain", problem, x, np.flip(kernel, tuple(problem.axes)) if reverse else kernel)
    found = by(name, replace(problem, reverse=reverse), x, kernel)
    assert found.shape == wanted.shape == problem.result
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


SINGLE = {
    "gemm": Problem((3, 5, 7, 4), (1, 1, 4, 6), ConvolutionSpec((2, 3), ((1, 0), (0, 2)), (1, 1), (1, 1)), "float32"),
    "shifts": Problem(
        (2, 9, 7, 4), (3, 2, 1, 8), ConvolutionSpec((4, 1), ((1, 2), (-1, 3)), (1, 1), (1, 2), 4), "float32"
    ),
    "groups": Problem((2, 5, 7, 9), (3, 3, 3, 6), ConvolutionSpec((2, 1), ((1, 1),) * 2, (1, 1), (1, 1), 3), "float32"),
    "phases": Problem((2, 5, 4, 3), (3, 4, 1, 3), ConvolutionSpec((1, 1), ((1, 2),) * 2, (2, 3), (1, 2), 3), "float32"),
    "interleave": Problem(
        (2, 5, 4, 6), (7, 3, 6, 2), ConvolutionSpec((1, 1), ((3, 4),) * 2, (2, 3), (1, 1)), "float32"
    ),
    "scatter": Problem(
        (2, 3, 4, 6), (3, 2, 6, 5), ConvolutionSpec((1, 1), ((2, 2), (1, 3)), (1, 2), (1, 2)), "float32"
    ),
}


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_in_single_precision_batched_and_in_a_loop(name):
    """In float32, under jit, vmap and lax.map, it is within 1e-5 of XLA's convolution."""
    problem = SINGLE[name]
    assert lowerings[name].applies(problem)
    x, kernel = operands(problem)
    wanted = np.asarray(by("plain", problem, x, kernel))
    prepared = lowerings[name].prepare(jnp.asarray(kernel), problem)
    run = jax.jit(lambda x: lowerings[name].run(x, prepared, problem))
    pair = jnp.stack([jnp.asarray(x), -2 * jnp.asarray(x)])
    for found in (run(x), jax.vmap(run)(pair)[1] / -2, jax.lax.map(run, pair)[1] / -2):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * abs(wanted).max())


@pytest.mark.parametrize("taps", [(13, 9), (97,), (5, 5, 4), (6, 3), (3, 7), (17,), (2, 3, 4)])
def test_kernels_of_many_taps(taps):
    """More than 96 taps are summed in blocks of rows, whose last is filled up with zeros; more than 16 in two parts.

    These share the row in the middle where the result has an odd number of them; its rows skip some of the image's.
    """
    d = len(taps)
    spec = ConvolutionSpec(
        (2,) + (1,) * (d - 1), tuple((k - 2, k // 2) for k in taps), (1,) * d, (1,) * (d - 1) + (2,), 3
    )
    sizes = [k + 5 + a for a, k in enumerate(taps)]
    several = [Problem((2, sizes[0] + more, *sizes[1:], 3), (*taps, 1, 3), spec, "float64") for more in (0, 2)]
    assert {problem.result[1] % 2 for problem in several} == {0, 1}
    for problem in several:
        x, kernel = operands(problem)
        found = by("shifts", problem, x, kernel)
        np.testing.assert_allclose(found, by("plain", problem, x, kernel), rtol=0, atol=1e-10)


def test_one_image_of_no_size():
    """A result without elements comes out with its shape."""
    for name, problem in SINGLE.items():
        empty = Problem((0, *problem.image[1:]), problem.kernel, problem.spec, problem.dtype)
        assert by(name, empty, *operands(empty)).shape == empty.result == (0, *problem.result[1:])
