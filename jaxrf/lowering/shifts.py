"""Depthwise convolutions, and those of one input feature, as sums of shifted images times numbers."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxrf.base.compiler import traced_once
from jaxrf.lowering.lowering import Lowering, lowerings, padded
from jaxrf.lowering.problem import Problem

# LLVM gives up on vectors for a loop that reads from more than about a hundred places (13x13 taps: 75 ms against 3.5).
# A larger kernel is a loop over blocks of its rows, of about LOOPED_TAPS taps each.
MOST_TAPS, LOOPED_TAPS = 96, 48
# What reads a result is fused with the sum, and where several do, the sum is computed anew for each: five times in a block
# of a ConvNeXt. A loop over two parts of the result keeps a sum of more taps apart.
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


@traced_once("problem")
def _run(x: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    taps, rows = math.prod(problem.taps), problem.result[1]
    if not math.prod(problem.result):
        return jnp.zeros(problem.result, x.dtype)
    if problem.outputs > 1 and problem.spec.groups > 1:
        x = jnp.repeat(x, problem.outputs, axis=-1)
    x = padded(x, problem)
    if taps > MOST_TAPS:
        return blocks_of_rows(x, kernel, problem)
    if taps > FUSED_TAPS and rows > 1:
        return in_two_parts(x, kernel, problem)
    return shifted_sum(x, kernel, problem, rows)


def shifted_sum(x: jax.Array, kernel: jax.Array, problem: Problem, rows: int) -> jax.Array:
    """The sum over all taps of `kernel`, for the padded `x`: so many rows of the result."""
    total, strides = None, problem.spec.strides
    for tap in itertools.product(*map(range, kernel.shape[:-2])):
        starts = [k * r for k, r in zip(tap, problem.spec.rhs_dilation)]
        stops = [a + (n - 1) * s + 1 for a, n, s in zip(starts, (rows, *problem.result[2:-1]), strides)]
        part = lax.slice(x, (0, *starts, 0), (x.shape[0], *stops, x.shape[-1]), (1, *strides, 1)) * kernel[tap][0]
        total = part if total is None else total + part
    assert total is not None
    return total


def in_two_parts(x: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """The same, half of the result's rows at a time; where their number is odd, the one in the middle twice."""
    count, step, dilation = problem.result[1], problem.spec.strides[0], problem.spec.rhs_dilation[0]
    rows = -(-count // 2)
    height = (rows - 1) * step + (problem.taps[0] - 1) * dilation + 1

    def write(total: jax.Array, first: jax.Array) -> tuple[jax.Array, None]:
        part = lax.dynamic_slice_in_dim(x, first * step, height, axis=1)
        some = shifted_sum(part, kernel, problem, rows)
        return lax.dynamic_update_slice_in_dim(total, some, first, axis=1), None

    return lax.scan(write, jnp.zeros(problem.result, x.dtype), jnp.array([0, count - rows]))[0]


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
        return total + shifted_sum(part, some, problem, problem.result[1]), None

    starts = jnp.arange(blocks) * (rows * step)
    some_rows = kernel.reshape(blocks, rows, *kernel.shape[1:])
    return lax.scan(add, jnp.zeros(problem.result, x.dtype), (starts, some_rows))[0]


lowerings.register("shifts")(Shifts())
