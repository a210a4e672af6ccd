"""Elementwise linear operations: every element of the result depends on its own position of the operand.

Operands of size 1 along an axis, or of rank 0, are broadcast.

    y = A x,  y[i] = c[i] * x[i]    pulls back as    x'[i] = c[i] * y'[i], summed over broadcast axes

Worked example: (2, 3) = mul(t (1, 3), c (2, 3)): element (1, 2) depends on t (0, 2) only.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.geometry.maps import Fixed, identity
from jaxrf.geometry.relations import Masked, Product, Relation
from jaxrf.geometry.supports import compact
from jaxrf.primitives.rule import MASKED, Rule, View, rule, rules
from jaxrf.tangent.program import Equation
from jaxrf.tangent.tap import TAP


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

    def __init__(self, pull: Callable[[jax.Array, int], jax.Array]):
        self._pull = pull

    def pull(self, view, operand, ct):
        return self._pull(ct, operand)


def _simple(names: tuple[str, ...], pull: Callable[[jax.Array, int], jax.Array]) -> None:
    rules.register(*names)(_Simple(pull))


_simple(
    ("add", "add_any", "copy", "name", TAP, "reduce_precision", "convert_element_type", "sharding_constraint"),
    lambda ct, _: ct,
)
_simple(("neg",), lambda ct, _: -ct)
_simple(("sub",), lambda ct, operand: -ct if operand else ct)
_simple(("real",), lambda ct, _: ct.astype(jnp.result_type(ct, jnp.complex64)))
_simple(("imag",), lambda ct, _: -1j * ct)
_simple(("complex",), lambda ct, operand: ct.imag * -1 if operand else ct.real)
_simple(("conj",), lambda ct, _: ct.conj())


class Scaling(Elementwise):
    """Each element times or over a coefficient, whose elements are taken to be within 1/16 and 16 of each other."""

    def drift(self, equation):
        return 4.0 + super().drift(equation)


@rule("mul")
class Multiply(Scaling):
    """A product with one tangent; known zeros of the coefficient are seen, those of attention weights behind a mask too.

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.mul.html
    """

    hull_where = "its coefficient holds zeros of masked logits that are not followed"

    def support(self, equation, operand):
        return equation.support(1 - operand)

    def loose(self, equation, operand):
        return MASKED if equation.masked(1 - operand) else ""

    def powers(self, equation, operand):
        return {1 - operand: 1}

    def pull(self, view, operand, ct):
        return ct * view.read(1 - operand)


@rule("div")
class Divide(Scaling):
    """A tangent over a coefficient.

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.div.html
    """

    def powers(self, equation, operand):
        return {1: -1}

    def pull(self, view, operand, ct):
        return ct / view.read(1)


@rule("select_n")
class Select(Elementwise):
    """One of several cases, by a coefficient.

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.select_n.html
    """

    def support(self, equation, operand):
        which = equation.known(0)
        return None if which is None else np.asarray(which.astype(np.int64) == operand - 1)

    def pull(self, view, operand, ct):
        which = view.read(0)
        chosen = which == (bool(operand - 1) if which.dtype == bool else operand - 1)
        return jnp.where(chosen, ct, jnp.zeros((), ct.dtype))
