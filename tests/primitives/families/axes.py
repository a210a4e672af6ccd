"""Broadcasts, sums, transposes and reshapes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.primitives.case import case, positive

case("broadcast_in_dim", (1, 5), lambda x: jnp.broadcast_to(x[:, :, None], (1, 5, 3)))
case("broadcast_in_dim repeats", (1, 1, 5), lambda x: jnp.broadcast_to(x, (1, 3, 5)))
case("broadcast_in_dim rank 0", (1, 5), lambda x: jnp.broadcast_to(x.sum(), (1, 3)))
case("reduce_sum", (1, 5, 7, 2), lambda x: x.sum((1, 3)))
case("reduce_sum over images", (3, 5), lambda x: x - x.sum(0))
case("reduce_sum of nothing", (1, 0, 3), lambda x: x.sum(1))
case("transpose", (1, 5, 7, 2), lambda x: x.transpose(3, 0, 2, 1))
case("squeeze", (1, 5, 1, 2), lambda x: lax.squeeze(x, (2,)))
case("reshape merges", (1, 5, 3, 2), lambda x: x.reshape(1, 15, 2))
case("reshape splits", (1, 12, 2), lambda x: x.reshape(1, 3, 4, 2))
case("reshape regroups", (1, 6, 2), lambda x: x.reshape(1, 4, 3))
case("reshape with ones", (1, 5, 3), lambda x: x.reshape(5, 1, 3, 1))
case("reshape in another order", (1, 2, 3), lambda x: lax.reshape(x, (1, 6), (0, 2, 1)))
case("vmap of a convolution over an axis", (2, 3, 5, 1), lambda x: jax.vmap(
    lambda row: lax.conv_general_dilated(row, positive(3, 1, 1), (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")), 1, 1)(x))  # fmt: skip
case("reshape to rank 0", (1, 1), lambda x: x.reshape(()))
case(
    "pixel shuffle", (1, 2, 3, 8), lambda x: x.reshape(1, 2, 3, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(1, 4, 6, 2)
)
