"""The generator of ESRGAN: deep residual blocks at the resolution of the input, then upsampling."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.zoo.model import Model, at_least, models

SHARE = 0.2
"""Of a block's result that is added to its input, and the slope of leaky ReLUs."""


class Conv(nn.Module):
    """A convolution of size 3 with a bias, and a leaky ReLU if `activate`."""

    features: int
    activate: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(self.features, (3,) * (x.ndim - 2), name="conv")(x)
        return nn.leaky_relu(x, SHARE) if self.activate else x


class Dense(nn.Module):
    """Five convolutions, each of which sees the input and what the ones before it gave, and a skip."""

    growth: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        seen = x
        for i in range(4):
            seen = jnp.concatenate([seen, Conv(self.growth, activate=True, name=f"conv_{i}")(seen)], -1)
        return x + SHARE * Conv(x.shape[-1], name="conv_4")(seen)


class Block(nn.Module):
    """Three dense blocks and a skip around them: residual in residual."""

    growth: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = x
        for i in range(3):
            y = Dense(self.growth, name=f"dense_{i}")(y)
        return x + SHARE * y


class Esrgan(nn.Module):
    """Modules `first`, `block_i`, `trunk`, `up_i`, `fine`, `last`; see `esrgan`."""

    blocks: int
    width: int
    growth: int
    doublings: int
    channels: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = first = Conv(self.width, name="first")(x)
        for i in range(self.blocks):
            x = Block(self.growth, name=f"block_{i}")(x)
        x = first + Conv(self.width, name="trunk")(x)
        for i in range(self.doublings):
            for axis in range(1, x.ndim - 1):
                x = jnp.repeat(x, 2, axis)
            x = Conv(self.width, activate=True, name=f"up_{i}")(x)
        return Conv(self.channels, name="last")(Conv(self.width, activate=True, name="fine")(x))


def esrgan(blocks: int = 23, width: int = 64, growth: int = 32, doublings: int = 2, channels: int = 3) -> Esrgan:
    """The generator of ESRGAN on any number of spatial axes: residual-in-residual dense blocks, no normalization.

    Args:
        blocks: number of residual-in-residual dense blocks, of three dense ones with five convolutions each.
        width: features between blocks.
        growth: features that each convolution inside of a dense block adds.
        doublings: how often the map is made twice as fine, by nearest upsampling and a convolution.
        channels: features of the output.

    Returns:
        A module from (batch, *spatial, features) to (batch, *spatial * 2**doublings, channels).

    Source:
        Wang et al. (2018), arXiv:1809.00219, figures 3 and 4.

    Example:
        >>> from jaxrf.zoo import esrgan
        >>> esrgan(blocks=2).growth
        32
    """
    for option, value in {"blocks": blocks, "width": width, "growth": growth, "channels": channels}.items():
        at_least(option, value, 1)
    at_least("doublings", doublings, 0)
    return Esrgan(blocks, width, growth, doublings, channels)


models.register("esrgan")(Model(esrgan, (64, 64, 3), "Wang et al. (2018), arXiv:1809.00219"))
