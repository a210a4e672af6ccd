"""Pooling: maxima that follow their winner, and sums over sliding windows."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxrf.base.platforms import traits
from jaxrf.equations.program import Equation
from jaxrf.geometry.maps import Window
from jaxrf.geometry.relations import Product
from jaxrf.lowering.laying import laid
from jaxrf.lowering.pooling import PoolingSpec, max_gradient, sum_gradient, winners
from jaxrf.primitives.operation import Kind
from jaxrf.primitives.rule import Rule, rule


def sliding(equation: Equation) -> list[Window]:
    """The window of each axis, as `lax.reduce_window` says it."""
    p, shape = equation.params, equation.operands[0].shape
    holes = p.get("base_dilation") or (1,) * len(shape)
    dilations = p.get("window_dilation") or (1,) * len(shape)
    return [
        Window(n, m, s, tuple(range(-lo, k * d - lo, d)), h)
        for n, m, k, s, d, h, (lo, _) in zip(
            shape,
            equation.result.shape,
            p["window_dimensions"],
            p["window_strides"],
            dilations,
            holes,
            p["padding"],
        )
    ]


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

    def _spec(self, equation: Equation) -> PoolingSpec:
        """Over the units too, which are the first axis of a cotangent."""
        p = equation.params
        dilation = p.get("window_dilation") or (1,) * len(p["window_dimensions"])
        return PoolingSpec((1, *p["window_dimensions"]), (1, *p["window_strides"]), (1, *dilation))

    def _padded(self, view) -> list[tuple[int, int]]:
        """How far the windows reach over the operand's window: none where it moves."""
        return [(0, 0) if span.moving else pad for span, pad in zip(view.out, view.equation.params["padding"])]

    def _needed(self, view) -> tuple[int, ...]:
        """Sizes of the padded operand."""
        return tuple(span.size + lo + hi for span, (lo, hi) in zip(view.into, self._padded(view)))


def _plain(view) -> bool:
    """Whether XLA's own way is taken: for whole arrays, where shifts of them are copies."""
    return traits().reshape_copies and not any(span.moving for span in (*view.out, *view.into))


def _without(x: jax.Array, pads: list[tuple[int, int]]) -> jax.Array:
    """`x` (unit, *sizes) without its padding, with zeros for what that had cut."""
    return laid(x, [(0, 0, 0), *((-lo, -hi, 0) for lo, hi in pads)])


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

    def transpose(self, view, operand, ct):
        eqn, pads = view.equation, self._padded(view)
        if max(w.holes for w in self.windows(eqn)) > 1 or _plain(view):
            return Rule.transpose(self, view, operand, ct)
        spec, padding = self._spec(eqn), eqn.params["padding"]
        greatest = eqn.params["select_prim"].name == "ge"

        def place(number: int, x: jax.Array) -> jax.Array:
            x = x if greatest else -x
            x = lax.pad(x, jnp.array(-math.inf, x.dtype), [(lo, hi, 0) for lo, hi in padding])
            return winners(x[None], spec)[number][0]

        places = tuple(
            view.made(f"winners along {axis}", 1, partial(place, number), view.out)
            for number, axis in enumerate(spec.axes)
        )
        pulled = max_gradient(ct, places, spec, (len(ct), *self._needed(view)))
        return _without(pulled, pads)


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

    def transpose(self, view, operand, ct):
        if max(w.holes for w in self.windows(view.equation)) > 1:
            return Rule.transpose(self, view, operand, ct)
        shape = (ct.shape[0], *self._needed(view))
        pulled = sum_gradient(ct, self._spec(view.equation), shape)
        return _without(pulled, self._padded(view))
