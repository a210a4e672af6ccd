"""Operations on axes: broadcast, reduce, transpose, squeeze, reshape. No element is computed, only moved or summed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from jaxrf.equations.levels import LARGEST, Known, known, rearranged
from jaxrf.equations.program import Equation
from jaxrf.geometry.groups import reshape_groups
from jaxrf.geometry.maps import Fixed, identity, whole
from jaxrf.geometry.relations import Product, Reshape
from jaxrf.geometry.supports import compact
from jaxrf.primitives.operation import Kind
from jaxrf.primitives.rule import Rule, rule


def reduced(shape: tuple[int, ...], out: tuple[int, ...], gone: Collection[int]) -> Product:
    """Every result sees the whole of each axis that is `gone`, and its own position of the others."""
    kept = [a for a in range(len(shape)) if a not in gone]
    axes = tuple((whole(n), None) if a in gone else (identity(n), kept.index(a)) for a, n in enumerate(shape))
    return Product(shape, out, axes)


@rule("broadcast_in_dim")
class Broadcast(Rule):
    """Operand axis i becomes result axis `broadcast_dimensions[i]`; size-1 axes are repeated.

    y[..., j, ...] = x[i]    pulls back as a sum over the new and the repeated axes.
    Example: (3,) to (2, 3) by (1,): element (1, 2) depends on (2,).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.broadcast_in_dim.html
    """

    kind = Kind.READ

    def relation(self, equation, operand):
        shape, out = equation.operands[operand].shape, equation.result.shape
        places = equation.params["broadcast_dimensions"]
        axes = tuple((identity(n), p) if n == out[p] else (Fixed(n, out[p], 0, n), None) for n, p in zip(shape, places))
        return Product(shape, out, axes)

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        shape, out = view.equation.operands[operand].shape, view.equation.result.shape
        places = view.equation.params["broadcast_dimensions"]
        new = tuple(a + 1 for a in range(len(out)) if a not in places)
        ct = ct.sum(axis=new)
        repeated = tuple(i + 1 for i, (n, p) in enumerate(zip(shape, places)) if n == 1 and out[p] != 1)
        return ct.sum(axis=repeated, keepdims=True) if repeated else ct

    def known(self, equation, operands):
        places = tuple(map(int, equation.params["broadcast_dimensions"]))

        def lay(a: np.ndarray) -> np.ndarray:
            shape = [1] * len(equation.result.shape)
            for axis, place in enumerate(places if a.ndim else ()):
                shape[place] = a.shape[axis]
            return a.reshape(shape)

        return rearranged(lay, operands[0])


@rule("reduce_sum")
class ReduceSum(Rule):
    """Sum over `axes`: every result sees the whole of each reduced axis.

    y = sum_i x[i]    pulls back as    x'[i] = y' for every i.
    Example: (2, 5, 3) over (1,): element (1, 2) depends on (1, 0..4, 2).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.reduce_sum.html
    """

    kind = Kind.SUM
    sums_parts = True

    def relation(self, equation, operand):
        return reduced(equation.operands[operand].shape, equation.result.shape, equation.params["axes"])

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        gone = view.equation.params["axes"]
        ct = jnp.expand_dims(ct, [a + 1 for a in gone])
        sizes = [span.size for span in view.into]
        return jnp.broadcast_to(ct, (ct.shape[0], *sizes))

    def known(self, equation, operands):
        """Zero where all terms are. The sum of a row does not know any more that some of its terms were lost."""
        (x,), axes = operands, tuple(map(int, equation.params["axes"]))
        support = None if x.support is None else x.support.any(axis=axes)
        return Known(known(support, None, operands).support, None, x.masked, blurred=x.leveled)

    def flops(self, equation):
        return 0


@rule("transpose")
class Transpose(Rule):
    """Axes in another order: result axis i is operand axis `permutation[i]`.

    Example: (2, 3, 5) by (2, 0, 1): element (4, 1, 2) depends on (1, 2, 4).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.transpose.html
    """

    kind = Kind.MOVE

    def relation(self, equation, operand):
        shape, order = equation.operands[operand].shape, equation.params["permutation"]
        return Product(shape, equation.result.shape, tuple((identity(n), order.index(a)) for a, n in enumerate(shape)))

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        order = view.equation.params["permutation"]
        return ct.transpose((0, *(order.index(a) + 1 for a in range(len(order)))))

    def known(self, equation, operands):
        return rearranged(lambda a: a.transpose(equation.params["permutation"]), operands[0])


@rule("squeeze")
class Squeeze(Rule):
    """Axes of size 1 dropped. Example: (2, 1, 3) without axis 1: element (1, 2) depends on (1, 0, 2).

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.squeeze.html
    """

    kind = Kind.MOVE

    def relation(self, equation, operand):
        found = reduced(equation.operands[operand].shape, equation.result.shape, equation.params["dimensions"])
        return replace(found, dropped=True)

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        return jnp.expand_dims(ct, [a + 1 for a in view.equation.params["dimensions"]])

    def known(self, equation, operands):
        return _reshaped(equation, operands[0])


@rule("reshape")
class ReshapeRule(Rule):
    """The same elements under other axes; axes are mixed only within groups of equal products.

    Example: (2, 6) to (2, 2, 3): element (1, 1, 2) depends on (1, 5).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.reshape.html
    """

    kind = Kind.MOVE

    def relation(self, equation, operand):
        return Reshape(equation.operands[operand].shape, equation.result.shape)

    def needs_whole(self, equation):
        groups = reshape_groups(equation.operands[equation.tangents[0]].shape, equation.result.shape)
        single = {outs[0] for ins, outs in groups if len(ins) == len(outs) == 1}
        return frozenset(range(len(equation.result.shape))) - single

    def transpose(self, view, operand, ct):
        return ct.reshape(ct.shape[0], *(span.size for span in view.into))

    def known(self, equation, operands):
        return None if equation.params.get("dimensions") is not None else _reshaped(equation, operands[0])


def _reshaped(equation: Equation, x: Known) -> Known | None:
    """Axes that do not vary stay of size 1 where they can; the array is laid out in full where they are mixed."""
    shape, out = equation.operands[0].shape, equation.result.shape
    if np.prod(shape) > LARGEST:
        return None
    return rearranged(lambda a: compact(np.broadcast_to(a, shape).reshape(out)), x)
