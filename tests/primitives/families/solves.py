"""Solves and custom rules."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.primitives.case import Array, case, positive


@jax.custom_vjp
def doubled(x: Array) -> Array:
    return jnp.roll(x, 1, 1)


doubled.defvjp(lambda x: (doubled(x), x), lambda x, ct: (jnp.roll(2 * x * ct, -1, 1),))


@jax.custom_vjp
def clipped(x: Array) -> Array:
    return 2 * x


clipped.defvjp(lambda x: (2 * x, None), lambda _, ct: (jnp.clip(ct, -1e3, 1e3),))


for lower in (True, False):
    for left in (True, False):
        for transposed in (True, False):
            case(f"triangular_solve {lower=} {left=} {transposed=}", (2, 3, 3), lambda x, options=(left, lower, transposed): (
                lax.linalg.triangular_solve(
                    -2 * jnp.ones((2, 3, 3)) + 5 * jnp.eye(3) + 0 * lax.stop_gradient(x), x, left_side=options[0],
                    lower=options[1], transpose_a=options[2])))  # fmt: skip
case("triangular_solve by a known matrix", (1, 3, 2), lambda x: lax.linalg.triangular_solve(
    np.eye(3)[None] + 0.5 * (np.arange(3) == 2), x, left_side=True, lower=True))  # fmt: skip
case("triangular_solve by a known full one", (1, 3, 2), lambda x: lax.linalg.triangular_solve(
    np.tril(-positive(1, 3, 3)) + 3 * np.eye(3), x, left_side=True, lower=True))  # fmt: skip
case("tridiagonal_solve of two blocks", (1, 4, 2), lambda x: lax.linalg.tridiagonal_solve(
    np.array([[0.0, 1, 0, 1]]), 5 * np.ones((1, 4)), np.array([[1.0, 0, 1, 0]]), x))  # fmt: skip
case("tridiagonal_solve", (1, 4, 2), lambda x: lax.linalg.tridiagonal_solve(
    -positive(1, 4), 5 * np.ones((1, 4)), -positive(1, 4), x))  # fmt: skip
case("solve", (1, 3, 2), lambda x: jnp.linalg.solve(jnp.eye(3) * 5 - lax.stop_gradient(x[0, :, :1] * x[0, :, 0]), x[0]))


case("custom_vjp", (1, 5, 2), doubled)
case("custom_vjp in a scan", (1, 3, 2), lambda x: lax.scan(lambda c, row: (doubled(c + row), None), x[:, 0][:, None],
                                                           x.swapaxes(0, 1)[:, :, None])[0])  # fmt: skip
case("custom_lin", (1, 5), clipped)
case("custom_linear_solve", (1, 4), lambda x: lax.custom_linear_solve(
    lambda v: 3 * v, x, lambda _, b: lax.while_loop(lambda v: v.sum() < 0, lambda v: v, b) / 3, symmetric=True))  # fmt: skip
