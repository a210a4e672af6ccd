"""Operations in which every position of some axes sees all positions of them: transforms and solves."""

from __future__ import annotations

from jaxrf.geometry.maps import identity, whole
from jaxrf.geometry.relations import Product, dense
from jaxrf.primitives.rule import Rule, rule


@rule("fft")
class Fourier(Rule):
    """Discrete Fourier transform over the last axes: every frequency sees every position of them.

    Example: (2, 8) over one axis: element (1, 3) depends on (1, 0..7).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.fft.html
    """

    def relation(self, equation, operand):
        shape, out = equation.operands[operand].shape, equation.result.shape
        kept = len(shape) - len(equation.params["fft_lengths"])
        return Product(
            shape, out, tuple((identity(n), a) if a < kept else (whole(n), None) for a, n in enumerate(shape))
        )


@rule("triangular_solve")
class TriangularSolve(Rule):
    """Solution of a linear system for its right-hand side: taken as dense, though a triangle sees only one side.

    Operand 1 is the right-hand side. https://docs.jax.dev/en/latest/_autosummary/jax.lax.linalg.triangular_solve.html
    """

    def relation(self, equation, operand):
        return dense(equation.operands[operand].shape, equation.result.shape)

    def loose(self, equation, operand):
        return "the triangle of its matrix is not followed"
