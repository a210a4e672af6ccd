"""Causal convolutions on one axis: WaveNet and temporal convolutional networks (TCN)."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.zoo.layers import ConvNorm
from jaxrf.zoo.model import Model, at_least, models

causal = partial(nn.Conv, padding="CAUSAL")


class GatedLayer(nn.Module):
    """A dilated causal convolution, half of whose features gate the others, and 1x1 ones to the next layer and out."""

    dilation: int
    kernel: int
    skipped: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        features = x.shape[-1]
        y = causal(2 * features, (self.kernel,), kernel_dilation=self.dilation, name="conv")(x)
        value, gate = jnp.split(y, 2, axis=-1)
        y = jnp.tanh(value) * nn.sigmoid(gate)
        return x + nn.Dense(features, name="residual")(y), nn.Dense(self.skipped, name="skip")(y)


class WaveNet(nn.Module):
    """Modules `conv`, `layer_0`, `layer_1`, ..., `last1`, `last2`; see `wavenet`."""

    stacks: int
    depth: int
    kernel: int
    width: int
    skipped: int
    channels: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = causal(self.width, (self.kernel,), name="conv")(x)
        total = 0.0
        for i in range(self.stacks * self.depth):
            x, skip = GatedLayer(2 ** (i % self.depth), self.kernel, self.skipped, name=f"layer_{i}")(x)
            total = total + skip
        y = nn.Dense(self.skipped, name="last1")(nn.relu(total))
        return nn.Dense(self.channels, name="last2")(nn.relu(y))


def wavenet(
    stacks: int = 3,
    *,
    depth: int = 10,
    kernel: int = 2,
    width: int = 32,
    skipped: int = 256,
    channels: int = 256,
) -> WaveNet:
    """WaveNet on signals: a position sees itself and `(kernel - 1) * (1 + stacks * (2**depth - 1))` positions before.

    Args:
        stacks: how often the dilations 1, 2, 4, ... are gone through.
        depth: number of layers of a stack.
        kernel: of every causal convolution, in taps.
        width: features of a layer.
        skipped: features of the sum over all layers.
        channels: features of the output, one for each value that a sample may have.

    Returns:
        A module from (batch, time, channels) to (batch, time, channels). The output stands at the last sample it sees;
        as a model of the next sample it is one position earlier than what it predicts.

    Source:
        van den Oord et al. (2016), arXiv:1609.03499, figures 3 and 4, section 2.1. Widths, which it does not say, are
        those of a small public reimplementation.

    Example:
        >>> from jaxrf.zoo import wavenet
        >>> wavenet(depth=3).stacks
        3
    """
    given = {"stacks": stacks, "depth": depth, "kernel": kernel, "width": width}
    for option, value in (given | {"skipped": skipped, "channels": channels}).items():
        at_least(option, value, 1)
    return WaveNet(stacks, depth, kernel, width, skipped, channels)


class TemporalBlock(nn.Module):
    """Two dilated causal convolutions with ReLUs, added to the input."""

    features: int
    kernel: int
    dilation: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = partial(
            ConvNorm, self.features, self.kernel, padding="CAUSAL", dilation=self.dilation, norm=False,
            kernel_init=nn.initializers.normal(0.01),
        )  # fmt: skip
        y = conv(name="conv2")(conv(name="conv1")(x, train), train)
        if x.shape[-1] != self.features:
            x = nn.Dense(self.features, kernel_init=nn.initializers.normal(0.01), name="shortcut")(x)
        return nn.relu(x + y)


class TCN(nn.Module):
    """Modules `level_0`, `level_1`, ..., `head`; see `tcn`."""

    levels: int
    kernel: int
    width: int
    channels: int | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        for i in range(self.levels):
            x = TemporalBlock(self.width, self.kernel, 2**i, name=f"level_{i}")(x, train)
        return x if self.channels is None else nn.Dense(self.channels, name="head")(x)


def tcn(levels: int = 8, *, kernel: int = 7, width: int = 25, channels: int | None = 10) -> TCN:
    """A temporal convolutional network: a position sees `1 + 2 * (kernel - 1) * (2**levels - 1)` positions.

    Args:
        levels: number of residual blocks; the convolutions of each have twice the dilation of the one before.
        kernel: of every causal convolution, in taps.
        width: features of every layer.
        channels: features of the final dense layer; None leaves it out.

    Returns:
        A module from (batch, time, features) to (batch, time, channels).
        There is no dropout, and no weight normalization, which changes how kernels are learned and not what they are.

    Source:
        Bai, Kolter, Koltun (2018), arXiv:1803.01271, figure 1; the network for sequential MNIST of its table 1.

    Example:
        >>> from jaxrf.zoo import tcn
        >>> tcn(levels=4).kernel
        7
    """
    for option, value in {"levels": levels, "kernel": kernel, "width": width}.items():
        at_least(option, value, 1)
    at_least("channels", channels, 1, optional=True)
    return TCN(levels, kernel, width, channels)


models.register("wavenet")(Model(wavenet, (4096, 1), "van den Oord et al. (2016), arXiv:1609.03499"))
models.register("tcn")(Model(tcn, (4096, 1), "Bai, Kolter, Koltun (2018), arXiv:1803.01271"))
