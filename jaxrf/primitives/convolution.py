"""Convolution in every form that XLA has: strides, dilations, groups, any layout, any padding."""

from __future__ import annotations

import math

import jax
import numpy as np

from jaxrf.geometry.maps import AxisMap, Blocks, Window, identity, whole
from jaxrf.geometry.relations import Product
from jaxrf.lowering.convolution import ConvolutionSpec, flipped, input_gradient
from jaxrf.primitives.rule import Rule, linear_transpose, rule
from jaxrf.tangent.program import Equation


@rule("conv_general_dilated")
class Convolution(Rule):
    """Each position of the result sees a window of positions, and all input features of its group.

    y[o] = sum_k w[k] x[(s o + d k - p) / h]    with stride s, kernel dilation d, padding p, input dilation h
    Example (5 positions, kernel 3, stride 2, padding 1): result 0 sees 0, 1; 1 sees 1, 2, 3; 2 sees 3, 4.
    Operand 0 is the image, operand 1 the kernel; a kernel that depends on the input is pulled back on whole arrays.
    Spatial taps at which a known kernel is zero are left out.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.conv_general_dilated.html
    """

    def relation(self, equation, operand):
        shape, out = equation.operands[operand].shape, equation.result.shape
        numbers = equation.params["dimension_numbers"]
        axes: dict[int, tuple[AxisMap, int | None]] = {}
        if operand == 1:  # the kernel: its output features are those of the result
            feature = numbers.rhs_spec[0]
            axes = {a: (whole(n), None) for a, n in enumerate(shape)}
            axes[feature] = (identity(shape[feature]), numbers.out_spec[1])
            return Product(shape, out, tuple(axes[a] for a in range(len(shape))))
        (batch, feature, *spatial), out_spec = numbers.lhs_spec, numbers.out_spec
        groups, batch_groups = equation.params["feature_group_count"], equation.params["batch_group_count"]
        axes[batch] = (identity(shape[batch]), out_spec[0]) if batch_groups == 1 else (whole(shape[batch]), None)
        if groups == 1:
            axes[feature] = (whole(shape[feature]), None)
        else:
            n, m = shape[feature], out[out_spec[1]]
            axes[feature] = (Blocks(n, m, n // groups, m // groups), out_spec[1])
        for window, a, o in zip(self.windows(equation), spatial, out_spec[2:]):
            axes[a] = (window, o)
        return Product(shape, out, tuple(axes[a] for a in range(len(shape))))

    def windows(self, equation: Equation) -> list[Window]:
        """The sliding window of each spatial axis."""
        params, numbers = equation.params, equation.params["dimension_numbers"]
        kernel = equation.operands[1].shape
        known = equation.known(1)
        result = []
        for i, (a, o) in enumerate(zip(numbers.lhs_spec[2:], numbers.out_spec[2:])):
            axis = numbers.rhs_spec[2 + i]
            taps = np.arange(kernel[axis])
            if known is not None:
                taps = taps[(known != 0).any(axis=tuple(b for b in range(known.ndim) if b != axis))]
            offsets = taps * params["rhs_dilation"][i] - params["padding"][i][0]
            sizes = equation.operands[0].shape[a], equation.result.shape[o]
            stride, holes = params["window_strides"][i], params["lhs_dilation"][i]
            result.append(Window(*sizes, stride, tuple(map(int, offsets)), holes))
        return result

    def needs_whole(self, equation):
        everything = frozenset(range(len(equation.result.shape)))
        if equation.tangents != [0] or equation.params["batch_group_count"] > 1:
            return everything
        return frozenset({equation.params["dimension_numbers"].out_spec[1]})

    def transpose(self, view, operand, ct):
        eqn, numbers = view.equation, view.equation.params["dimension_numbers"]
        if operand == 1 or eqn.params["batch_group_count"] > 1:
            return linear_transpose(view, operand, ct)
        d, groups = len(numbers.lhs_spec) - 2, eqn.params["feature_group_count"]

        def canonical(kernel: jax.Array) -> jax.Array:
            out, per_group, *spatial = numbers.rhs_spec
            return flipped(kernel.transpose(*spatial, per_group, out), groups)

        kernel = view.once("flipped", 1, canonical)
        out, into = numbers.out_spec, numbers.lhs_spec
        order = [0, out[0] + 1, *(a + 1 for a in out[2:]), out[1] + 1]
        ct = ct.transpose(order)
        units, batch = ct.shape[:2]
        sizes = tuple(view.into[a].size for a in into[2:])
        spec = ConvolutionSpec(
            tuple(eqn.params["window_strides"]), self._padding(view), tuple(eqn.params["lhs_dilation"]),
            tuple(eqn.params["rhs_dilation"]), groups, eqn.params["precision"],
        )  # fmt: skip
        pulled = input_gradient(ct.reshape(units * batch, *ct.shape[2:]), kernel, spec, sizes)
        pulled = pulled.reshape(units, batch, *pulled.shape[1:])
        back = [0] * (d + 3)
        for place, axis in enumerate([0, into[0] + 1, *(a + 1 for a in into[2:]), into[1] + 1]):
            back[axis] = place
        return pulled.transpose(back).astype(eqn.operands[0].dtype)

    def _padding(self, view) -> tuple[tuple[int, int], ...]:
        """On a moving window there is none: the window starts where the first tap reads."""
        params, numbers = view.equation.params, view.equation.params["dimension_numbers"]
        return tuple(
            (0, 0) if view.out[o].moving else tuple(pad) for o, pad in zip(numbers.out_spec[2:], params["padding"])
        )

    def flops(self, equation):
        """Multiply-adds as two, and one addition per element for the bias or the shift that follows a convolution."""
        numbers = equation.params["dimension_numbers"]
        kernel = math.prod(n for a, n in enumerate(equation.operands[1].shape) if a != numbers.rhs_spec[0])
        return math.prod(equation.result.shape) * (2 * kernel + 1)
