"""Windows that are moved: pads, slices, concatenations, reversals."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from tests.primitives.case import case, positive
from tests.primitives.families.convolution import conv

case("pad", (1, 5, 3), lambda x: lax.pad(x, 0.0, ((0, 0, 0), (2, 1, 0), (0, 0, 0))))
case("pad interior", (1, 5, 3), lambda x: lax.pad(x, 0.0, ((0, 0, 0), (2, 1, 2), (1, 0, 1))))
case("pad negative", (1, 7, 3), lambda x: lax.pad(x, 0.0, ((0, 0, 0), (-2, 1, 0), (0, -1, 0))))
case("pad interior and negative", (1, 5, 3), lambda x: lax.pad(x, 0.0, ((0, 0, 0), (-2, -1, 2), (0, 0, 0))))
case("pad with a tangent", (1, 5), lambda x: lax.pad(x, x.sum(), ((0, 0, 0), (2, 1, 1))))
case("slice", (1, 9, 3), lambda x: x[:, 1:8:3, 1:])
case("slice of nothing", (1, 5), lambda x: jnp.concatenate([x[:, 2:2], x], 1))
case("slice to nothing", (1, 5, 3), lambda x: jnp.concatenate([x, jnp.tanh(2 * x[:, 4:1])], 1).sum(2))
case("concatenate with an empty part", (1, 5, 4), lambda x: jnp.concatenate([x[:, :, 4:], x * 2, x[:, :, :0]], 2))
case("roll by nothing", (1, 5, 7), lambda x: jnp.roll(x, (0, 3), (1, 2)))
case("split with an empty part", (1, 7, 3), lambda x: jnp.split(x, [0, 4, 4], 1)[1] * jnp.split(x, [3, 3], 1)[2])
case("an empty part through every layer", (1, 6, 4), lambda x: x[:, 1:] + jnp.pad(
    conv(jnp.tanh(x[:, :0].reshape(1, 0, 2, 2).sum(3)), positive(1, 2, 4), (2,)), ((0, 0), (2, 3), (0, 0))))  # fmt: skip
case("rev", (1, 5, 3), lambda x: x[:, ::-1])
case("rev of two axes", (1, 5, 7), lambda x: lax.rev(x, (1, 2)))
case("concatenate", (1, 5, 3), lambda x: jnp.concatenate([x[:, 1:3], 2 * x, x[:, :1]], 1))
case("roll", (1, 5, 7), lambda x: jnp.roll(x, (2, -1), (1, 2)))
case("split", (1, 7), lambda x: jnp.multiply(*jnp.split(x[:, :6], 2, 1)))
case("stack", (1, 5), lambda x: jnp.stack([x, 2 * x[:, ::-1]], 1))
case("unstack", (1, 3, 5), lambda x: jnp.unstack(x, axis=1)[1])
case("tile", (1, 3, 2), lambda x: jnp.tile(x, (1, 2, 3)))
case("cumsum", (1, 5, 3), lambda x: jnp.cumsum(x, 1))
case("cumsum reverse", (1, 5, 3), lambda x: lax.cumsum(x, 1, reverse=True))
for mode in ("edge", "reflect", "symmetric", "wrap"):
    case(f"jnp.pad {mode}", (1, 5, 4), lambda x, mode=mode: jnp.pad(x, ((0, 0), (2, 1), (0, 2)), mode))
