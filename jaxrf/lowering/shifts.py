"""Depthwise convolutions, and those of one input feature, as sums of shifted images times numbers."""

from __future__ import annotations

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxrf.lowering.lowering import Lowering, lowerings, padded
from jaxrf.lowering.problem import Problem

# LLVM gives up on vectors for a loop that reads from more than about a hundred places (13x13 taps: 75 ms against 3.5).
# A larger kernel is a loop over blocks of its rows, of about LOOPED_TAPS taps each.
MOST_TAPS, LOOPED_TAPS = 96, 48
# What reads a result is fused into its loop. Where several do, the sum is computed anew for each.
FUSED_TAPS = 16


class Shifts(Lowering):
    """y = sum_k w[k] x[s o + r k - p]: one multiply-add per tap, all of them in one loop over the result.

    XLA's own convolution spends most of its time outside of arithmetic where a group has one input feature.
    """

    def applies(self, problem):
        one_row = math.prod(problem.taps[1:])
        return problem.inputs == 1 and not problem.dilated and 0 < one_row <= MOST_TAPS and problem.taps[0] > 0

    def run(self, x, prepared, problem):
        return _run(x, prepared, problem)


@partial(jax.jit, static_argnames="problem")  # equal blocks of a network are traced once
def _run(x: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    if not math.prod(problem.result):
        return jnp.zeros(problem.result, x.dtype)
    if problem.outputs > 1 and problem.spec.groups > 1:
        x = jnp.repeat(x, problem.outputs, axis=-1)
    x = padded(x, problem)
    if math.prod(problem.taps) > MOST_TAPS:
        return blocks_of_rows(x, kernel, problem)
    total = shifted_sum(x, kernel, problem)
    return lax.optimization_barrier(total) if math.prod(problem.taps) > FUSED_TAPS else total


def shifted_sum(x: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """The sum over all taps of `kernel`, for the padded `x`."""
    total, strides = None, problem.spec.strides
    for tap in itertools.product(*map(range, kernel.shape[:-2])):
        starts = [k * r for k, r in zip(tap, problem.spec.rhs_dilation)]
        stops = [a + (n - 1) * s + 1 for a, n, s in zip(starts, problem.result[1:-1], strides)]
        part = lax.slice(x, (0, *starts, 0), (x.shape[0], *stops, x.shape[-1]), (1, *strides, 1)) * kernel[tap][0]
        total = part if total is None else total + part
    assert total is not None
    return total


def blocks_of_rows(x: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """The same, a few rows of the kernel at a time."""
    count, step = kernel.shape[0], problem.spec.rhs_dilation[0]
    rows = max(LOOPED_TAPS // math.prod(problem.taps[1:]), 1)
    blocks = -(-count // rows)
    missing = blocks * rows - count
    kernel = jnp.pad(kernel, [(0, missing), *[(0, 0)] * (kernel.ndim - 1)])
    x = jnp.pad(x, [(0, 0), (0, missing * step), *[(0, 0)] * (x.ndim - 2)])  # read by taps that are zero
    height = (problem.result[1] - 1) * problem.spec.strides[0] + 1 + (rows - 1) * step

    def add(total: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        first, some = block
        part = lax.dynamic_slice_in_dim(x, first, height, axis=1)
        return total + shifted_sum(part, some, problem), None

    starts = jnp.arange(blocks) * (rows * step)
    some_rows = kernel.reshape(blocks, rows, *kernel.shape[1:])
    return lax.scan(add, jnp.zeros(problem.result, x.dtype), (starts, some_rows))[0]


lowerings.register("shifts")(Shifts())
