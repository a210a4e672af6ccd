"""ConvNeXt: depthwise convolutions of a large kernel with layer normalization."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import ACTIVATIONS, TRUNCATED_NORMAL, Layer, NormHead, chain, normalization
from jaxrf.zoo.model import Model, at_least, choose, models

KINDS = {
    "convnext_tiny": (96, (3, 3, 9, 3)),
    "convnext_small": (96, (3, 3, 27, 3)),
    "convnext_base": (128, (3, 3, 27, 3)),
}
"""Features of the first stage, each later one having twice as many, and the number of blocks of each stage."""

init = TRUNCATED_NORMAL


class Block(nn.Module):
    """A depthwise convolution, layer normalization and a two-layer perceptron, scaled and added to the input."""

    kernel: int
    layer_scale: float | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        features = x.shape[-1]
        size = (self.kernel,) * (x.ndim - 2)
        y = nn.Conv(features, size, feature_group_count=features, kernel_init=init, name="depthwise")(x)
        y = normalization("layer", train)(y)
        y = nn.Dense(4 * features, kernel_init=init, name="expand")(y)
        y = nn.Dense(features, kernel_init=init, name="project")(ACTIVATIONS["gelu"](y))
        if self.layer_scale is not None:
            y = y * self.param("scale", nn.initializers.constant(self.layer_scale), (features,))
        return x + y


class Downsample(nn.Module):
    """A convolution whose stride is its size, and a normalization before it or (in the stem) after it."""

    features: int
    size: int
    norm_first: bool
    norm: str = "layer"

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
        normalize = normalization(self.norm, train)
        return conv(normalize(x)) if self.norm_first else normalize(conv(x))


class ConvNeXt(nn.Module):
    """Modules `stem`, `stage1` to `stage4`, `head`; see `convnext`."""

    kernel: int
    layer_scale: float | None
    stages: int
    num_classes: int | None
    width: int
    depths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = Downsample(self.width, 4, False, name="stem")(x)
        block = partial(Block, self.kernel, self.layer_scale)
        for stage, count in enumerate(self.depths[: self.stages]):
            x = stage_blocks(stage, self.width, [block] * count)(name=f"stage{stage + 1}")(x, train)
        if self.num_classes is not None:
            x = NormHead(self.num_classes, name="head")(x)
        return x


def stage_blocks(stage: int, width: float, layers: list[Layer], norm: str = "layer") -> Layer:
    """All blocks of one resolution, behind the down-sampling into it."""
    first = [("downsample", partial(Downsample, int(width * 2**stage), 2, True, norm))] if stage else []
    return chain(*first, *((f"block_{i}", layer) for i, layer in enumerate(layers)))


def convnext(
    kind: str = "convnext_tiny",
    *,
    kernel: int = 7,
    layer_scale: float | None = 1e-6,
    stages: int = 4,
    num_classes: int | None = None,
    width: int | None = None,
    depths: tuple[int, ...] | None = None,
) -> ConvNeXt:
    """A ConvNeXt on images of two spatial axes.

    There is no stochastic depth; `train` changes nothing.

    Args:
        kind: "convnext_tiny", "convnext_small" or "convnext_base".
        kernel: size of the depthwise convolutions, in positions.
        layer_scale: value at which the scale of each residual branch starts; None leaves the scale out.
            At the published 1e-6 an untrained network is nearly its stem and its down-samplings alone.
        stages: how many of the four stages to build.
        num_classes: size of the classifier; without it the network returns the map of its last stage, not normalized.
        width: features of the first stage, each later one having twice as many; the kind's own where None.
        depths: number of blocks of each stage; the kind's own where None.

    Source:
        Liu, Mao, Wu, Feichtenhofer, Darrell, Xie (2022), arXiv:2201.03545, table 9.

    Example:
        >>> from jaxrf.zoo import convnext_tiny
        >>> convnext_tiny(layer_scale=None).kernel
        7
    """
    choose("kind", kind, tuple(KINDS))
    at_least("kernel", kernel, 1)
    choose("stages", stages, (1, 2, 3, 4))
    at_least("num_classes", num_classes, 1, optional=True)
    own_width, own_depths = KINDS[kind]
    width = own_width if width is None else width
    at_least("width", width, 1)
    return ConvNeXt(kernel, layer_scale, stages, num_classes, width, depths or own_depths)


for _kind in KINDS:
    models.register(_kind)(Model(partial(convnext, _kind), (224, 224, 3), "Liu et al. (2022), arXiv:2201.03545"))
