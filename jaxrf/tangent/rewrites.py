"""Equations written in terms of simpler ones, before anything interprets them.

Each rewrite takes the writer, the equation as JAX wrote it and its operands, and returns the results.
None means that it does not apply, and the equation stays as it is.
Known are: several results at once, several operands that are only passed on, and operations that hide a linear map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex

from jaxrf.equations.program import Literal, Operand
from jaxrf.lowering.laying import kept
from jaxrf.tangent.loops import while_loop
from jaxrf.tangent.writer import Writer

Rewrite = Callable[[Writer, Any, list[Operand]], list[Operand] | None]


def passed_on(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand]:
    """Result i is operand i: barriers and placements on devices."""
    return [copy(flat, v) if v.tangent else v for v in operands]


def copy(flat: Writer, x: Operand) -> Operand:
    return flat.synthetic("copy", [x], x.shape, lambda value: value)


def cut(flat: Writer, x: Operand, axis: int, start: int, stop: int) -> Operand:
    """`x[start:stop]` along `axis`."""
    begin, end = [0] * len(x.shape), [*x.shape]
    begin[axis], end[axis] = start, stop
    shape = tuple(b - a for a, b in zip(begin, end))
    return flat.synthetic(
        "slice", [x], shape, lambda value: jax.lax.slice(value, begin, end),
        start_indices=tuple(begin), limit_indices=tuple(end), strides=None,
    )  # fmt: skip


def reshape(flat: Writer, x: Operand, shape: tuple[int, ...]) -> Operand:
    return flat.synthetic("reshape", [x], shape, lambda value: jnp.reshape(value, shape), new_sizes=shape)


def concatenate(flat: Writer, parts: Sequence[Operand], axis: int) -> Operand:
    shape = [*parts[0].shape]
    shape[axis] = sum(part.shape[axis] for part in parts)
    return flat.synthetic(
        "concatenate", parts, tuple(shape), lambda *values: jnp.concatenate(values, axis), dimension=axis
    )


def cropped(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand] | None:
    """A convolution of negative padding as one of a slice, without any.

    So no part of jaxrf meets what XLA makes of them: see `lowering/laying.py`.
    """
    numbers, padding = eqn.params["dimension_numbers"], eqn.params["padding"]
    if all(lo >= 0 and hi >= 0 for lo, hi in padding):
        return None
    x, left = operands[0], []
    for axis, (lo, hi), holes in zip(numbers.lhs_spec[2:], padding, eqn.params["lhs_dilation"]):
        first, last, (low, high, _) = kept(x.shape[axis], (lo, hi, holes - 1))
        x = x if last - first == x.shape[axis] else cut(flat, x, axis, first, last)
        left.append((low, high))
    tangent = any(v.tangent for v in operands)
    plain = eqn.replace(params={**eqn.params, "padding": tuple(left)})
    return flat.append(plain, [x, operands[1]], flat.linear if tangent else flat.forward, tangent)


def split(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand]:
    """The parts as slices."""
    stops = np.cumsum(eqn.params["sizes"]).tolist()
    return [cut(flat, operands[0], eqn.params["axis"], a, b) for a, b in zip([0, *stops], stops)]


def unstack(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand]:
    """Slices of size 1 along `axis`, which is dropped."""
    (x,), axis = operands, eqn.params["axis"]
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    return [reshape(flat, cut(flat, x, axis, i, i + 1), shape) for i in range(x.shape[axis])]


def stack(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand]:
    """Each operand with a new axis of size 1, one after the other."""
    axis, shape = eqn.params["axis"], operands[0].shape
    rows = [reshape(flat, v, (*shape[:axis], 1, *shape[axis:])) for v in operands]
    return [concatenate(flat, rows, axis)]


def reordered(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand] | None:
    """A transpose and a reshape, where it reads its axes in another order than theirs, as a vectorized convolution does."""
    order = eqn.params["dimensions"]
    if order is None:
        return None
    (x,) = operands
    moved = flat.synthetic(
        "transpose", [x], tuple(x.shape[a] for a in order), lambda value: jnp.transpose(value, order),
        permutation=tuple(order),
    )  # fmt: skip
    return [reshape(flat, moved, tuple(eqn.params["new_sizes"]))]


def tile(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand]:
    """The operand behind itself, axis by axis."""
    (x,), reps = operands, eqn.params["reps"]
    if 0 in reps:
        return [Literal(np.zeros([n * r for n, r in zip(x.shape, reps)], x.dtype))]  # type: ignore[union-attr]
    for axis, times in enumerate(reps):
        x = concatenate(flat, [x] * times, axis) if times > 1 else x
    return [copy(flat, x)] if x is operands[0] else [x]


def psum(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand] | None:
    """A sum over a mapped axis: over an axis of the array once it is vectorized, over a mesh of one device nothing."""
    axes = eqn.params["axes"]
    if all(isinstance(a, str) for a in axes):
        return passed_on(flat, eqn, operands)
    if not all(isinstance(a, int) for a in axes) or eqn.params.get("axis_index_groups"):
        return None
    places = tuple(sorted(int(a) for a in axes))
    return [
        flat.synthetic(
            "reduce_sum", [x], tuple(n for a, n in enumerate(x.shape) if a not in places),
            lambda value: jnp.sum(value, places), axes=places,
        )
        for x in operands
    ]  # fmt: skip


def shard_map(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand] | None:
    """The body itself, where its mesh holds one device."""
    if math.prod(eqn.params["mesh"].shape.values()) > 1:
        return None
    return flat.call(eqn.params["jaxpr"], operands)


def custom_lin(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand] | None:
    """The derivative of a `custom_vjp` function: the transpose of its backward rule."""
    count = eqn.params["num_res"]

    def forward(coefficients: Sequence[Any], tangents: Sequence[Any]) -> Sequence[Any]:
        params = eqn.primitive.get_bind_params(eqn.params)
        return eqn.primitive.bind(*coefficients, *tangents, **params)

    return transposed_twice(flat, forward, operands[:count], operands[count:])


def custom_linear_solve(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand] | None:
    """The solution for its right-hand side, as the equations of its solver."""
    lengths = eqn.params["const_lengths"]
    first = lengths.matvec + lengths.vecmat
    constants, sides = operands[first : first + lengths.solve], operands[sum(lengths) :]
    solver = jex.jaxpr_as_fun(eqn.params["jaxprs"].solve)
    if any(v.tangent for v in operands[: sum(lengths)]):
        return None
    return transposed_twice(flat, lambda known, b: solver(*known, *b), constants, sides)


def transposed_twice(
    flat: Writer, forward: Callable[..., Sequence[Any]], coefficients: Sequence[Operand], tangents: Sequence[Operand]
) -> list[Operand] | None:
    """`forward(coefficients, tangents)` as ordinary equations; None where it has no linear transpose.

    A linear map is the transpose of its transpose, and what JAX writes when it transposes holds no custom rules.
    """

    def twice(known: Sequence[Any], sides: Sequence[Any]) -> Sequence[Any]:
        once = jax.linear_transpose(lambda *t: list(forward(known, t)), *sides)
        results = jax.eval_shape(lambda t: list(forward(known, t)), sides)
        (back,) = jax.linear_transpose(lambda cts: once(cts), results)(tuple(sides))
        return back

    try:
        jaxpr = jax.make_jaxpr(twice)(list(map(_abstract, coefficients)), list(map(_abstract, tangents)))
    except Exception:  # JAX has no single error for "not linear": each primitive raises its own
        return None
    return flat.run(jaxpr.jaxpr, [flat.const(c) for c in jaxpr.consts], [*coefficients, *tangents])


def _abstract(operand: Operand) -> Any:
    if isinstance(operand, Literal):
        return jax.ShapeDtypeStruct(np.shape(operand.value), jnp.result_type(operand.value))
    return jax.ShapeDtypeStruct(operand.shape, operand.dtype)


LINEAR: dict[str, Rewrite] = {
    "conv_general_dilated": cropped,
    "custom_lin": custom_lin,
    "custom_linear_solve": custom_linear_solve,
    "device_put": passed_on,
    "optimization_barrier": passed_on,
    "pbroadcast": passed_on,
    "pcast": passed_on,
    "psum": psum,
    "psum_invariant": psum,
    "pvary": passed_on,
    "reshape": reordered,
    "shard_map": shard_map,
    "split": split,
    "stack": stack,
    "tile": tile,
    "unstack": unstack,
    "while": while_loop,
}
"""Rewrites of equations with a tangent among their operands."""

FORWARD: dict[str, Rewrite] = {
    "axis_index": lambda flat, eqn, operands: [Literal(np.int32(0))],
    "conv_general_dilated": cropped,
    "pbroadcast": passed_on,
    "pcast": passed_on,
    "psum": psum,
    "psum_invariant": psum,
    "pvary": passed_on,
    "shard_map": shard_map,
}
"""Rewrites of equations that compute values: those that would need a mesh to run, or that XLA computes wrongly."""
