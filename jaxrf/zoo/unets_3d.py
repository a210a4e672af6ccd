"""The 3-D U-Net for volumes, with convolutions that do not pad."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.errors import InputError
from jaxrf.zoo.layers import ConvNorm, MaxPool
from jaxrf.zoo.model import Model, at_least, models

conv = partial(ConvNorm, kernel=3, padding="VALID")


class UNet3D(nn.Module):
    """Modules `down_i_1`, `down_i_2`, `pool_i`, `upsample_i`, `up_i_1`, `up_i_2`, `head`; see `unet_3d`."""

    depth: int
    width: int
    norm: bool
    channels: int | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        check_extent(x.shape[1:-1], self.depth)
        skips = []
        for level in range(self.depth + 1):
            features = self.width * 2**level
            x = conv(features, norm=self.norm, name=f"down_{level}_1")(x, train)
            x = conv(2 * features, norm=self.norm, name=f"down_{level}_2")(x, train)
            if level < self.depth:
                skips.append(x)
                x = MaxPool(2, 2, "VALID", name=f"pool_{level}")(x, train)
        for level in reversed(range(self.depth)):
            size, features = (2,) * (x.ndim - 2), 2 * self.width * 2**level
            x = nn.ConvTranspose(x.shape[-1], size, size, use_bias=False, name=f"upsample_{level}")(x)
            x = jnp.concatenate([cropped(skips[level], x.shape), x], axis=-1)
            x = conv(features, norm=self.norm, name=f"up_{level}_1")(x, train)
            x = conv(features, norm=self.norm, name=f"up_{level}_2")(x, train)
        if self.channels is None:
            return x
        return conv(self.channels, kernel=1, norm=False, activation="linear", name="head")(x, train)


def cropped(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The middle of a map, as large as one of that shape."""
    starts = [(have - want) // 2 for have, want in zip(x.shape[1:-1], shape[1:-1], strict=True)]
    return x[(slice(None), *(slice(a, a + n) for a, n in zip(starts, shape[1:-1], strict=True)))]


def check_extent(extent: tuple[int, ...], depth: int) -> None:
    """Raise an InputError unless every pool divides its map, and something is left in the end."""
    for size in extent:
        left = size
        for level in range(depth + 1):
            left -= 4
            if left < 1 or (level < depth and left % 2):
                raise InputError(
                    f"A 3-D U-Net of depth {depth} cannot take an input of {extent} positions: "
                    f"at level {level} an axis has {left}, and its pool needs an even number above 0."
                )
            left = left // 2 if level < depth else left
        for _ in range(depth):
            left = 2 * left - 4
        if left < 1:
            raise InputError(f"An input of {extent} positions is too small for a 3-D U-Net of depth {depth}.")


def unet_3d(depth: int = 3, *, width: int = 32, norm: bool = True, channels: int | None = 3) -> UNet3D:
    """A 3-D U-Net: on the way down each level has two convolutions and a pool, on the way up the same mirrored.

    Args:
        depth: number of pools.
        width: features of the first convolution; the second of each level has twice as many.
        norm: whether batch normalization stands before each ReLU; else the convolutions have a bias.
        channels: features of the final 1x1x1 convolution; None leaves it out.

    Returns:
        A module from (batch, *spatial, features) to (batch, *spatial, channels), 88 positions less on each axis.
        It also takes images of one or two spatial axes.
        Called on axes that its pools cannot halve it raises an InputError.

    Source:
        Cicek, Abdulkadir, Lienkamp, Brox, Ronneberger (2016), arXiv:1606.06650, figure 2 and section 3.

    Example:
        >>> from jaxrf.zoo import unet_3d
        >>> unet_3d.input_shape
        (132, 132, 116, 3)
    """
    at_least("depth", depth, 1)
    at_least("width", width, 1)
    at_least("channels", channels, 1, optional=True)
    return UNet3D(depth, width, norm, channels)


models.register("unet_3d")(Model(unet_3d, (132, 132, 116, 3), "Cicek et al. (2016), arXiv:1606.06650"))
