"""Models that are run in pieces, with their weights drawn."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import jaxrf


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


class WaveNet(nn.Module):
    """Gated causal convolutions of doubling dilation, with skips."""

    depth: int = 6
    width: int = 4

    @nn.compact
    def __call__(self, x):
        x, skips = nn.Conv(self.width, (1,))(x), 0.0
        for level in range(self.depth):

            def conv(name, x=x, level=level):
                return nn.Conv(self.width, (2,), kernel_dilation=2**level, padding="CAUSAL", name=f"{name}_{level}")(x)

            z = nn.tanh(conv("filter")) * nn.sigmoid(conv("gate"))
            skips = skips + nn.Dense(self.width, name=f"skip_{level}")(z)
            x = x + nn.Dense(self.width, name=f"out_{level}")(z)
        return nn.Dense(2, name="head")(nn.relu(skips))


class Codec(nn.Module):
    """An encoder of strides whose product is 512, and a decoder of transposed convolutions."""

    strides: tuple[int, ...] = (2, 4, 8, 8)
    width: int = 3

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (7,))(x)
        for i, stride in enumerate(self.strides):
            x = x + nn.Conv(self.width, (7,), name=f"residual_{i}")(nn.elu(x))
            x = nn.Conv(self.width, (2 * stride,), stride, name=f"down_{i}")(nn.elu(x))
        x = jaxrf.tap(nn.Conv(self.width, (3,), name="code")(x), "codes")
        for i, stride in enumerate(reversed(self.strides)):
            x = nn.ConvTranspose(self.width, (2 * stride,), (stride,), name=f"up_{i}")(nn.elu(x))
            x = x + nn.Conv(self.width, (7,), name=f"mend_{i}")(nn.elu(x))
        return nn.Conv(1, (7,), name="last")(x)


class Subsampling(nn.Module):
    """The front of a Conformer: two strided convolutions over time and frequency, then a dense layer for each frame."""

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = nn.relu(nn.Conv(3, (3, 3), 2, padding="VALID", name=f"conv_{i}")(x))
        return nn.Dense(5, name="frames")(x.reshape(*x.shape[:2], -1))
