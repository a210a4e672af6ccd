"""Pooling: maxima that follow their winner, and sums over sliding windows."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from functools import partial

import jax

from jaxrf.equations.program import Equation
from jaxrf.geometry.maps import Window
from jaxrf.geometry.relations import Product
from jaxrf.lowering.pooling import PoolingProblem, PoolingSpec, pooling_way
from jaxrf.lowering.slices import winners
from jaxrf.primitives.operation import Kind
from jaxrf.primitives.rule import Rule, View, rule


def sliding(equation: Equation) -> list[Window]:
    """The window of each axis, as `lax.reduce_window` says it."""
    spec, sizes = PoolingSpec.of(equation.params), zip(equation.operands[0].shape, equation.result.shape)
    sides = zip(sizes, spec.window, spec.strides, spec.dilation, spec.holes, spec.padding)
    return [Window(n, m, s, tuple(range(-lo, k * d - lo, d)), h) for (n, m), k, s, d, h, (lo, _) in sides]


class Pooling(Rule):
    """Each position of the result sees a window of positions along every axis."""

    windowed = True

    def windows(self, equation: Equation) -> list[Window]:
        return sliding(equation)

    def relation(self, equation, operand):
        axes = tuple((w, axis) for axis, w in enumerate(self.windows(equation)))
        return Product(equation.operands[0].shape, equation.result.shape, axes)

    def needs_whole(self, equation):
        dilated = any(window.holes > 1 for window in self.windows(equation))
        return super().needs_whole(equation) if dilated else frozenset()

    def flops(self, equation):
        return math.prod(equation.result.shape) * math.prod(equation.params["window_dimensions"])

    def transpose(self, view, operand, ct):
        eqn, spans = view.equation, (*view.out, *view.into)
        whole = PoolingProblem(
            eqn.operands[0].shape, PoolingSpec.of(eqn.params), self.join(eqn), ct.dtype.name, back=True
        )
        reach = tuple((0, 0) if span.moving else pad for span, pad in zip(view.out, whole.spec.padding))
        part = replace(
            whole, image=(len(ct), *(span.size for span in view.into)),
            spec=replace(whole.spec, padding=reach).side_by_side(), whole=not any(span.moving for span in spans),
        )  # fmt: skip
        way = pooling_way(part)
        return Rule.transpose(self, view, operand, ct) if way is None else way.run(ct, self.winners(view, whole), part)

    @abstractmethod
    def join(self, equation: Equation) -> str:
        """How it joins what is in a window, as a `PoolingProblem` names it."""

    def winners(self, view: View, whole: PoolingProblem) -> tuple[jax.Array, ...]:
        """Find, on the windows of the result, the positions whose tangents alone are taken; nothing where all are."""
        return ()


@rule("select_and_gather_add")
class MaxPool(Pooling):
    """The derivative of max-pooling: the tangent at the first maximum of each window.

    y[o] = x[argmax of the window of o]
    Example: window 3, stride 2, padding (0, 1), 5 positions: result 1 may see 2, 3, 4; which one is a coefficient.
    Operand 0 is the tangent, operand 1 the values that are compared. In XLA: SelectAndScatter, transposed.
    """

    kind = Kind.CHOICE
    linear = (0,)

    def values(self, equation, operand, result=0):
        return self.relation(equation, operand)

    def reads(self, equation, operand, coefficient, out, into):
        return into

    def join(self, equation):
        return "max" if equation.params["select_prim"].name == "ge" else "min"

    def winners(self, view, whole):
        def along(number: int, x: jax.Array) -> jax.Array:
            return winners(x, whole)[number]

        axes = enumerate(whole.spec.axes)
        return tuple(view.made(f"winners along {axis}", 1, partial(along, number), view.out) for number, axis in axes)


@rule("select_and_scatter_add")
class MaxUnpool(Rule):
    """Each value goes to the maximum of its window: the gradient of a max-pooling that is part of the model.

    y[i] = sum of x[o] over the windows o of which i is the maximum
    Example: window 3, stride 2, no padding, 5 positions: result 2 may see 0 and 1; which ones is a coefficient.
    Operand 0 is the tangent, one value per window; operand 1 the values that are compared. In XLA: SelectAndScatter.
    """

    kind = Kind.SUM
    linear = (0,)

    def relation(self, equation, operand):
        p, shape, out = equation.params, equation.operands[0].shape, equation.result.shape
        axes = zip(shape, out, p["window_dimensions"], p["window_strides"], p["padding"])
        windows = [Window(n, m, 1, tuple(range(lo - k + 1, lo + 1)), s) for n, m, k, s, (lo, _) in axes]
        return Product(shape, out, tuple((w, axis) for axis, w in enumerate(windows)))


@rule("reduce_window_sum")
class SumPool(Pooling):
    """Sums over sliding windows, as in average pooling.

    y[o] = sum_k x[s o + k - p]
    Example: window 2, stride 2, 4 positions: result 1 sees 2, 3.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.reduce_window.html
    """

    kind = Kind.SUM

    def join(self, equation):
        return "sum"
