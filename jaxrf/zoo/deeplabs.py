"""DeepLab-v3: a dilated ResNet, and dilated convolutions of several rates side by side (ASPP)."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.zoo.layers import UNIFORM_FAN_IN, Chain, Concat, ConvNorm, Layer, chain
from jaxrf.zoo.model import Model, at_least, choose, models
from jaxrf.zoo.resnets import ResNet, resnet

RATES = (12, 24, 36)

conv = partial(ConvNorm, kernel_init=UNIFORM_FAN_IN)


class ImagePool(nn.Module):
    """The mean of a whole map through a 1x1 convolution, at every position."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = conv(self.features, 1, name="conv")(x.mean(axis=(1, 2), keepdims=True), train)
        return jnp.broadcast_to(y, (*x.shape[:-1], self.features))


def aspp(features: int, rates: tuple[int, ...], image_pool: bool) -> Layer:
    """A 1x1 convolution, a 3x3 one per rate and the image's mean side by side, brought together by a 1x1 one."""
    branches = [("point", partial(conv, features, 1))]
    branches += [(f"rate_{r}", partial(conv, features, 3, padding=r, dilation=r)) for r in rates]
    last = [("image_pool", partial(ImagePool, features))] if image_pool else []
    return chain(
        ("branches", partial(Concat, layers=(*branches, *last))),
        ("project", partial(conv, features, 1)),
    )


def deeplab_v3(
    depth: int = 50,
    *,
    width: int = 64,
    features: int = 256,
    rates: tuple[int, ...] = RATES,
    image_pool: bool = True,
    channels: int | None = 21,
) -> Chain:
    """DeepLab-v3 on a dilated ResNet, without the final resizing: modules `backbone`, `aspp`, `conv`, `classifier`.

    Args:
        depth: of the ResNet: 50, 101 or 152.
        width: features of the ResNet's stem.
        features: of the head.
        rates: dilations of the parallel 3x3 convolutions, in positions of the map.
        image_pool: whether the mean of the whole map stands beside them; with it every unit sees the whole image.
        channels: features of the final 1x1 convolution; None leaves it out.

    Returns:
        A module from (batch, height, width, channels) to a map of an eighth of the resolution.

    Source:
        Chen, Papandreou, Schroff, Adam (2017), arXiv:1706.05587, figure 5; rates and layers as in torchvision.

    Example:
        >>> from jaxrf.zoo import deeplab_v3
        >>> len(deeplab_v3(channels=None).layers)
        3
    """
    resnet(depth, width=width, dilated=2)
    at_least("features", features, 1)
    at_least("channels", channels, 1, optional=True)
    choose("image_pool", image_pool, (True, False))
    layers: list[tuple[str, Layer]] = [
        ("backbone", partial(ResNet, depth, 4, width, "symmetric", None, dilated=2)),
        ("aspp", aspp(features, rates, image_pool)),
        ("conv", partial(conv, features, 3, padding=1)),
    ]
    if channels is not None:
        layers.append(("classifier", partial(conv, channels, 1, norm=False, activation="linear")))
    return Chain(tuple(layers))


models.register("deeplab_v3")(Model(deeplab_v3, (520, 520, 3), "Chen et al. (2017), arXiv:1706.05587; torchvision"))
