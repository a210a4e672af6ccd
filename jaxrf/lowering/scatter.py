"""A convolution as one matrix product for all taps, whose results are then laid over each other."""

from __future__ import annotations

import itertools
import math

import jax.numpy as jnp

from jaxrf.lowering.gemm import features
from jaxrf.lowering.laying import laid
from jaxrf.lowering.lowering import Lowering, lowerings

# Each tap is an operation of the program.
MOST_TAPS = 64


class Scatter(Lowering):
    """z[i, k] = x[i] w[k], then y[h i - r k + p] += z[i, k].

    It multiplies each position of the input once per tap, and no padding and no holes:
    where a window grows from 1 to 3 positions per axis, that is 9 times less than a sum over patches.
    It pays with the memory of z, which is as many times the result as there are taps.
    """

    def applies(self, problem):
        return problem.spec.groups == 1 and not problem.strided and 0 < math.prod(problem.taps) <= MOST_TAPS

    def prepare(self, kernel, problem):
        inputs, outputs = kernel.shape[-2:]
        return jnp.moveaxis(kernel.reshape(-1, inputs, outputs), 0, 1).reshape(inputs, -1)

    def run(self, x, prepared, problem):
        spec, sizes = problem.spec, problem.result[1:-1]
        if not math.prod(problem.result) or not math.prod(problem.image):
            return jnp.zeros(problem.result, x.dtype)
        z = features(x, prepared, spec.precision).reshape(*x.shape[:-1], -1, problem.kernel[-1])
        total, taps = None, list(itertools.product(*map(range, problem.taps)))
        for number, tap in enumerate(reversed(taps) if problem.reverse else taps):
            config = [(0, 0, 0)]
            for k, n, m, h, r, (p, _) in zip(
                tap, problem.spatial, sizes, spec.lhs_dilation, spec.rhs_dilation, spec.padding
            ):
                low = p - r * k
                config.append((low, m - low - ((n - 1) * h + 1), h - 1))
            part = laid(z[..., number, :], [*config, (0, 0, 0)])
            total = part if total is None else total + part
        return total


lowerings.register("scatter")(Scatter())
