"""Equations of a forward pass, given by name, operands and parameters, through the same lowerings as the pull-back.

`ways` holds a function for each primitive that has another way than JAX's own; a new one is entered beside these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap

from jaxrf.base import compiler
from jaxrf.base.registry import Registry
from jaxrf.lowering.choice import choose
from jaxrf.lowering.lowering import lowerings
from jaxrf.lowering.pooling import FILLS, PoolingProblem, PoolingSpec, pooling_way
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


def _pooled(join: str, params: Mapping[str, Any], operands: Sequence[Any], platform: str) -> list[jax.Array] | None:
    x = operands[0]
    problem = PoolingProblem(x.shape, PoolingSpec.of(params), join, jnp.dtype(x.dtype).name)
    way = pooling_way(problem, platform)
    return None if way is None else [way.run(x, (), problem)]


for _join in FILLS:
    ways.register(f"reduce_window_{_join}")(partial(_pooled, _join))
