"""Products with matrices: dense layers, attention, resizing, groups of rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.primitives.case import case, positive

CHECKERS = np.indices((3, 4, 2)).sum(0) % 2
case("dot_general", (1, 5, 3), lambda x: x @ positive(3, 4))
case("dot_general, tangent on the right", (1, 5, 3), lambda x: positive(4, 5) @ x)
case("dot_general of two tangents", (1, 5, 3), lambda x: jnp.einsum("bik,bjk->bij", x, x * x))
case("dot_general over two axes", (1, 5, 3, 2), lambda x: jnp.einsum("bijk,jkl->bil", x, positive(3, 2, 4)))
case("dot_general by images that differ", (2, 5, 3), lambda x: jnp.einsum("bik,bkj->bij", x, positive(2, 3, 4)))
case("dot_general by a known matrix", (1, 5, 3), lambda x: jnp.einsum("oi,bic->boc", np.tri(7, 5, -1), x))
case(
    "dot_general by zeros of no simple form",
    (1, 3, 4),
    lambda x: jnp.einsum("bij,ijk->bk", x, positive(3, 4, 2) * CHECKERS),
)
case("attention behind a mask", (1, 4, 3), lambda x: jnp.einsum(
    "bij,bjc->bic", jax.nn.softmax(jnp.where(np.tri(4, dtype=bool), jnp.einsum("bic,bjc->bij", x, x), -1e9), -1), x))  # fmt: skip
case("attention behind a mask made of values", (1, 4, 3), lambda x: jnp.einsum("bij,bjc->bic", jax.nn.softmax(
    jnp.where(x.sum(2)[:, None] > 2, jnp.einsum("bic,bjc->bij", x, x), -1e9), -1), x))  # fmt: skip
case("attention of two heads with masks of their own", (1, 5, 4), lambda x: jnp.einsum("bhij,bjhc->bihc", jax.nn.softmax(
    jnp.where(np.tri(5, k=1) - np.array([np.tri(5, k=-3), np.tri(5, k=-2)]) > 0,
              jnp.einsum("bihc,bjhc->bhij", x.reshape(-1, 5, 2, 2), x.reshape(-1, 5, 2, 2)), -jnp.inf), -1),
    x.reshape(-1, 5, 2, 2)))  # fmt: skip
case("scores times a mask", (1, 4, 3), lambda x: jnp.einsum(
    "bij,bjc->bic", jnp.einsum("bic,bjc->bij", x, x) * np.tri(4, k=-1), x))  # fmt: skip
case("attention without a mask", (1, 4, 3), lambda x: jnp.einsum(
    "bij,bjc->bic", jax.nn.softmax(jnp.einsum("bic,bjc->bij", x, x * x) + 0.5 * np.tri(4), -1), x))  # fmt: skip
case("dot_general by a number", (1, 5), lambda x: jnp.einsum("bi,->bi", x, x.sum()))
for method in ("nearest", "linear", "cubic", "lanczos3"):
    case(f"resize {method}", (1, 5, 4, 2), lambda x, method=method: jax.image.resize(x, (1, 9, 7, 2), method))
case("resize down", (1, 9, 7, 2), lambda x: jax.image.resize(x, (1, 4, 3, 2), "linear"))
case("ragged_dot_general", (1, 5, 3), lambda x: lax.ragged_dot(x[0], positive(2, 3, 4), np.array([2, 3])))
case(
    "ragged_dot_general, matrices",
    (1, 3, 4),
    lambda x: lax.ragged_dot(positive(5, 3), jnp.concatenate([x, x * x]), np.array([2, 3])),
)
case("ragged_dot_general of three groups, one of them empty", (1, 7, 2),
     lambda x: lax.ragged_dot(x[0], positive(3, 2, 5), np.array([2, 0, 4])))  # fmt: skip
case("ragged_dot_general in batches", (2, 6, 3), lambda x: lax.ragged_dot_general(
    x, positive(2, 2, 3, 4), np.array([[2, 4], [5, 1]]), lax.RaggedDotDimensionNumbers((((2,), (2,)), ((0,), (0,))), (1,), (1,))))  # fmt: skip
case("ragged_dot_general, unknown sizes", (1, 3, 4),
     lambda x: lax.ragged_dot(positive(5, 3), jnp.concatenate([x, x * x]), jnp.int32(x[0, 0, :2])))  # fmt: skip
