"""ConvNeXt-T: depthwise convolutions of a large kernel with layer normalization."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import ACTIVATIONS, Layer, chain
from jaxrf.zoo.model import Model, at_least, choose, models

BLOCKS = (3, 3, 9, 3)
FEATURES = (96, 192, 384, 768)

norm = partial(nn.LayerNorm, epsilon=1e-6)
init = nn.initializers.truncated_normal(0.02)


class Block(nn.Module):
    """A depthwise convolution, layer normalization and a two-layer perceptron, scaled and added to the input."""

    kernel: int
    layer_scale: float | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        features = x.shape[-1]
        size = (self.kernel,) * (x.ndim - 2)
        y = nn.Conv(features, size, feature_group_count=features, kernel_init=init, name="depthwise")(x)
        y = norm(name="norm")(y)
        y = nn.Dense(4 * features, kernel_init=init, name="expand")(y)
        y = nn.Dense(features, kernel_init=init, name="project")(ACTIVATIONS["gelu"](y))
        if self.layer_scale is not None:
            y = y * self.param("scale", nn.initializers.constant(self.layer_scale), (features,))
        return x + y


class Downsample(nn.Module):
    """A convolution whose stride is its size, and layer normalization before it or (in the stem) after it."""

    features: int
    size: int
    norm_first: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = nn.Conv(
            self.features,
            (self.size,) * (x.ndim - 2),
            strides=self.size,
            padding="VALID",
            kernel_init=init,
            name="conv",
        )
        normalize = norm(name="norm")
        return conv(normalize(x)) if self.norm_first else normalize(conv(x))


class NormHead(nn.Module):
    """A classifier: the mean over all positions, layer normalization, a dense layer."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = norm(name="norm")(x.mean(axis=tuple(range(1, x.ndim - 1))))
        return nn.Dense(self.num_classes, kernel_init=init, name="dense")(x)


class ConvNeXt(nn.Module):
    """Modules `stem`, `stage1` to `stage4`, `head`; see `convnext_tiny`."""

    kernel: int
    layer_scale: float | None
    stages: int
    num_classes: int | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = Downsample(FEATURES[0], 4, False, name="stem")(x)
        for stage in range(self.stages):
            blocks = stage_blocks(stage, self.kernel, self.layer_scale)
            x = blocks(name=f"stage{stage + 1}")(x, train)
        if self.num_classes is not None:
            x = NormHead(self.num_classes, name="head")(x)
        return x


def stage_blocks(stage: int, kernel: int, layer_scale: float | None) -> Layer:
    """All blocks of one resolution, behind the down-sampling into it."""
    block = partial(Block, kernel, layer_scale)
    first = [("downsample", partial(Downsample, FEATURES[stage], 2, True))] if stage else []
    return chain(*first, *((f"block_{i}", block) for i in range(BLOCKS[stage])))


def convnext_tiny(
    kernel: int = 7, layer_scale: float | None = 1e-6, stages: int = 4, num_classes: int | None = None
) -> ConvNeXt:
    """ConvNeXt-T on images of two spatial axes.

    Args:
        kernel: size of the depthwise convolutions, in positions.
        layer_scale: value at which the scale of each residual branch starts; None leaves the scale out.
            At the published 1e-6 an untrained network is nearly its stem and its down-samplings alone.
        stages: how many of the four stages to build.
        num_classes: size of the classifier; without it the network returns the map of its last stage, not normalized.

    Returns:
        A module from (batch, height, width, channels) to the last map, or to (batch, num_classes).
        There is no stochastic depth; `train` changes nothing.

    Raises:
        InputError: for an option that does not fit.

    Source:
        Liu, Mao, Wu, Feichtenhofer, Darrell, Xie (2022), arXiv:2201.03545, table 9.

    Example:
        >>> from jaxrf.zoo import convnext_tiny
        >>> convnext_tiny(layer_scale=None).kernel
        7
    """
    at_least("kernel", kernel, 1)
    choose("stages", stages, (1, 2, 3, 4))
    at_least("num_classes", num_classes, 1, optional=True)
    return ConvNeXt(kernel, layer_scale, stages, num_classes)


models.register("convnext_tiny")(Model(convnext_tiny, (224, 224, 3), "Liu et al. (2022), arXiv:2201.03545"))
