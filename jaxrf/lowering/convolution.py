"""Convolutions and their input gradients, each by the lowering that suits it.

The input gradient of a convolution is one too: of the cotangent, with the `exchanged` kernel and its taps in reverse
order; strides become holes.
"""

from __future__ import annotations

import jax

from jaxrf.lowering.choice import compute, prepare
from jaxrf.lowering.lowering import laid_out
from jaxrf.lowering.problem import ConvolutionSpec, Problem


def convolution_forward(x: jax.Array, kernel: jax.Array, spec: ConvolutionSpec) -> jax.Array:
    """The convolution of `x` (n, *spatial, in) with `kernel` (*spatial, in / groups, out): (n, *spatial, out).

    >>> import jax.numpy as jnp
    >>> spec = ConvolutionSpec((1,), ((1, 1),), (1,), (1,))
    >>> convolution_forward(jnp.arange(4.0).reshape(1, 4, 1), jnp.ones((3, 1, 1)), spec).ravel().tolist()
    [1.0, 3.0, 6.0, 5.0]
    """
    problem = Problem(x.shape, kernel.shape, spec, x.dtype.name)
    return compute(x, prepare(kernel, problem), problem)


def input_gradient(ct: jax.Array, kernel: jax.Array, spec: ConvolutionSpec, sizes: tuple[int, ...]) -> jax.Array:
    """Pull `ct` (n, *out spatial, out) back through the convolution with `kernel`, to (n, *sizes, in).

    >>> import jax.numpy as jnp
    >>> spec = ConvolutionSpec((2,), ((1, 1),), (1,), (1,))
    >>> input_gradient(jnp.ones((1, 2, 1)), jnp.arange(3.0).reshape(3, 1, 1), spec, (4,)).ravel().tolist()
    [1.0, 2.0, 1.0, 2.0]
    """
    problem = gradient_problem(ct.shape, kernel.shape, spec, sizes, ct.dtype.name)
    return compute(ct, prepare(exchanged(kernel, spec.groups), problem), problem)


def gradient_problem(
    ct: tuple[int, ...], kernel: tuple[int, ...], spec: ConvolutionSpec, sizes: tuple[int, ...], dtype: str
) -> Problem:
    """The convolution, by the `exchanged` kernel, that pulls a cotangent of shape `ct` back to `sizes` positions.

    Args:
        ct: (n, *out spatial, out).
        kernel: the shape (*spatial, in / groups, out) of the kernel before that.
        spec: of the convolution that is pulled back through.
        sizes: spatial positions of its input.
        dtype: of the cotangent.
    """
    *taps, inputs, outputs = kernel
    transposed = (*taps, outputs // spec.groups, spec.groups * inputs)
    return Problem(ct, transposed, spec.adjoint(tuple(taps), sizes, ct[1:-1]), dtype, reverse=True)


def exchanged(kernel: jax.Array, groups: int) -> jax.Array:
    """The kernel of the transposed convolution but for the order of its taps: inputs and outputs exchanged."""
    *spatial, per_group, outputs = kernel.shape
    d = len(spatial)
    kernel = kernel.reshape(*spatial, per_group, groups, outputs // groups)
    kernel = kernel.transpose(*range(d), d + 2, d + 1, d).reshape(*spatial, outputs // groups, groups * per_group)
    return laid_out(kernel)
