"""Models that are run in pieces, with their weights drawn."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import linen as nn

import jaxrf


def drawn(model: nn.Module, shape: tuple[int, ...], seed: int = 0) -> tuple[Any, np.ndarray]:
    """Variables and one image of a shape."""
    image = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    return jax.jit(model.init)(jax.random.key(seed), image[:, : min(shape[0], 64)]), image


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


class Residual(nn.Module):
    """A dilated convolution of size 7 and one of size 1, with a skip."""

    dilation: int

    @nn.compact
    def __call__(self, x):
        y = nn.Conv(x.shape[-1], (7,), kernel_dilation=self.dilation, name="wide")(nn.elu(x))
        return x + nn.Conv(x.shape[-1], (1,), name="mix")(nn.elu(y))


class Codec(nn.Module):
    """An encoder of strides whose product is 512, and a decoder of transposed convolutions, as in Kumar et al. (2023)."""

    strides: tuple[int, ...] = (2, 4, 8, 8)
    width: int = 2

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (7,), name="first")(x)
        for i, stride in enumerate(self.strides):
            for dilation in (1, 3, 9):
                x = Residual(dilation, name=f"down_{i}_{dilation}")(x)
            x = nn.Conv(self.width, (2 * stride,), stride, name=f"down_{i}")(nn.elu(x))
        x = jaxrf.tap(nn.Conv(self.width, (3,), name="code")(nn.elu(x)), "codes")
        x = nn.Conv(self.width, (7,), name="open")(x)
        for i, stride in enumerate(reversed(self.strides)):
            x = nn.ConvTranspose(self.width, (2 * stride,), (stride,), name=f"up_{i}")(nn.elu(x))
            for dilation in (1, 3, 9):
                x = Residual(dilation, name=f"up_{i}_{dilation}")(x)
        return nn.tanh(nn.Conv(1, (7,), name="last")(nn.elu(x)))


class Subsampling(nn.Module):
    """The front of a Conformer: two strided convolutions over time and frequency, then a dense layer for each frame."""

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = nn.relu(nn.Conv(3, (3, 3), 2, padding="VALID", name=f"conv_{i}")(x))
        return nn.Dense(5, name="frames")(x.reshape(*x.shape[:2], -1))
