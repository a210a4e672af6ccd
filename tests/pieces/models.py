"""Models that are run in pieces, with their weights drawn."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


def drawn(model: nn.Module, shape: tuple[int, ...], seed: int = 0) -> tuple[Any, np.ndarray]:
    """Variables and one image of a shape."""
    image = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    return jax.jit(model.init)(jax.random.key(seed), image[:, : min(shape[0], 64)]), image


class Generator(nn.Module):
    """Residual-in-residual dense blocks and two nearest upsamplings, as in ESRGAN."""

    blocks: int = 23
    width: int = 4
    growth: int = 2

    @nn.compact
    def __call__(self, x):
        rank = x.ndim - 2

        def conv(x, features):
            return nn.Conv(features, (3,) * rank)(x)

        def dense(x):
            seen = x
            for _ in range(4):
                seen = jnp.concatenate([seen, nn.leaky_relu(conv(seen, self.growth), 0.2)], -1)
            return x + 0.2 * conv(seen, self.width)

        x = first = conv(x, self.width)
        for _ in range(self.blocks):
            inner = x
            for _ in range(3):
                inner = dense(inner)
            x = x + 0.2 * inner
        x = first + conv(x, self.width)
        for _ in range(2):
            for axis in range(1, rank + 1):
                x = jnp.repeat(x, 2, axis)
            x = nn.leaky_relu(conv(x, self.width), 0.2)
        return conv(nn.leaky_relu(conv(x, self.width), 0.2), 1)


class Trunk(nn.Module):
    """Residual stages with strides and Flax's "SAME" padding, which depends on the size."""

    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(nn.relu(nn.Conv(4, (7, 7), 2)(x)), (3, 3), (2, 2), "SAME")
        for stage, stride in enumerate((1, 2, 2)):
            y = nn.relu(nn.Conv(4, (3, 3), stride, name=f"first_{stage}")(x))
            y = nn.Conv(4, (3, 3), name=f"second_{stage}")(y)
            x = nn.relu(y + nn.Conv(4, (1, 1), stride, name=f"skip_{stage}")(x))
        return x
