"""Products of a tangent with a coefficient matrix: dense layers, attention, resizing by a known matrix."""

from __future__ import annotations

import math
import string

import jax.numpy as jnp
import numpy as np

from jaxrf.geometry.maps import AxisMap, Pattern, identity, whole
from jaxrf.geometry.relations import Product
from jaxrf.primitives.rule import MASKED, Contraction, Span, rule
from jaxrf.tangent.program import Equation


@rule("dot_general")
class Dot(Contraction):
    """Contraction over some axes, batched over others.

    y[b, i, j] = sum_k x[b, i, k] c[b, k, j]    for either operand as the tangent
    Every result sees the whole contracted axes; where the coefficient is a known matrix, the places where it is not zero.
    Example: (2, 3)·(3, 5): element (1, 4) depends on (1, 0..2).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.dot_general.html
    """

    hull_where = "its coefficient is a softmax over masked logits, or has zeros and is no matrix"

    def relation(self, equation, operand):
        mine, _, result = letters = self._letters(equation, operand)
        shape = equation.operands[operand].shape
        axes: list[tuple[AxisMap, int | None]] = []
        for n, letter in zip(shape, mine):
            axes.append((identity(n), result.index(letter)) if letter in result else (whole(n), None))
        matrix = self._matrix(equation, operand, letters)
        if matrix is not None:
            support, contracted, free = matrix
            a = mine.index(contracted)
            axes[a] = (Pattern(shape[a], support.shape[0], support), result.index(free))
        return Product(shape, equation.result.shape, tuple(axes))

    def loose(self, equation, operand):
        if equation.masked(1 - operand):
            return MASKED
        support = equation.support(1 - operand)
        if support is None or support.all() or self._matrix(equation, operand, self._letters(equation, operand)):
            return ""
        return "the zeros of its coefficient are not followed, because it is no matrix"

    def _matrix(
        self, equation: Equation, operand: int, letters: tuple[str, str, str]
    ) -> tuple[np.ndarray, str, str] | None:
        """A coefficient that is a matrix with zeros: its support (free, contracted) and the letters of both axes."""
        mine, other, result = letters
        contracted = [letter for letter in mine if letter not in result]
        free = [letter for letter in other if letter not in mine]
        if len(contracted) != 1 or len(other) != 2 or len(free) != 1:
            return None
        support = equation.support(1 - operand)
        if support is None or support.all():
            return None
        return (support if other[0] == free[0] else support.T), contracted[0], free[0]

    def _letters(self, equation: Equation, operand: int) -> tuple[str, str, str]:
        """Axis letters of an operand, of the other one and of the result, as einsum writes them."""
        left, right, result = self._einsum(equation)
        return (right, left, result) if operand else (left, right, result)

    def _einsum(self, equation: Equation) -> tuple[str, str, str]:
        """Axis letters of both operands and of the result, as einsum writes them."""
        (left_c, right_c), (left_b, right_b) = equation.params["dimension_numbers"]
        pool = iter(string.ascii_lowercase)
        left = [next(pool) for _ in equation.operands[0].shape]
        right = [next(pool) for _ in equation.operands[1].shape]
        for a, b in (*zip(left_c, right_c), *zip(left_b, right_b)):
            right[b] = left[a]
        batch = [left[a] for a in left_b]
        free = [x for a, x in enumerate(left) if a not in (*left_c, *left_b)]
        free += [x for b, x in enumerate(right) if b not in (*right_c, *right_b)]
        return "".join(left), "".join(right), "".join(batch + free)

    def summed(self, equation, coefficient):
        return tuple(equation.params["dimension_numbers"][0][coefficient])

    def places(self, equation, coefficient):
        return tuple(equation.params["dimension_numbers"][1][coefficient])

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        eqn = view.equation
        mine, other, result = self._letters(eqn, operand)
        spans: list[Span] = []
        for letter in other:
            spans.append(view.out[result.index(letter)] if letter in result else view.into[mine.index(letter)])
        matrix = view.read(1 - operand, tuple(spans), fill=0.0)
        precision = eqn.params["precision"]
        if matrix.shape[0] == 1:
            pulled = jnp.einsum(f"Z{result},{other}->Z{mine}", ct, matrix[0], precision=precision)
        else:
            pulled = jnp.einsum(f"Z{result},Z{other}->Z{mine}", ct, matrix, precision=precision)
        return pulled.astype(eqn.operands[operand].dtype)

    def flops(self, equation):
        left, _, result = self._einsum(equation)
        contracted = math.prod(n for n, x in zip(equation.operands[0].shape, left) if x not in result)
        return 2 * math.prod(equation.result.shape) * contracted
