"""Equations of a forward pass, given by name, operands and parameters, through the same lowerings as the pull-back.

`ways` holds a function for each primitive that has another way than JAX's own; a new one is entered beside these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap

from jaxrf.base import compiler
from jaxrf.base.registry import Registry
from jaxrf.lowering.choice import REWRITTEN, choose
from jaxrf.lowering.lowering import lowerings
from jaxrf.lowering.pooling import MOST_SHIFTS, PoolingSpec, max_pool_forward, min_pool_forward, sum_pool_forward
from jaxrf.lowering.problem import ConvolutionSpec, Problem

Way = Callable[[Mapping[str, Any], Sequence[Any], str], list[jax.Array] | None]
"""From parameters, operands and platform to the results; None where JAX's own way is taken."""
ways: Registry[Way] = Registry("way of computing")


def lower(
    primitive: str, params: Mapping[str, Any], operands: Sequence[Any], platform: str | None = None
) -> list[jax.Array] | None:
    """The results of one equation by another way than JAX's own, or None where there is none.

    Convolutions and poolings take one that is quicker; products of ragged groups one that `vmap` can go through.

    Args:
        primitive: the name of the primitive.
        params: its parameters, as the jaxpr has them.
        operands: its values; tracers are fine.
        platform: where it will run; default: the platform of JAX's default device.

    Returns:
        What the primitive itself returns, beyond rounding.

    >>> params = dict(window_dimensions=(2,), window_strides=(2,), padding=((0, 0),),
    ...               base_dilation=(1,), window_dilation=(1,))
    >>> lower("reduce_window_max", params, [jnp.arange(6.0)], "cpu")[0].tolist()
    [1.0, 3.0, 5.0]
    >>> lower("add", {}, [1.0, 2.0], "cpu") is None
    True
    """
    way = ways.get(primitive)
    return way(params, operands, platform or compiler.platform()) if way else None


@ways.register("ragged_dot_general")
def _in_turn(params: Mapping[str, Any], operands: Sequence[Any], platform: str) -> list[jax.Array]:
    """A ragged product of one image after the other: JAX vectorizes it over one axis of its first operand only."""
    options = {name: params[name] for name in ("precision", "preferred_element_type", "group_offset")}
    numbers = params["ragged_dot_dimension_numbers"]

    def product(rows: jax.Array, matrices: jax.Array, sizes: jax.Array) -> jax.Array:
        return lax.ragged_dot_general(rows, matrices, sizes, numbers, **options)

    return [sequential_vmap(product)(*operands)]


@ways.register("conv_general_dilated")
def _convolution(params: Mapping[str, Any], operands: Sequence[Any], platform: str) -> list[jax.Array] | None:
    x, kernel = operands
    numbers, wide = params["dimension_numbers"], params.get("preferred_element_type")
    if params["batch_group_count"] > 1 or kernel.dtype != x.dtype or wide not in (None, x.dtype):
        return None
    image, weights, out = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    spec = ConvolutionSpec(
        tuple(params["window_strides"]), tuple(params["padding"]), tuple(params["lhs_dilation"]),
        tuple(params["rhs_dilation"]), params["feature_group_count"], params["precision"],
    )  # fmt: skip
    into = (image[0], *image[2:], image[1])
    order = (*weights[2:], weights[1], weights[0])
    problem = Problem(
        tuple(x.shape[a] for a in into), tuple(kernel.shape[a] for a in order), spec, jnp.dtype(x.dtype).name
    )
    name = choose(problem, platform)
    if name == "plain":
        return None
    prepared = lowerings[name].prepare(jnp.transpose(kernel, order), problem)
    y = lowerings[name].run(jnp.transpose(x, into), prepared, problem)
    back = [0] * y.ndim
    for place, axis in enumerate((out[0], *out[2:], out[1])):
        back[axis] = place
    return [y.transpose(back)]


def _pooled(
    pool: Callable[[jax.Array, PoolingSpec], jax.Array], fill: float,
    params: Mapping[str, Any], operands: Sequence[Any], platform: str,
) -> list[jax.Array] | None:  # fmt: skip
    """A pooling that joins its windows by `pool`, and whose padding is `fill`."""
    x, ones = operands[0], (1,) * operands[0].ndim
    if platform != "cpu":
        return None
    window, dilation = tuple(params["window_dimensions"]), tuple(params["window_dilation"])
    if tuple(params["base_dilation"]) != ones or jnp.dtype(x.dtype).name not in REWRITTEN or not x.size:
        return None
    if max(window, default=1) > MOST_SHIFTS:
        return None
    if any(n + lo + hi < (k - 1) * r + 1 for n, (lo, hi), k, r in zip(x.shape, params["padding"], window, dilation)):
        return None  # no window fits, and the result is empty
    config = [(lo, hi, 0) for lo, hi in params["padding"]]
    if any(map(any, config)):
        x = lax.pad(x, jnp.asarray(fill, x.dtype), config)
    return [pool(x, PoolingSpec(window, tuple(params["window_strides"]), dilation))]


POOLINGS: Mapping[str, tuple[Callable[[jax.Array, PoolingSpec], jax.Array], float]] = {
    "reduce_window_max": (max_pool_forward, -math.inf),
    "reduce_window_min": (min_pool_forward, math.inf),
    "reduce_window_sum": (sum_pool_forward, 0.0),
}
"""What each pooling joins its windows with, and what its padding is."""
for _name, (_pool, _fill) in POOLINGS.items():
    ways.register(_name)(partial(_pooled, _pool, _fill))
