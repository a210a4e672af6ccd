"""Operations on axes: broadcast, reduce, transpose, squeeze, reshape. No element is computed, only moved or summed."""

from __future__ import annotations

import jax.numpy as jnp

from jaxrf.geometry.groups import reshape_groups
from jaxrf.geometry.maps import Fixed, identity, whole
from jaxrf.geometry.relations import Product, Reshape
from jaxrf.primitives.rule import Rule, rule


@rule("broadcast_in_dim")
class Broadcast(Rule):
    """Operand axis i becomes result axis `broadcast_dimensions[i]`; size-1 axes are repeated.

    y[..., j, ...] = x[i]    pulls back as a sum over the new and the repeated axes.
    Example: (3,) to (2, 3) by (1,): element (1, 2) depends on (2,).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.broadcast_in_dim.html
    """

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


@rule("reduce_sum")
class ReduceSum(Rule):
    """Sum over `axes`: every result sees the whole of each reduced axis.

    y = sum_i x[i]    pulls back as    x'[i] = y' for every i.
    Example: (2, 5, 3) over (1,): element (1, 2) depends on (1, 0..4, 2).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.reduce_sum.html
    """

    sums_parts = True

    def relation(self, equation, operand):
        shape, gone = equation.operands[operand].shape, equation.params["axes"]
        kept = [a for a in range(len(shape)) if a not in gone]
        axes = tuple((whole(n), None) if a in gone else (identity(n), kept.index(a)) for a, n in enumerate(shape))
        return Product(shape, equation.result.shape, axes)

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        gone = view.equation.params["axes"]
        ct = jnp.expand_dims(ct, [a + 1 for a in gone])
        sizes = [span.size for span in view.into]
        return jnp.broadcast_to(ct, (ct.shape[0], *sizes))

    def flops(self, equation):
        return 0


@rule("transpose")
class Transpose(Rule):
    """Axes in another order: result axis i is operand axis `permutation[i]`.

    Example: (2, 3, 5) by (2, 0, 1): element (4, 1, 2) depends on (1, 2, 4).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.transpose.html
    """

    def relation(self, equation, operand):
        shape, order = equation.operands[operand].shape, equation.params["permutation"]
        return Product(shape, equation.result.shape, tuple((identity(n), order.index(a)) for a, n in enumerate(shape)))

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        order = view.equation.params["permutation"]
        return ct.transpose((0, *(order.index(a) + 1 for a in range(len(order)))))


@rule("squeeze")
class Squeeze(Rule):
    """Axes of size 1 dropped. Example: (2, 1, 3) without axis 1: element (1, 2) depends on (1, 0, 2).

    https://docs.jax.dev/en/latest/_autosummary/jax.lax.squeeze.html
    """

    def relation(self, equation, operand):
        shape, gone = equation.operands[operand].shape, equation.params["dimensions"]
        kept = [a for a in range(len(shape)) if a not in gone]
        axes = tuple((whole(n), None) if a in gone else (identity(n), kept.index(a)) for a, n in enumerate(shape))
        return Product(shape, equation.result.shape, axes)

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        return jnp.expand_dims(ct, [a + 1 for a in view.equation.params["dimensions"]])


@rule("reshape")
class ReshapeRule(Rule):
    """The same elements under other axes; axes are mixed only within groups of equal products.

    Example: (2, 6) to (2, 2, 3): element (1, 1, 2) depends on (1, 5).
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.reshape.html
    """

    def relation(self, equation, operand):
        return Reshape(equation.operands[operand].shape, equation.result.shape)

    def needs_whole(self, equation):
        groups = reshape_groups(equation.operands[equation.tangents[0]].shape, equation.result.shape)
        single = {outs[0] for ins, outs in groups if len(ins) == len(outs) == 1}
        return frozenset(range(len(equation.result.shape))) - single

    def transpose(self, view, operand, ct):
        return ct.reshape(ct.shape[0], *(span.size for span in view.into))
