"""Products of a tangent with a coefficient matrix: dense layers, attention, resizing by a known matrix."""

from __future__ import annotations

import math
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from jaxrf.equations.einsum import letters
from jaxrf.equations.levels import Known, known
from jaxrf.equations.program import Equation
from jaxrf.geometry.masked_sum import MaskedSum
from jaxrf.geometry.relations import Relation
from jaxrf.geometry.supports import compact
from jaxrf.primitives.rule import MASKED, Contraction, rule


@rule("dot_general")
class Dot(Contraction):
    """Contraction over some axes, batched over others.

    y[b, i, j] = sum_k x[b, i, k] c[b, k, j]    for either operand as the tangent
    Every result sees the whole contracted axes, but where the coefficient is known to be zero: in matrices that resize,
    and in attention weights behind a mask. These zeros may differ along the batch.
    Example: (2, 3)·(3, 5): element (1, 4) depends on (1, 0..2), and not on (1, 1) if c[1, 4] is zero.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.dot_general.html
    """

    hull_where = "its coefficient holds zeros of masked logits that are not followed, or zeros of no simple form"
    sums_parts = True
    indices = (0, 1)  # the matrix of a resize, if it is known

    def relation(self, equation, operand):
        return self._relation(equation, operand)[0]

    def loose(self, equation, operand):
        if equation.masked(1 - operand):
            return MASKED
        return "" if self._relation(equation, operand)[1] else "the zeros of its coefficient are of no simple form"

    def _relation(self, equation: Equation, operand: int) -> tuple[Relation, bool]:
        """The relation, and whether it follows all zeros of the coefficient."""
        mine, other, result = self.letters(equation, operand)
        driven = tuple(result.find(letter) for letter in mine)
        plain = MaskedSum(equation.operands[operand].shape, equation.result.shape, driven)
        support = equation.support(1 - operand)
        if support is None or support.all():
            return plain.whole, True
        everything = result + "".join(letter for letter in mine if letter not in result)
        support = compact(support).transpose(sorted(range(len(other)), key=lambda a: everything.index(other[a])))
        support = np.expand_dims(support, [a for a, letter in enumerate(everything) if letter not in other])
        relation = replace(plain, support=support).relation
        return (plain.whole, False) if relation is None else (relation, True)

    def letters(self, equation: Equation, operand: int) -> tuple[str, str, str]:
        """Axis letters of an operand, of the other one and of the result, as einsum writes them."""
        ranks = (len(v.shape) for v in equation.operands)
        left, right, result = letters(equation.params["dimension_numbers"], *ranks)
        return (right, left, result) if operand else (left, right, result)

    def summed(self, equation, coefficient):
        return tuple(equation.params["dimension_numbers"][0][coefficient])

    def places(self, equation, coefficient):
        return tuple(equation.params["dimension_numbers"][1][coefficient])

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        eqn = view.equation
        mine, other, result = self.letters(eqn, operand)
        matrix = view.read(1 - operand, self.reads(eqn, operand, 1 - operand, view.out, view.into), fill=0.0)
        precision = eqn.params["precision"]
        if matrix.shape[0] == 1:
            pulled = jnp.einsum(f"Z{result},{other}->Z{mine}", ct, matrix[0], precision=precision)
        else:
            pulled = jnp.einsum(f"Z{result},Z{other}->Z{mine}", ct, matrix, precision=precision)
        return pulled.astype(eqn.operands[operand].dtype)

    def reads(self, equation, operand, coefficient, out, into):
        mine, other, result = self.letters(equation, operand)
        return tuple(out[result.index(x)] if x in result else into[mine.index(x)] for x in other)

    def known(self, equation, operands):
        """Zero where all products of elements are."""
        left, right, result = self.letters(equation, 0)
        factors = [
            np.ones([1] * len(v.shape), np.float32) if x.support is None else x.support.astype(np.float32)
            for v, x in zip(equation.operands, operands)
        ]
        support = np.einsum(f"{left},{right}->{result}", *factors, optimize=True) > 0
        found = known(support, None, operands)
        return Known(found.support, None, found.masked, blurred=any(x.leveled for x in operands))

    def flops(self, equation):
        left, _, result = self.letters(equation, 0)
        contracted = math.prod(n for n, x in zip(equation.operands[0].shape, left) if x not in result)
        return 2 * math.prod(equation.result.shape) * contracted
