"""Elementwise linear operations: every element of the result depends on its own position of the operand.

Operands of size 1 along an axis, or of rank 0, are broadcast.

    y = A x,  y[i] = c[i] * x[i]    pulls back as    x'[i] = c[i] * y'[i], summed over broadcast axes

Worked example: (2, 3) = mul(t (1, 3), c (2, 3)): element (1, 2) depends on t (0, 2) only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters.tap import TAP
from jaxrf.equations.levels import DEEP, FLAG, Known, known, summed, zero_at_zero
from jaxrf.equations.program import Equation
from jaxrf.geometry.maps import Fixed, identity
from jaxrf.geometry.relations import Masked, Product, Relation
from jaxrf.geometry.supports import compact
from jaxrf.primitives.operation import Kind
from jaxrf.primitives.rule import MASKED, Rule, Span, View, enter, rule


def aligned(in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> Product:
    """Same position, with size-1 and missing axes broadcast."""
    if not in_shape:
        return Product((), out_shape, ())
    axes = tuple(
        (identity(n), axis) if n == m else (Fixed(n, m, 0, n), None)
        for axis, (n, m) in enumerate(zip(in_shape, out_shape))
    )
    return Product(in_shape, out_shape, axes)


def sum_to(ct: jax.Array, shape: tuple[int, ...], result_shape: tuple[int, ...]) -> jax.Array:
    """Sum a cotangent (n, ...) over the axes along which an operand of `shape` was broadcast."""
    if not shape and result_shape:
        return ct.sum(axis=tuple(range(1, ct.ndim)))
    axes = tuple(a + 1 for a, (n, m) in enumerate(zip(shape, result_shape)) if n == 1 and m != 1)
    return ct.sum(axis=axes, keepdims=True) if axes else ct


class Elementwise(Rule):
    """Shared by all members: same window above and below, coefficients read on it."""

    def relation(self, equation, operand) -> Relation:
        plain = aligned(equation.operands[operand].shape, equation.result.shape)
        support = self.support(equation, operand)
        return plain if support is None or support.all() else Masked(plain, compact(support))

    def values(self, equation, operand, result=0) -> Relation:
        """Those at the same place, whatever is known of them: a forward pass has no use for zeros of coefficients."""
        return aligned(equation.operands[operand].shape, equation.result.shape)

    def reads(self, equation, operand, coefficient, out, into):
        shape = equation.operands[coefficient].shape
        return tuple(span if n == span.extent else Span(n, n) for n, span in zip(shape, out)) if shape else None

    def support(self, equation: Equation, operand: int) -> np.ndarray | None:
        """Where a known coefficient lets the tangent through; None if everywhere, or unknown."""
        return None

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        eqn = view.equation
        pulled = sum_to(self.pull(view, operand, ct), eqn.operands[operand].shape, eqn.result.shape)
        dtype = eqn.operands[operand].dtype
        both_parts = jnp.iscomplexobj(pulled) and not jnp.issubdtype(dtype, jnp.complexfloating)
        return (pulled.real if both_parts else pulled).astype(dtype)

    def pull(self, view: View, operand: int, ct: jax.Array) -> jax.Array:
        """The cotangent times the coefficient, not yet summed over broadcast axes."""
        raise NotImplementedError


class _Simple(Elementwise):
    """Each element from the one at its own position, and no coefficient."""

    def __init__(
        self,
        kind: Kind,
        pull: Callable[[jax.Array, int], jax.Array],
        known: Callable[[Sequence[Known]], Known | None] = lambda operands: None,
    ):
        self.kind, self._pull, self._known = kind, pull, known
        self.tells_levels = kind is Kind.ADD

    def pull(self, view, operand, ct):
        return self._pull(ct, operand)

    def known(self, equation, operands):
        return self._known(operands)


def _added(operands: Sequence[Known]) -> Known:
    return summed(operands, operands[0].at + operands[1].at)


for _name in ("copy", "name", TAP, "reduce_precision", "convert_element_type", "sharding_constraint"):
    enter(_Simple(Kind.PASS, lambda ct, _: ct, lambda operands: operands[0]), _name)
for _name in ("add", "add_any"):
    enter(_Simple(Kind.ADD, lambda ct, _: ct, _added), _name)
enter(
    _Simple(Kind.ADD, lambda ct, operand: -ct if operand else ct, lambda both: summed(both, both[0].at - both[1].at)),
    "sub",
)
enter(_Simple(Kind.SCALE, lambda ct, _: -ct, lambda one: known(one[0].support, -one[0].at, one)), "neg")
enter(
    _Simple(Kind.PART, lambda ct, _: ct.astype(jnp.result_type(ct, jnp.complex64)), lambda operands: operands[0]),
    "real",
)
enter(_Simple(Kind.PART, lambda ct, _: -1j * ct, zero_at_zero), "imag")
enter(_Simple(Kind.PART, lambda ct, operand: ct.imag * -1 if operand else ct.real), "complex")
enter(_Simple(Kind.PART, lambda ct, _: ct.conj(), zero_at_zero), "conj")


class Scaling(Elementwise):
    """Each element times or over a coefficient, whose elements are taken to be within 1/16 and 16 of each other."""

    kind = Kind.SCALE

    def drift(self, equation):
        return 4.0 + super().drift(equation)


@rule("mul")
class Multiply(Scaling):
    """A product with one tangent; known zeros of the coefficient are seen, those of attention weights behind a mask too.

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.mul.html
    """

    tells_levels = True
    hull_where = "its coefficient holds zeros of masked logits that are not followed"

    def support(self, equation, operand):
        return equation.support(1 - operand)

    def loose(self, equation, operand):
        return MASKED if equation.masked(1 - operand) else ""

    def powers(self, equation, operand):
        return {1 - operand: 1}

    def pull(self, view, operand, ct):
        return ct * view.read(1 - operand)

    def known(self, equation, operands):
        """Zero where a factor is. A level times a constant is one again; times anything else it is not followed."""
        a, b = operands if operands[1].value is not None else operands[::-1]
        support = np.logical_and(a.somewhere, b.somewhere)
        if b.value is None or b.level is None:
            return known(support, None, operands, blurred=a.leveled or b.leveled)
        if a.level is None:  # flags of ones and zeros times such a number are a mask
            return known(support, None, operands, blurred=bool((b.level <= FLAG).any()))
        return known(support, a.level * b.level, operands)


@rule("div")
class Divide(Scaling):
    """A tangent over a coefficient.

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.div.html
    """

    linear = (0,)

    def powers(self, equation, operand):
        return {1: -1}

    def pull(self, view, operand, ct):
        return ct / view.read(1)

    def known(self, equation, operands):
        a, b = operands
        if a.level is None or b.value is None or b.level is None or not b.level.all():
            return known(a.support, None, operands, blurred=a.leveled or b.leveled)
        return known(a.support, a.level / b.level, operands)


@rule("select_n")
class Select(Elementwise):
    """One of several cases, by a coefficient.

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.select_n.html
    """

    kind = Kind.SELECT
    tells_levels = True

    def support(self, equation, operand):
        which = equation.known(0)
        return None if which is None else np.asarray(which.astype(np.int64) == operand - 1)

    def pull(self, view, operand, ct):
        which = view.read(0)
        chosen = which == (bool(operand - 1) if which.dtype == bool else operand - 1)
        return jnp.where(chosen, ct, jnp.zeros((), ct.dtype))

    def known(self, equation, operands):
        """One case or another; where it is not known which, what is known of all of them."""
        which, *cases = operands
        supports, levels = [case.somewhere for case in cases], [case.at for case in cases]
        if which.value is not None:
            places = [np.asarray(which.value.astype(np.int64) == i) for i in range(len(cases))]
            return known(np.select(places, supports), np.select(places, levels), cases)
        highest, lowest = (
            np.maximum.reduce(np.broadcast_arrays(*levels)),
            np.minimum.reduce(np.broadcast_arrays(*levels)),
        )
        found = known(np.logical_or.reduce(np.broadcast_arrays(*supports)), highest, cases)
        return replace(found, blurred=found.blurred or bool((highest - lowest >= DEEP).any()))
