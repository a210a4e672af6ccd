"""Convolution in every form that XLA has: strides, dilations, groups, any layout, any padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.equations.levels import Known, known
from jaxrf.equations.program import Equation
from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.maps import Blocks, Pattern, Window, identity, whole
from jaxrf.geometry.relations import Product, Union
from jaxrf.geometry.supports import products
from jaxrf.lowering.choice import compute, prepare
from jaxrf.lowering.convolution import exchanged, gradient_problem
from jaxrf.lowering.problem import ConvolutionSpec
from jaxrf.primitives.rule import MASKED, Contraction, linear_transpose, rule


@dataclass(frozen=True, eq=False)
class Part:
    """A product of taps (one array of them per spatial axis) and of pairs of features (None: all of a group)."""

    features: AxisMap | None
    taps: Sequence[np.ndarray]


@rule("conv_general_dilated")
class Convolution(Contraction):
    """Each position of the result sees a window of positions, and all input features of its group.

    y[o] = sum_k w[k] x[(s o + d k - p) / h]    with stride s, kernel dilation d, padding p, input dilation h
    Example (5 positions, kernel 3, stride 2, padding 1): result 0 sees 0, 1; 1 sees 1, 2, 3; 2 sees 3, 4.
    Operand 0 is the image, operand 1 the kernel; a kernel that depends on the input is pulled back on whole arrays.
    Taps at which a known or a masked kernel is zero are left out; they need not be a product of axes.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.conv_general_dilated.html
    """

    windowed = True
    hull_where = "images are in groups, or its kernel is a softmax over masked logits"

    def relation(self, equation, operand):
        if operand == 1:
            return self._of_kernel(equation)
        hull = self._of_image(equation, self.windows(equation))
        parts = self._parts(equation)
        if parts is None:
            return hull
        return Union(tuple(self._of_image(equation, self._windows(equation, p.taps), p.features) for p in parts), hull)

    def loose(self, equation, operand):
        if equation.masked(1 - operand):
            return MASKED
        if operand == 0 and equation.params["batch_group_count"] > 1:
            return "groups of its batch are not told apart"
        return ""

    def known(self, equation, operands):
        """Zero where all positions are that the window of a position sees; features and images are taken together."""
        image, kernel = operands
        if image.support is None or image.value is not None or 0 in equation.operands[0].shape:
            return super().known(equation, operands)
        numbers = equation.params["dimension_numbers"]
        (batch, feature, *spatial), taps = numbers.lhs_spec, self._taps(equation, kernel.support)
        support = image.support.any(axis=(batch, feature), keepdims=True)
        for a, window in zip(spatial, self._windows(equation, taps)):
            index, valid = window.taps(np.arange(window.out_size))
            valid = valid & (index >= 0) & (index < window.in_size)
            along = np.moveaxis(support, a, 0)
            along = np.broadcast_to(along, (window.in_size, *along.shape[1:]))
            seen = along[np.where(valid, index, 0)] & valid.reshape(*valid.shape, *[1] * (along.ndim - 1))
            support = np.moveaxis(seen.any(axis=0), 0, a)
        laid = np.empty(support.ndim, np.int64)
        laid[list(numbers.out_spec)] = numbers.lhs_spec
        found = known(support.transpose(laid), None, operands, blurred=any(x.leveled for x in operands))
        return Known(found.support, None, False, found.blurred, found.lost or any(x.masked for x in operands))

    def slides(self, equation, operand):
        return frozenset(equation.params["dimension_numbers"].lhs_spec[2:]) if operand == 0 else frozenset()

    def _of_image(self, equation: Equation, windows: Sequence[Window], features: AxisMap | None = None) -> Product:
        shape, out = equation.operands[0].shape, equation.result.shape
        numbers = equation.params["dimension_numbers"]
        (batch, feature, *spatial), out_spec = numbers.lhs_spec, numbers.out_spec
        groups, batch_groups = equation.params["feature_group_count"], equation.params["batch_group_count"]
        axes: dict[int, tuple[AxisMap, int | None]] = {}
        axes[batch] = (identity(shape[batch]), out_spec[0]) if batch_groups == 1 else (whole(shape[batch]), None)
        if features is not None:
            axes[feature] = (features, out_spec[1])
        elif groups == 1:
            axes[feature] = (whole(shape[feature]), None)
        else:
            n, m = shape[feature], out[out_spec[1]]
            axes[feature] = (Blocks(n, m, n // groups, m // groups), out_spec[1])
        for window, a, o in zip(windows, spatial, out_spec[2:]):
            axes[a] = (window.reduced, o)
        return Product(shape, out, tuple(axes[a] for a in range(len(shape))))

    def _of_kernel(self, equation: Equation) -> Product:
        """Each position of the result sees the taps that do not fall into the padding, all inputs and its own output."""
        shape, numbers = equation.operands[1].shape, equation.params["dimension_numbers"]
        feature, inputs, *spatial = numbers.rhs_spec
        axes: dict[int, tuple[AxisMap, int | None]] = {
            feature: (identity(shape[feature]), numbers.out_spec[1]),
            inputs: (whole(shape[inputs]), None),
        }
        full = [np.arange(shape[a]) for a in spatial]
        for window, a, o in zip(self._windows(equation, full), spatial, numbers.out_spec[2:]):
            index, valid = window.taps(np.arange(window.out_size))
            inside = (valid & (index >= 0) & (index < window.in_size)).T
            axes[a] = (whole(shape[a]), None) if inside.all() else (Pattern(shape[a], window.out_size, inside), o)
        return Product(shape, equation.result.shape, tuple(axes[a] for a in range(len(shape))))

    def windows(self, equation: Equation) -> list[Window]:
        """The sliding window of each spatial axis, over all taps that are not zero."""
        return self._windows(equation, self._kept(equation))

    def _windows(self, equation: Equation, taps: Sequence[np.ndarray]) -> list[Window]:
        params, numbers = equation.params, equation.params["dimension_numbers"]
        result = []
        for i, (a, o) in enumerate(zip(numbers.lhs_spec[2:], numbers.out_spec[2:])):
            offsets = taps[i] * params["rhs_dilation"][i] - params["padding"][i][0]
            sizes = equation.operands[0].shape[a], equation.result.shape[o]
            stride, holes = params["window_strides"][i], params["lhs_dilation"][i]
            result.append(Window(*sizes, stride, tuple(map(int, offsets)), holes))
        return result

    def _kept(self, equation: Equation) -> list[np.ndarray]:
        """Along each spatial axis the taps that are not all zero; all of them where the whole kernel is."""
        return self._taps(equation, equation.support(1))

    def _taps(self, equation: Equation, support: np.ndarray | None) -> list[np.ndarray]:
        """`_kept` for a kernel that can be other than zero in its `support`, which may have axes of size 1; None: anywhere."""
        shape, spec = equation.operands[1].shape, equation.params["dimension_numbers"].rhs_spec
        if support is None or not support.any():
            return [np.arange(shape[a]) for a in spec[2:]]
        kernel = np.broadcast_to(support, shape).transpose(spec)
        others = [tuple(b for b in range(kernel.ndim) if b != axis) for axis in range(2, kernel.ndim)]
        return [np.flatnonzero(kernel.any(axis=rest)) for rest in others]

    def _kernel(self, equation: Equation) -> np.ndarray | None:
        """Where the kernel (out, in, *spatial) can be other than zero; None if everywhere."""
        support = equation.support(1)
        if support is None or support.all():
            return None
        return support.transpose(equation.params["dimension_numbers"].rhs_spec)

    def _parts(self, equation: Equation) -> list[Part] | None:
        """The kernel's support as a union of products of pairs of features and taps; None if it has no zeros."""
        kernel = self._kernel(equation)
        if kernel is None or equation.params["batch_group_count"] > 1:
            return None
        taps = kernel.shape[2:]
        pairs = np.moveaxis(kernel.reshape(*kernel.shape[:2], -1), -1, 0)
        alike: dict[bytes, np.ndarray] = {}
        for tap, matrix in enumerate(pairs):
            alike.setdefault(np.packbits(matrix).tobytes(), np.zeros(len(pairs), bool))[tap] = True
        parts = []
        for where in alike.values():
            features = self._features(equation, pairs[where.argmax()])
            parts += [Part(features, part) for part in products(where.reshape(taps))]
        return parts

    def _features(self, equation: Equation, pairs: np.ndarray) -> AxisMap | None:
        """The map of features by `pairs` (out, in of its group); None where it is all to all."""
        if pairs.all():
            return None
        numbers, groups = equation.params["dimension_numbers"], equation.params["feature_group_count"]
        n, (m, inside) = equation.operands[0].shape[numbers.lhs_spec[1]], pairs.shape
        support = np.zeros((m, n), bool)
        for group in range(groups):
            rows = slice(group * (m // groups), (group + 1) * (m // groups))
            support[rows, group * inside : (group + 1) * inside] = pairs[rows]
        return Pattern(n, m, support)

    def summed(self, equation, coefficient):
        return tuple(equation.params["dimension_numbers"].rhs_spec[1:])

    def places(self, equation, coefficient):
        return tuple(equation.params["dimension_numbers"].rhs_spec[2:])

    def needs_whole(self, equation):
        everything = frozenset(range(len(equation.result.shape)))
        if equation.tangents != [0] or equation.params["batch_group_count"] > 1:
            return everything
        return frozenset({equation.params["dimension_numbers"].out_spec[1]})

    def transpose(self, view, operand, ct):
        eqn, numbers = view.equation, view.equation.params["dimension_numbers"]
        if operand == 1 or eqn.params["batch_group_count"] > 1:
            return linear_transpose(view, operand, ct)
        padding = self._padding(view)
        if padding is None:
            return jnp.zeros((len(ct), *(span.size for span in view.into)), eqn.operands[0].dtype)
        d, groups = len(numbers.lhs_spec) - 2, eqn.params["feature_group_count"]

        out, into, weights = numbers.out_spec, numbers.lhs_spec, numbers.rhs_spec
        order = [0, out[0] + 1, *(a + 1 for a in out[2:]), out[1] + 1]
        ct = ct.transpose(order)
        units, batch = ct.shape[:2]
        ct = ct.reshape(units * batch, *ct.shape[2:])
        sizes = tuple(view.into[a].size for a in into[2:])
        spec = ConvolutionSpec(
            tuple(eqn.params["window_strides"]), padding, tuple(eqn.params["lhs_dilation"]),
            tuple(eqn.params["rhs_dilation"]), groups, eqn.params["precision"],
        )  # fmt: skip
        layout = (*weights[2:], weights[1], weights[0])
        shape = tuple(eqn.operands[1].shape[a] for a in layout)
        problem = gradient_problem(ct.shape, shape, spec, sizes, ct.dtype.name)

        def prepared(kernel: jax.Array) -> Any:
            return prepare(exchanged(kernel.transpose(layout), groups), problem)

        pulled = compute(ct, view.once(f"kernel of {problem.key}", 1, prepared), problem)
        pulled = pulled.reshape(units, batch, *pulled.shape[1:])
        back = [0] * (d + 3)
        for place, axis in enumerate([0, into[0] + 1, *(a + 1 for a in into[2:]), into[1] + 1]):
            back[axis] = place
        return pulled.transpose(back).astype(eqn.operands[0].dtype)

    def _padding(self, view) -> tuple[tuple[int, int], ...] | None:
        """A moving window starts where the first tap that meets a position reads; taps before it read in front of it.

        None where along some axis no tap meets any position.
        """
        params, numbers = view.equation.params, view.equation.params["dimension_numbers"]
        kept = self._kept(view.equation)
        met = [taps[window.met] for taps, window in zip(kept, self._windows(view.equation, kept))]
        if not all(map(len, met)):
            return None
        return tuple(
            (int(taps[0]) * d, 0) if view.out[o].moving else tuple(pad)
            for o, pad, taps, d in zip(numbers.out_spec[2:], params["padding"], met, params["rhs_dilation"])
        )

    def flops(self, equation):
        """Multiply-adds as two, and one addition per element for the bias or the shift that follows a convolution."""
        numbers = equation.params["dimension_numbers"]
        kernel = math.prod(n for a, n in enumerate(equation.operands[1].shape) if a != numbers.rhs_spec[0])
        return math.prod(equation.result.shape) * (2 * kernel + 1)
