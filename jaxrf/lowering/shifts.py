"""Depthwise convolutions, and those of one input feature, as sums of shifted images times numbers."""

from __future__ import annotations

import itertools
import math

import jax.numpy as jnp
from jax import lax

from jaxrf.lowering.lowering import Lowering, lowerings, padded

# Each tap is an operation of the program; beyond this many, compilation takes longer than any run.
MOST_TAPS = 256


class Shifts(Lowering):
    """y = sum_k w[k] x[s o + r k - p]: one multiply-add per tap, all of them in one loop over the result.

    XLA's own convolution spends most of its time outside of arithmetic where a group has one input feature.
    """

    def applies(self, problem):
        return problem.inputs == 1 and not problem.dilated and 0 < math.prod(problem.taps) <= MOST_TAPS

    def run(self, x, prepared, problem):
        spec, sizes = problem.spec, problem.result[1:-1]
        if problem.outputs > 1 and spec.groups > 1:
            x = jnp.repeat(x, problem.outputs, axis=-1)
        x = padded(x, problem)
        if not math.prod(problem.result):
            return jnp.zeros(problem.result, x.dtype)
        total = None
        for tap in itertools.product(*map(range, problem.taps)):
            starts = [k * r for k, r in zip(tap, spec.rhs_dilation)]
            stops = [a + (n - 1) * s + 1 for a, n, s in zip(starts, sizes, spec.strides)]
            part = lax.slice(x, (0, *starts, 0), (x.shape[0], *stops, x.shape[-1]), (1, *spec.strides, 1))
            part = part * prepared[tap][0]
            total = part if total is None else total + part
        return total


lowerings.register("shifts")(Shifts())
