"""Cumulative sums: every position sees those before it, or behind it."""

from __future__ import annotations

import numpy as np
from jax import lax

from jaxrf.equations.levels import known
from jaxrf.geometry.maps import Scan, identity
from jaxrf.geometry.relations import Product
from jaxrf.primitives.operation import Kind
from jaxrf.primitives.rule import Rule, rule


@rule("cumsum")
class CumulativeSum(Rule):
    """y[o] = sum of x[i] for i <= o (i >= o where `reverse`). Example: 4 positions: result 2 sees 0, 1, 2.

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.cumsum.html
    """

    kind = Kind.SUM

    def relation(self, equation, operand):
        shape, axis, reverse = equation.result.shape, equation.params["axis"], equation.params["reverse"]
        axes = tuple((Scan(n, n, reverse) if a == axis else identity(n), a) for a, n in enumerate(shape))
        return Product(shape, shape, axes)

    def needs_whole(self, equation):
        return frozenset({equation.params["axis"]})

    def transpose(self, view, operand, ct):
        params = view.equation.params
        return lax.cumsum(ct, params["axis"] + 1, not params["reverse"])

    def known(self, equation, operands):
        (x,), axis = operands, equation.params["axis"]
        if x.support is None:
            return known(None, None, operands, blurred=x.leveled)
        full = [size if a == axis else n for a, (n, size) in enumerate(zip(x.support.shape, equation.result.shape))]
        support = np.broadcast_to(x.support, full)
        turn = (slice(None),) * axis + (slice(None, None, -1 if equation.params["reverse"] else 1),)
        return known(np.logical_or.accumulate(support[turn], axis)[turn], None, operands, blurred=x.leveled)
