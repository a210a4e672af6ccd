"""Products with one matrix per group of rows, as mixtures of experts make them."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from jaxrf.equations.program import Equation
from jaxrf.errors import UnknownPrimitiveError
from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.maps import Pattern, identity, whole
from jaxrf.geometry.relations import Masked, Product, dense
from jaxrf.primitives.rule import Contraction, linear_transpose, rule, whole_spans

FORM = "its form of ragged dimensions is not followed, so it counts as seeing everything"
SIZES = "the sizes of its groups depend on values, so every row counts as seeing all groups"


@rule("ragged_dot_general")
class RaggedDot(Contraction):
    """Rows times the matrix of their group: y[i, j] = sum_k x[i, k] w[group(i), k, j].

    Rows behind the last group give zeros.
    Example (x (5, 3), w (2, 3, 4), sizes (2, 3)): element (1, 0) depends on x (1, 0..2) and on w (0, 0..2, 0).
    Operand 0 holds the rows, operand 1 the matrices, operand 2 the sizes of the groups.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.ragged_dot.html
    """

    hull_where = "the sizes of its groups depend on values, or it has another form"

    def relation(self, equation, operand):
        shape, out = equation.operands[operand].shape, equation.result.shape
        if not self._plain(equation):
            return dense(shape, out)
        sizes = equation.known(2)
        if operand == 0:
            rows = Product(shape, out, ((identity(shape[0]), 0), (whole(shape[1]), None)))
            in_group = np.arange(out[0]) < (out[0] if sizes is None else sizes.sum())
            return rows if in_group.all() else Masked(rows, in_group[:, None])
        groups: tuple[AxisMap, int | None] = (whole(shape[0]), None)
        if sizes is not None:
            ends = np.cumsum(sizes)
            rows = np.arange(out[0])[:, None]
            groups = Pattern(shape[0], out[0], (rows >= ends - sizes) & (rows < ends)), 0
        return Product(shape, out, (groups, (whole(shape[1]), None), (identity(shape[2]), 1)))

    def loose(self, equation, operand):
        if not self._plain(equation):
            return FORM
        return SIZES if operand == 1 and equation.known(2) is None else ""

    def _plain(self, equation: Equation) -> bool:
        """Whether it is of the form above: two axes by three, rows in groups, no batches."""
        numbers = equation.params["ragged_dot_dimension_numbers"]
        return (
            numbers.dot_dimension_numbers == (((1,), (1,)), ((), ()))
            and tuple(numbers.lhs_ragged_dimensions) == (0,)
            and tuple(numbers.rhs_group_dimensions) == (0,)
        )

    def summed(self, equation, coefficient):
        (contracted, _) = equation.params["ragged_dot_dimension_numbers"].dot_dimension_numbers
        return tuple(contracted[coefficient])

    def places(self, equation, coefficient):
        numbers = equation.params["ragged_dot_dimension_numbers"]
        groups = numbers.rhs_group_dimensions if coefficient == 1 else ()
        return (*groups, *numbers.dot_dimension_numbers[1][coefficient])

    def transpose(self, view, operand, ct):
        if not self._plain(view.equation):
            return self._transposed_by_jax(view, operand, ct)
        rows, matrices, sizes = (view.equation.operands[i].shape for i in range(3))
        ends = jnp.cumsum(view.read(2, whole_spans(sizes))[0])
        here = jnp.arange(rows[0])[:, None] < ends
        member = (here & ~jnp.pad(here[:, :-1], ((0, 0), (1, 0)))).astype(ct.dtype)
        other = view.read(1 - operand, whole_spans(matrices if operand == 0 else rows))[0]
        form = "uij,ig,gkj->uik" if operand == 0 else "uij,ig,ik->ugkj"
        return jnp.einsum(form, ct, member, other, precision=view.equation.params["precision"])

    def _transposed_by_jax(self, view, operand, ct):
        try:
            return linear_transpose(view, operand, ct, in_turn=True)
        except NotImplementedError as error:
            raise UnknownPrimitiveError(
                f"JAX has no transpose of the ragged product {view.equation.where()}, whose ragged dimensions are "
                f"{view.equation.params['ragged_dot_dimension_numbers']}. Write it as a product of another form, or as "
                "an einsum with a mask of its groups."
            ) from error

    def flops(self, equation):
        return 2 * math.prod(equation.result.shape) * equation.operands[0].shape[-1]
