"""Operations in which every position of some axes sees all positions of them: transforms and solves."""

from __future__ import annotations

import numpy as np

from jaxrf.geometry.maps import Scan, identity, whole
from jaxrf.geometry.relations import Product, dense
from jaxrf.primitives.operation import Kind
from jaxrf.primitives.rule import Rule, rule


@rule("fft")
class Fourier(Rule):
    """Discrete Fourier transform over the last axes: every frequency sees every position of them.

    Example: (2, 8) over one axis: element (1, 3) depends on (1, 0..7).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.fft.html
    """

    kind = Kind.MIX

    def relation(self, equation, operand):
        shape, out = equation.operands[operand].shape, equation.result.shape
        kept = len(shape) - len(equation.params["fft_lengths"])
        return Product(
            shape, out, tuple((identity(n), a) if a < kept else (whole(n), None) for a, n in enumerate(shape))
        )


@rule("triangular_solve")
class TriangularSolve(Rule):
    """Solution of a triangular system for its right-hand side, which is operand 1.

    L x = b    x[i] depends on b[k] for k <= i where L is lower; an upper or a transposed matrix turns the order.
    Example (L lower, b (3, 2)): element (1, 0) depends on (0, 0) and (1, 0).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.linalg.triangular_solve.html
    """

    kind = Kind.MIX
    linear = (1,)
    hull_where = "its matrix is known to hold zeros within the triangle"

    def relation(self, equation, operand):
        shape, p = equation.result.shape, equation.params
        axis = len(shape) - (2 if p["left_side"] else 1)
        backward = (not p["lower"]) ^ bool(p["transpose_a"]) ^ (not p["left_side"])
        axes = tuple((Scan(n, n, backward) if a == axis else identity(n), a) for a, n in enumerate(shape))
        return Product(shape, shape, axes)

    def loose(self, equation, operand):
        support = equation.support(0)
        if support is None:
            return ""
        inside = np.tril if equation.params["lower"] else np.triu
        full = support | np.eye(support.shape[-1], dtype=bool) if equation.params["unit_diagonal"] else support
        return "" if (full | ~inside(np.ones_like(full))).all() else "the zeros of its matrix are not followed"

    def powers(self, equation, operand):
        return {} if equation.params["unit_diagonal"] else {0: -1}


@rule("tridiagonal_solve")
class TridiagonalSolve(Rule):
    """Solution of a tridiagonal system for its right-hand side: its inverse is full along the axis before the last.

    Example (b (3, 2)): element (1, 0) depends on (0, 0), (1, 0) and (2, 0).
    Operand 3 is the right-hand side.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.linalg.tridiagonal_solve.html
    """

    kind = Kind.MIX
    linear = (3,)
    hull_where = "its matrix is known to hold zeros on the three diagonals"

    def relation(self, equation, operand):
        shape = equation.result.shape
        axis = len(shape) - 2
        return Product(
            shape, shape, tuple((whole(n), None) if a == axis else (identity(n), a) for a, n in enumerate(shape))
        )

    def loose(self, equation, operand):
        lower, main, upper = (equation.support(i) for i in range(3))
        known = [lower if lower is None else lower[..., 1:], main, upper if upper is None else upper[..., :-1]]
        return "the zeros of its matrix are not followed" if any(s is not None and not s.all() for s in known) else ""


@rule("custom_lin", "custom_linear_solve")
class Opaque(Rule):
    """A linear map behind a custom rule that JAX cannot write out: everything may depend on everything.

    A `custom_vjp` function whose backward rule is not linear, or a solver that iterates.
    https://docs.jax.dev/en/latest/_autosummary/jax.custom_vjp.html
    """

    kind = Kind.OTHER
    hull_where = "always"

    def relation(self, equation, operand):
        return dense(equation.operands[operand].shape, equation.result.shape)

    def loose(self, equation, operand):
        return "its custom rule cannot be written out, so it counts as seeing everything"
