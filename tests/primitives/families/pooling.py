"""Maxima and sums over windows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tests.primitives.case import Array, case


def pool(
    x: Array, op: Any, window: tuple[int, ...], strides: tuple[int, ...], padding: Any = "SAME", **options: Any
) -> Array:
    """`lax.reduce_window` over all axes."""
    start = {"add": 0.0, "max": -jnp.inf, "min": jnp.inf}[op.__name__]
    return lax.reduce_window(x, start, op, window, strides, padding, **options)


case("max-pool", (1, 5, 7, 1), lambda x: pool(x, lax.max, (1, 3, 2, 1), (1, 2, 1, 1)), draws=60)
case("max-pool over channels", (1, 4, 4), lambda x: pool(x, lax.max, (1, 2, 3), (1, 2, 1), "VALID"), draws=60)
case("max-pool 3-D", (1, 3, 4, 3, 1), lambda x: pool(x, lax.max, (1, 2, 2, 1, 1), (1, 1, 2, 1, 1)), draws=60)
case("max-pool with stride over window", (1, 11), lambda x: pool(x, lax.max, (1, 2), (1, 4), "VALID"), draws=20)
case("max-pool dilated", (1, 9, 1), lambda x: pool(
    x, lax.max, (1, 3, 1), (1, 2, 1), ((0, 0), (2, 1), (0, 0)), window_dilation=(1, 2, 1)), draws=60, reverse=False)  # fmt: skip
case(
    "max-pool over a dilated input",
    (1, 5),
    lambda x: pool(x, lax.max, (1, 4), (1, 1), ((0, 0), (1, 2)), base_dilation=(1, 2)),
    60,
)
case("min-pool", (1, 5, 4), lambda x: pool(x, lax.min, (1, 3, 2), (1, 2, 2)), draws=60)
case("gradient of a max-pool", (1, 6, 5), lambda x: jax.grad(
    lambda y: (pool(y, lax.max, (1, 3, 2), (1, 2, 1), ((0, 0), (1, 1), (0, 0))) ** 2).sum())(x), draws=60)  # fmt: skip
case("gradient of a max-pool over gaps", (1, 8), lambda x: jax.grad(
    lambda y: (pool(y, lax.max, (1, 2), (1, 3), "VALID") ** 2).sum())(x), draws=60)  # fmt: skip
case("sum-pool", (1, 5, 7, 2), lambda x: pool(x, lax.add, (1, 3, 2, 1), (1, 2, 1, 1)))
case("sum-pool 1-D uneven", (1, 8, 2), lambda x: pool(x, lax.add, (1, 3, 2), (1, 2, 1), ((0, 0), (0, 1), (0, 1))))
case("sum-pool with stride over window", (1, 11), lambda x: pool(x, lax.add, (1, 2), (1, 4), "VALID"))
case(
    "sum-pool of stride over holes",
    (1, 7),
    lambda x: pool(x, lax.add, (1, 3), (1, 4), ((0, 0), (2, 3)), base_dilation=(1, 2)),
)
case("sum-pool cut", (1, 9, 2), lambda x: pool(x, lax.add, (1, 3, 1), (1, 2, 1), ((0, 0), (-2, 1), (0, 0))))
case(
    "max-pool cut",
    (1, 9, 2),
    lambda x: pool(x, lax.max, (1, 3, 1), (1, 2, 1), ((0, 0), (-2, 1), (0, 0))),
    60,
    reverse=False,
)
case("sum-pool dilated twice", (1, 7, 5), lambda x: pool(
    x, lax.add, (1, 3, 2), (1, 2, 1), ((0, 0), (2, 1), (0, 1)), base_dilation=(1, 2, 1), window_dilation=(1, 3, 2)))  # fmt: skip
