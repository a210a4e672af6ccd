"""Operations that move windows: pad, slice, concatenate, reverse. Each is a sliding window of one offset."""

from __future__ import annotations

import jax
from jax import lax

from jaxrf.equations.levels import carried
from jaxrf.equations.program import Equation
from jaxrf.geometry.maps import Window, identity
from jaxrf.geometry.relations import Product, Relation, dense
from jaxrf.lowering.laying import laid
from jaxrf.primitives.operation import Kind
from jaxrf.primitives.rule import Rule, View, linear_transpose, rule


class Movement(Rule):
    """Members say their sliding windows; on windows the cotangent is strided or interleaved with zeros."""

    kind = Kind.MOVE

    def windows(self, equation, operand) -> list[Window]:
        """One window per axis, of one offset each."""
        raise NotImplementedError

    def relation(self, equation, operand) -> Relation:
        windows = self.windows(equation, operand)
        axes = tuple((w, axis) for axis, w in enumerate(windows))
        return Product(equation.operands[operand].shape, equation.result.shape, axes)

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view: View, operand, ct):
        for axis, window in enumerate(self.windows(view.equation, operand)):
            if not window.identity:
                ct = self.along(ct, axis + 1, window, view.out[axis], view.into[axis])
        return ct

    def known(self, equation, operands):
        moved = len(operands) if self.linear is None else len(self.linear)
        return carried(equation, operands, moved, self.untouched(equation))

    def untouched(self, equation: Equation) -> list[int]:
        """Axes along which elements stay where they are, where that is seen from the parameters."""
        return []

    def along(self, ct, axis, window: Window, out, into):
        """Pull back along one axis."""
        if window.stride < 0:
            ct = lax.rev(ct, (axis,))
            return ct if out.moving else fit(ct, axis, 0, 1, into.size)
        if window.holes > 1:  # every `holes`-th position holds a value, the others are the zeros between
            first = 0 if out.moving else (-window.offsets[0]) % window.holes
            start = 0 if out.moving else (first + window.offsets[0]) // window.holes
            ct = lax.slice_in_dim(ct, min(first, ct.shape[axis]), None, window.holes, axis)
            return ct if out.moving else fit(ct, axis, start, 1, into.size)
        if out.moving:
            return fit(ct, axis, 0, window.stride, into.size)
        return fit(ct, axis, window.offsets[0], window.stride, into.size)


def fit(ct: jax.Array, axis: int, start: int, stride: int, size: int) -> jax.Array:
    """`ct` spread by `stride` and laid from position `start` on into an axis of `size`, cut where it leaves it."""
    config = [(0, 0, 0)] * ct.ndim
    length = (ct.shape[axis] - 1) * stride + 1 if ct.shape[axis] else 0
    config[axis] = (start, size - start - length, stride - 1)
    return laid(ct, config)


@rule("pad")
class Pad(Movement):
    """Zeros (or another value) around and between positions; negative amounts cut.

    y[lo + (interior + 1) i] = x[i]
    Example: 3 positions, lo 2, interior 1: result 2 sees 0, 4 sees 1, 6 sees 2, the rest none.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.pad.html
    """

    tells_levels = True

    def windows(self, equation, operand):
        config = equation.params["padding_config"]
        shape, out = equation.operands[0].shape, equation.result.shape
        return [Window(n, m, 1, (-lo,), inside + 1) for n, m, (lo, _, inside) in zip(shape, out, config)]

    def relation(self, equation, operand):
        return super().relation(equation, operand) if operand == 0 else dense((), equation.result.shape)

    def takes_one(self, equation, operand):
        return operand == 0

    def untouched(self, equation):
        return [axis for axis, amounts in enumerate(equation.params["padding_config"]) if not any(amounts)]

    def needs_whole(self, equation):
        return frozenset() if equation.tangents == [0] else frozenset(range(len(equation.result.shape)))

    def transpose(self, view, operand, ct):
        whole = view.equation.tangents != [0]
        return linear_transpose(view, operand, ct) if whole else super().transpose(view, operand, ct)


@rule("slice")
class Slice(Movement):
    """Every `strides`-th position from a start. Example: x[1:6:2]: result 2 sees 5.

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.slice.html
    """

    def windows(self, equation, operand):
        shape, out = equation.operands[0].shape, equation.result.shape
        strides = equation.params["strides"] or (1,) * len(shape)
        starts = equation.params["start_indices"]
        return [Window(n, m, s, (a,)) for n, m, s, a in zip(shape, out, strides, starts)]


@rule("rev")
class Reverse(Movement):
    """Axes read backwards. Example: 5 positions: result 1 sees 3.

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.rev.html
    """

    def windows(self, equation, operand):
        shape, turned = equation.operands[0].shape, equation.params["dimensions"]
        return [Window(n, n, -1, (n - 1,)) if a in turned else identity(n) for a, n in enumerate(shape)]


@rule("concatenate")
class Concatenate(Movement):
    """Operands one after the other along `dimension`. Example: (2,) and (3,): result 3 sees 1 of the second.

    Beside the longest operand the others may be its border, wrapped by a roll, reflected or repeated:
    where they are copies of it in all but place, an endless input has none.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.concatenate.html
    """

    tells_levels = True

    def windows(self, equation, operand):
        axis, shape = equation.params["dimension"], equation.operands[operand].shape
        sizes = [o.shape[axis] for o in equation.operands]
        before, total = sum(sizes[:operand]), equation.result.shape[axis]
        border = operand != max(equation.tangents or range(len(sizes)), key=lambda i: sizes[i])
        return [Window(n, total, 1, (-before,), 1, border) if a == axis else identity(n) for a, n in enumerate(shape)]

    def joined_along(self, equation):
        return equation.params["dimension"]

    def untouched(self, equation):
        return [axis for axis in range(len(equation.result.shape)) if axis != equation.params["dimension"]]
