"""VAN: attention as a product with a large kernel that is split into a small, a dilated and a 1x1 convolution."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import (
    ACTIVATIONS,
    KAIMING_FAN_IN,
    KAIMING_FAN_OUT,
    TRUNCATED_NORMAL,
    Chain,
    Head,
    Layer,
    LayerScale,
    Norm,
    chain,
    network,
)
from jaxrf.zoo.model import Model, at_least, choose, models

KINDS = {
    "van_b0": ((32, 64, 160, 256), (3, 3, 5, 2)),
    "van_b1": ((64, 128, 320, 512), (2, 2, 4, 2)),
    "van_b2": ((64, 128, 320, 512), (3, 3, 12, 3)),
}
"""Features and number of blocks of each stage."""
RATIOS = (8, 8, 4, 4)
"""How many times the perceptrons of each stage widen."""


def depthwise(features: int, kernel: int, dilation: int = 1, *, name: str) -> nn.Conv:
    """A depthwise convolution with a bias that keeps the extent."""
    return nn.Conv(
        features,
        (kernel, kernel),
        kernel_dilation=dilation,
        feature_group_count=features,
        kernel_init=KAIMING_FAN_IN,
        name=name,
    )


pointwise = partial(nn.Dense, kernel_init=KAIMING_FAN_OUT)


class Attention(nn.Module):
    """A 1x1 convolution, the product with what a kernel of 5 and one of 7 with dilation 3 see, a 1x1 convolution."""

    dilated: int
    dilation: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        features = x.shape[-1]
        y = ACTIVATIONS["gelu"](pointwise(features, name="conv1")(x))
        gate = depthwise(features, 5, name="near")(y)
        gate = depthwise(features, self.dilated, self.dilation, name="far")(gate)
        y = y * pointwise(features, name="mix")(gate)
        return x + pointwise(features, name="conv2")(y)


class Perceptron(nn.Module):
    """A perceptron with a depthwise 3x3 convolution in its middle."""

    wide: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = depthwise(self.wide, 3, name="spread")(pointwise(self.wide, name="expand")(x))
        return pointwise(x.shape[-1], name="project")(ACTIVATIONS["gelu"](y))


class Block(nn.Module):
    """Attention and a perceptron, each behind batch normalization, scaled and added to its input."""

    ratio: int
    dilated: int
    dilation: int
    layer_scale: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = partial(nn.BatchNorm, not train, epsilon=1e-5)
        y = Attention(self.dilated, self.dilation, name="attention")(norm(name="norm1")(x), train)
        x = x + LayerScale(self.layer_scale, name="scale1")(y, train)
        y = Perceptron(self.ratio * x.shape[-1], name="perceptron")(norm(name="norm2")(x), train)
        return x + LayerScale(self.layer_scale, name="scale2")(y, train)


class Embed(nn.Module):
    """A convolution that makes the map coarser, and batch normalization."""

    features: int
    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        size, around = (self.kernel,) * 2, self.kernel // 2
        x = nn.Conv(self.features, size, self.stride, padding=around, kernel_init=KAIMING_FAN_OUT, name="conv")(x)
        return nn.BatchNorm(not train, epsilon=1e-5, name="norm")(x)


def van(
    kind: str = "van_b1",
    *,
    dilated: int = 7,
    dilation: int = 3,
    widths: tuple[int, ...] | None = None,
    depths: tuple[int, ...] | None = None,
    layer_scale: float = 1e-2,
    num_classes: int | None = None,
) -> Chain:
    """A visual attention network: modules `stage1` to `stage4`, each with `embed`, blocks and `norm`, and `head`.

    Args:
        kind: "van_b0", "van_b1" or "van_b2".
        dilated: kernel of the dilated convolutions, in taps.
        dilation: of these convolutions, in positions.
        widths: features of each stage; the kind's own where None.
        depths: number of blocks of each stage; the kind's own where None.
        layer_scale: value at which the scales of the residual branches start.
        num_classes: size of the classifier; without it the network returns the map of its last stage.

    Source:
        Guo, Lu, Liu, Cheng, Hu (2022), arXiv:2202.09741, table 2 and figure 3.

    Example:
        >>> from jaxrf.zoo import van_b1
        >>> len(van_b1().layers)
        4
    """
    choose("kind", kind, tuple(KINDS))
    at_least("dilated", dilated, 1)
    at_least("dilation", dilation, 1)
    own_widths, own_depths = KINDS[kind]
    layers: list[tuple[str, Layer]] = []
    for i, (features, count) in enumerate(zip(widths or own_widths, depths or own_depths, strict=True)):
        embed = partial(Embed, features, 3, 2) if i else partial(Embed, features, 7, 4)
        block = partial(Block, RATIOS[i], dilated, dilation, layer_scale)
        stage = chain(
            ("embed", embed), *((f"block_{j}", block) for j in range(count)), ("norm", partial(Norm, "layer"))
        )
        layers.append((f"stage{i + 1}", stage))
    return network(layers, num_classes, partial(Head, kernel_init=TRUNCATED_NORMAL))


for _kind in KINDS:
    models.register(_kind)(Model(partial(van, _kind), (224, 224, 3), "Guo et al. (2022), arXiv:2202.09741"))
