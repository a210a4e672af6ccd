"""Small U-Nets: the networks whose fields depend on the phase of a unit."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.errors import InputError
from jaxrf.zoo.layers import ConvNorm, MaxPool
from jaxrf.zoo.model import Model, at_least, choose, models

UP = ("transposed", "nearest", "bilinear")


class DoubleConv(nn.Module):
    """Two convolutions of equal width, each with a bias and a ReLU.

    Flax's "SAME" pads an even kernel by (kernel - 1) // 2 before and by kernel // 2 after.
    """

    features: int
    kernel: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = ConvNorm(self.features, self.kernel, norm=False, name="conv_0")(x)
        return ConvNorm(self.features, self.kernel, norm=False, name="conv_1")(x)


class Upsample(nn.Module):
    """A finer map: by a transposed convolution without overlap, or by resizing."""

    features: int
    factor: int
    up: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rank = x.ndim - 2
        if self.up == "transposed":
            return nn.ConvTranspose(self.features, (self.factor,) * rank, (self.factor,) * rank, name="conv")(x)
        shape = (x.shape[0], *(self.factor * size for size in x.shape[1:-1]), x.shape[-1])
        return jax.image.resize(x, shape, self.up)


class UNet(nn.Module):
    """Modules `down_i`, `pool_i`, `bottom`, `upsample_i`, `up_i`, `head`; level i = 0 is the finest; see `unet`."""

    depth: int
    width: int
    kernel: int
    up: str
    pool: int
    channels: int | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        check_extent(x.shape[1:-1], self.depth, self.pool)
        skips = []
        for level in range(self.depth):
            x = DoubleConv(self.width * 2**level, self.kernel, name=f"down_{level}")(x)
            skips.append(x)
            x = MaxPool(self.pool, self.pool, "VALID", name=f"pool_{level}")(x)
        x = DoubleConv(self.width * 2**self.depth, self.kernel, name="bottom")(x)
        for level in reversed(range(self.depth)):
            features = self.width * 2**level
            x = Upsample(features, self.pool, self.up, name=f"upsample_{level}")(x)
            x = jnp.concatenate([skips[level], x], axis=-1)
            x = DoubleConv(features, self.kernel, name=f"up_{level}")(x)
        if self.channels is None:
            return x
        return ConvNorm(self.channels, 1, norm=False, activation="linear", name="head")(x)


def check_extent(extent: tuple[int, ...], depth: int, pool: int) -> None:
    """Raise an InputError unless the pools divide the input evenly; else the maps that are concatenated differ."""
    multiple = pool**depth
    if any(size % multiple or not size for size in extent):
        raise InputError(
            f"A U-Net of depth {depth} with pool={pool} cannot take an input of {extent} positions. "
            f"Each spatial axis needs a multiple of {multiple}."
        )


def unet(
    depth: int = 3,
    width: int = 16,
    kernel: int = 3,
    up: str = "transposed",
    pool: int = 2,
    channels: int | None = 1,
) -> UNet:
    """A U-Net on any number of spatial axes, without normalization.

    Each of `depth` levels has two convolutions and a max-pool on the way down; two convolutions are at the bottom;
    on the way up each level has an up-sampling, the concatenation with its own map and two convolutions.

    Args:
        depth: number of poolings.
        width: features of the finest level; each coarser one has twice as many.
        kernel: size of the convolutions; even kernels pad (kernel - 1) // 2 before and kernel // 2 after.
        up: "transposed" (a transposed convolution of size and stride `pool`), "nearest" or "bilinear".
        pool: factor between two levels.
        channels: features of the final 1x1 convolution; None leaves it out.

    Returns:
        A module from (batch, *spatial, features) to (batch, *spatial, channels).
        Called on axes that are not a multiple of `pool**depth` it raises an InputError.

    Source:
        Ronneberger, Fischer, Brox (2015), arXiv:1505.04597, figure 1, with padding.

    Example:
        >>> from jaxrf.zoo import unet
        >>> unet(depth=2, up="nearest").up
        'nearest'
    """
    for option, value in {"depth": depth, "width": width, "kernel": kernel, "pool": pool}.items():
        at_least(option, value, 1)
    choose("up", up, UP)
    at_least("channels", channels, 1, optional=True)
    return UNet(depth, width, kernel, up, pool, channels)


models.register("unet")(Model(unet, (64, 64, 1), "Ronneberger, Fischer, Brox (2015), arXiv:1505.04597, with padding"))
