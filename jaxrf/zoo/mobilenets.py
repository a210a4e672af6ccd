"""MobileNet-V2: inverted residual blocks with depthwise convolutions."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import KAIMING_FAN_OUT, ConvNorm, Head
from jaxrf.zoo.model import Model, at_least, models

LAYOUT = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, features, number of blocks, stride of the first one (table 2 of the paper)."""


class InvertedResidual(nn.Module):
    """A widening 1x1, a depthwise 3x3 and a linear narrowing 1x1 convolution; added to the input where shapes allow."""

    features: int
    expansion: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = partial(ConvNorm, activation="relu6", kernel_init=KAIMING_FAN_OUT)
        wide = x.shape[-1] * self.expansion
        y = conv(wide, 1, name="expand")(x, train) if self.expansion != 1 else x
        y = conv(wide, 3, self.stride, 1, groups=0, name="depthwise")(y, train)
        y = conv(self.features, 1, activation="linear", name="project")(y, train)
        return x + y if x.shape == y.shape else y


class MobileNetV2(nn.Module):
    """Modules `stem`, `block_0` to `block_16`, `conv_last`, `head`; see `mobilenet_v2`."""

    width: float
    num_classes: int | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = partial(ConvNorm, activation="relu6", kernel_init=KAIMING_FAN_OUT)
        x = conv(rounded(32 * self.width), 3, 2, 1, name="stem")(x, train)
        index = 0
        for expansion, features, count, first_stride in LAYOUT:
            for i in range(count):
                stride = first_stride if i == 0 else 1
                block = InvertedResidual(rounded(features * self.width), expansion, stride, name=f"block_{index}")
                x = block(x, train)
                index += 1
        x = conv(rounded(1280 * max(1.0, self.width)), 1, name="conv_last")(x, train)
        if self.num_classes is not None:
            x = Head(self.num_classes, name="head")(x)
        return x


def rounded(features: float) -> int:
    """The multiple of eight nearest to a number of features, and never less than nine tenths of it."""
    nearest = max(8, int(features + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * features else nearest + 8


def mobilenet_v2(width: float = 1.0, num_classes: int | None = None) -> MobileNetV2:
    """MobileNet-V2 on images of two spatial axes.

    Args:
        width: factor of the number of features.
        num_classes: size of the classifier; without it the network returns the map of `conv_last`.

    Returns:
        A module from (batch, height, width, channels) to the last map, or to (batch, num_classes).
        Batch normalization is in evaluation mode unless it is called with `train=True`; there is no dropout.

    Raises:
        InputError: for a number of classes below one.

    Source:
        Sandler, Howard, Zhu, Zhmoginov, Chen (2018), arXiv:1801.04381, table 2; symmetric padding as in torchvision.

    Example:
        >>> from jaxrf.zoo import mobilenet_v2
        >>> mobilenet_v2(num_classes=1000).num_classes
        1000
    """
    at_least("num_classes", num_classes, 1, optional=True)
    return MobileNetV2(width, num_classes)


models.register("mobilenet_v2")(
    Model(mobilenet_v2, (224, 224, 3), "Sandler et al. (2018), arXiv:1801.04381; torchvision")
)
