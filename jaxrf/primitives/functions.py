"""Operations without a linear rule, as forward passes have them: functions of single elements, maxima, random numbers.

The derivative of such an operation is made of others. What is said here is what is known of its values.
"""

from __future__ import annotations

import numpy as np

from jaxrf.equations.levels import LOWEST, Known, above_the_gap, carried, known, summed, zero_at_zero
from jaxrf.geometry.maps import Fixed, Scan, identity, whole
from jaxrf.geometry.relations import Product, dense
from jaxrf.primitives.axes import reduced
from jaxrf.primitives.elementwise import aligned
from jaxrf.primitives.operation import Kind, Operation, operation
from jaxrf.primitives.pooling import sliding


@operation(*(
    "acos acosh and atan2 bessel_i0e bessel_i1e clz cos cosh digamma eq eq_to erf_inv erfc ge gt igamma igamma_grad_a igammac "
    "is_finite le le_to lgamma log2 lt lt_to ne nextafter not one_minus_square or polygamma population_count pow "
    "random_gamma_grad regularized_incomplete_beta rem rsqrt shift_left shift_right_arithmetic shift_right_logical xor zeta"
).split())  # fmt: skip
class Function(Operation):
    """A function of the elements at one place, of which no zeros are known."""

    kind = Kind.FUNCTION

    def values(self, equation, operand, result=0):
        return aligned(equation.operands[operand].shape, equation.results[result].shape)


@operation(*(
    "abs asin asinh atan atanh cbrt ceil erf expm1 floor log1p round sign sin sinh sqrt square tan tanh"
).split())  # fmt: skip
class ZeroAtZero(Function):
    """A function of one number that is zero at zero."""

    def known(self, equation, operands):
        return zero_at_zero(operands)


@operation("integer_pow")
class IntegerPower(Function):
    """A whole power, zero at zero if it is positive."""

    def known(self, equation, operands):
        return zero_at_zero(operands) if equation.params["y"] > 0 else None


@operation("exp", "exp2", "logistic")
class Exponential(Function):
    """Zero where the level lies deep below all others that are not masks."""

    def known(self, equation, operands):
        (x,) = operands
        support = None if x.level is None else known(above_the_gap(x.level), None, ()).support
        return Known(support, None, support is not None, lost=x.lost or x.blurred)


@operation("log")
class Logarithm(Function):
    """A zero becomes minus infinity, which is a level."""

    def known(self, equation, operands):
        (x,) = operands
        level = None if x.support is None else np.where(x.support, 0.0, LOWEST)
        return known(None, level, operands, blurred=x.leveled)


@operation("max")
class Larger(Function):
    """The larger of two elements."""

    tells_levels = True

    def known(self, equation, operands):
        return summed(operands, np.maximum(operands[0].at, operands[1].at))


@operation("min")
class Smaller(Function):
    """The smaller of two elements."""

    tells_levels = True

    def known(self, equation, operands):
        return summed(operands, np.minimum(operands[0].at, operands[1].at))


@operation("clamp")
class Clamp(Function):
    """The second operand, between the first and the third."""

    def known(self, equation, operands):
        low, x, high = operands
        if low.value is None or high.value is None:
            return None
        return known(None, np.clip(x.at, low.at, high.at), operands)


@operation("optimization_barrier", "stop_gradient")
class Barrier(Operation):
    """Result i is operand i."""

    kind = Kind.PASS

    def values(self, equation, operand, result=0):
        shape, out = equation.operands[operand].shape, equation.results[result].shape
        if operand == result:
            return aligned(shape, out)
        return Product(shape, out, tuple((Fixed(n, 1, 0, 0), None) for n in shape))

    def known(self, equation, operands):
        return operands[0]


@operation("expand_dims", "index", "split", "stack", "unstack")
class Rearranged(Operation):
    """Axes added, dropped or cut, of which the program writes some itself in loops that it opens."""

    kind = Kind.MOVE

    def known(self, equation, operands):
        return carried(equation, operands, len(operands)) if len(equation.results) == 1 else None


@operation("tile")
class Tile(Operation):
    """The operand behind itself, axis by axis."""

    kind = Kind.READ

    def known(self, equation, operands):
        return carried(equation, operands, len(operands))


@operation("reduce_max", "reduce_min", "argmax", "argmin")
class Extreme(Operation):
    """The largest or the smallest element along some axes, or its place."""

    kind = Kind.CHOICE

    def values(self, equation, operand, result=0):
        return reduced(equation.operands[operand].shape, equation.results[result].shape, equation.params["axes"])

    def known(self, equation, operands):
        if equation.primitive != "reduce_max":
            return None
        (x,), axes = operands, tuple(map(int, equation.params["axes"]))
        support = None if x.support is None else x.support.any(axis=axes)
        return known(support, None if x.level is None else x.level.max(axis=axes), operands)


@operation("reduce_and", "reduce_or", "reduce_prod", "reduce_xor")
class Reduction(Operation):
    """Elements along some axes joined in another way than by a sum."""

    def values(self, equation, operand, result=0):
        return reduced(equation.operands[operand].shape, equation.results[result].shape, equation.params["axes"])


@operation("reduce_window", "reduce_window_max", "reduce_window_min")
class WindowReduction(Operation):
    """Elements of sliding windows joined: by a maximum, or by whatever function the model gives."""

    kind = Kind.CHOICE

    def values(self, equation, operand, result=0):
        shape, out = equation.operands[operand].shape, equation.results[result].shape
        if len(shape) != len(out):  # the element to begin with
            return dense(shape, out)
        return Product(shape, out, tuple((window, axis) for axis, window in enumerate(sliding(equation))))


@operation("cumlogsumexp", "cummax", "cummin", "cumprod")
class Cumulative(Operation):
    """Each position along an axis joined with all before it, or behind it."""

    def values(self, equation, operand, result=0):
        shape, axis, reverse = equation.operands[operand].shape, equation.params["axis"], equation.params["reverse"]
        axes = tuple((Scan(n, n, reverse) if a == axis else identity(n), a) for a, n in enumerate(shape))
        return Product(shape, shape, axes)


@operation("sort")
class Sort(Operation):
    """Elements along an axis in order; of several operands all by the order of the first."""

    def values(self, equation, operand, result=0):
        shape, axis = equation.operands[operand].shape, equation.params["dimension"]
        axes = tuple((whole(n), None) if a == axis else (identity(n), a) for a, n in enumerate(shape))
        return Product(shape, shape, axes)


@operation("iota", "empty2")
class Made(Operation):
    """Arrays made of nothing but their shape."""


@operation(*(
    "random_bits random_clone random_fold_in random_gamma random_seed random_split random_unwrap random_wrap "
    "rng_bit_generator rng_uniform threefry2x32"
).split())  # fmt: skip
class Draw(Operation):
    """Random numbers, and the keys that they are drawn by."""

    kind = Kind.DRAW
