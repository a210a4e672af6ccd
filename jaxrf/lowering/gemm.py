"""Convolutions of one tap as matrix products over features."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxrf.lowering.laying import laid
from jaxrf.lowering.lowering import Lowering, lowerings, padded


def features(x, matrix, precision):
    """The matrix product over the last axis of `x`."""
    return lax.dot_general(x, matrix, (((x.ndim - 1,), (0,)), ((), ())), precision=precision)


class Gemm(Lowering):
    """A 1x1 convolution: positions that no result reads are dropped first, padding and holes come after the product."""

    def applies(self, problem):
        return (
            problem.spec.groups == 1 and all(k == 1 for k in problem.taps) and not (problem.strided and problem.dilated)
        )

    def prepare(self, kernel, problem):
        return kernel.reshape(kernel.shape[-2:])

    def run(self, x, prepared, problem):
        spec, sizes = problem.spec, problem.result[1:-1]
        if not problem.strided:
            y = features(x, prepared, spec.precision)
            config = [(0, 0, 0), *((lo, hi, h - 1) for (lo, hi), h in zip(spec.padding, spec.lhs_dilation)), (0, 0, 0)]
            return laid(y, config)
        if 0 in sizes:
            return jnp.zeros(problem.result, x.dtype)
        x = padded(x, problem)
        stops = [(n - 1) * s + 1 for n, s in zip(sizes, spec.strides)]
        x = lax.slice(x, (0,) * x.ndim, (x.shape[0], *stops, x.shape[-1]), (1, *spec.strides, 1))
        return features(x, prepared, spec.precision)


lowerings.register("gemm")(Gemm())
