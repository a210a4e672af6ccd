"""The input gradient of a convolution, in one layout: batch first, features last, kernel (*spatial, in / groups, out)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
from jax import lax

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ConvolutionSpec:
    """The static side of a convolution `y = conv(x, kernel)` over `d` spatial axes."""

    strides: tuple[int, ...]
    padding: Pads
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    groups: int = 1
    precision: Any = None

    @property
    def numbers(self) -> lax.ConvDimensionNumbers:
        d = len(self.strides)
        batch_last = (0, d + 1, *range(1, d + 1))
        return lax.ConvDimensionNumbers(batch_last, (d + 1, d, *range(d)), batch_last)


def flipped(kernel: jax.Array, groups: int) -> jax.Array:
    """The kernel of the transposed convolution: reversed in space, inputs and outputs exchanged.

    The barrier keeps XLA from moving the reversal into the convolution, where a CPU takes 30 times as long.
    """
    *spatial, per_group, outputs = kernel.shape
    d = len(spatial)
    kernel = lax.rev(kernel, tuple(range(d)))
    kernel = kernel.reshape(*spatial, per_group, groups, outputs // groups)
    kernel = kernel.transpose(*range(d), d + 2, d + 1, d).reshape(*spatial, outputs // groups, groups * per_group)
    return lax.optimization_barrier(kernel)


def input_gradient(ct: jax.Array, kernel: jax.Array, spec: ConvolutionSpec, sizes: tuple[int, ...]) -> jax.Array:
    """Pull `ct` (n, *out spatial, out) back to (n, *sizes, in); `kernel` is already `flipped`."""
    padding = []
    for axis, size in enumerate(sizes):
        reach = (kernel.shape[axis] - 1) * spec.rhs_dilation[axis]
        dilated_in = (size - 1) * spec.lhs_dilation[axis] + 1
        dilated_out = (ct.shape[1 + axis] - 1) * spec.strides[axis] + 1
        before = reach - spec.padding[axis][0]
        padding.append((before, dilated_in - dilated_out + reach - before))
    return lax.conv_general_dilated(
        ct,
        kernel,
        window_strides=spec.lhs_dilation,
        padding=padding,
        lhs_dilation=spec.strides,
        rhs_dilation=spec.rhs_dilation,
        dimension_numbers=spec.numbers,
        feature_group_count=spec.groups,
        precision=spec.precision,
    )


def multiply_adds(out_spatial: tuple[int, ...], kernel_shape: tuple[int, ...], batch: int) -> int:
    """Multiply-adds of a convolution, padding counted as if it were data."""
    return batch * math.prod(out_spatial) * math.prod(kernel_shape)
