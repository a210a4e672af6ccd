"""MobileNet-V2 and V3: inverted residual blocks with depthwise convolutions."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import ACTIVATIONS, KAIMING_FAN_OUT, Chain, ConvNorm, InvertedResidual, Layer, network
from jaxrf.zoo.model import Model, choose, models

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

V3_LARGE = (
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_swish", 2),
    (3, 200, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 480, 112, True, "hard_swish", 1),
    (3, 672, 112, True, "hard_swish", 1),
    (5, 672, 160, True, "hard_swish", 2),
    (5, 960, 160, True, "hard_swish", 1),
    (5, 960, 160, True, "hard_swish", 1),
)
"""Kernel, expanded features, features, gate, activation, stride (table 1 of the paper)."""
V3_SMALL = (
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hard_swish", 2),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 120, 48, True, "hard_swish", 1),
    (5, 144, 48, True, "hard_swish", 1),
    (5, 288, 96, True, "hard_swish", 2),
    (5, 576, 96, True, "hard_swish", 1),
    (5, 576, 96, True, "hard_swish", 1),
)
"""The same, table 2."""
V3_KINDS = {"mobilenet_v3_large": (V3_LARGE, 1280), "mobilenet_v3_small": (V3_SMALL, 1024)}
"""Layout, and features of the classifier's hidden layer."""


def rounded(features: float) -> int:
    """The multiple of eight nearest to a number of features, and never less than nine tenths of it."""
    nearest = max(8, int(features + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * features else nearest + 8


def mobilenet_v2(width: float = 1.0, num_classes: int | None = None) -> Chain:
    """MobileNet-V2 on images of two spatial axes: modules `stem`, `block_0` to `block_16`, `conv_last`, `head`.

    Args:
        width: factor of the number of features.
        num_classes: size of the classifier; without it the network returns the map of `conv_last`.

    Source:
        Sandler, Howard, Zhu, Zhmoginov, Chen (2018), arXiv:1801.04381, table 2; symmetric padding as in torchvision.

    Example:
        >>> from jaxrf.zoo import mobilenet_v2
        >>> len(mobilenet_v2(num_classes=1000).layers)
        20
    """
    conv = partial(ConvNorm, activation="relu6", kernel_init=KAIMING_FAN_OUT)
    features, blocks = rounded(32 * width), []
    stem = partial(conv, features, 3, 2, 1)
    for expansion, out, count, first_stride in LAYOUT:
        for stride in (first_stride, *[1] * (count - 1)):
            wide, features = expansion * features, rounded(out * width)
            blocks.append((f"block_{len(blocks)}", partial(InvertedResidual, features, wide, stride=stride)))
    last = partial(conv, rounded(1280 * max(1.0, width)), 1)
    return network([("stem", stem), *blocks, ("conv_last", last)], num_classes)


models.register("mobilenet_v2")(
    Model(mobilenet_v2, (224, 224, 3), "Sandler et al. (2018), arXiv:1801.04381; torchvision")
)


class HiddenHead(nn.Module):
    """A classifier: the mean over all positions, a dense layer with hard swish, another dense layer."""

    num_classes: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        dense = partial(nn.Dense, kernel_init=nn.initializers.normal(0.01))
        y = dense(self.hidden, name="hidden")(x.mean(axis=tuple(range(1, x.ndim - 1))))
        return dense(self.num_classes, name="dense")(ACTIVATIONS["hard_swish"](y))


def mobilenet_v3(kind: str = "mobilenet_v3_large", *, width: float = 1.0, num_classes: int | None = None) -> Chain:
    """MobileNet-V3: modules `stem`, `block_0`, `block_1`, ..., `conv_last`, `head`.

    There is no dropout. The gates see the whole map, and so do all layers behind the first of them.

    Args:
        kind: "mobilenet_v3_large" or "mobilenet_v3_small".
        width: factor of the number of features.
        num_classes: size of the classifier; without it the network returns the map of `conv_last`.

    Source:
        Howard et al. (2019), arXiv:1905.02244, tables 1 and 2; padding as in torchvision.

    Example:
        >>> from jaxrf.zoo import mobilenet_v3_small
        >>> len(mobilenet_v3_small().layers)
        13
    """
    choose("kind", kind, tuple(V3_KINDS))
    layout, hidden = V3_KINDS[kind]
    conv = partial(ConvNorm, activation="hard_swish", epsilon=1e-3, kernel_init=KAIMING_FAN_OUT)
    layers: list[tuple[str, Layer]] = [("stem", partial(conv, rounded(16 * width), 3, 2, 1))]
    for i, (kernel, expanded, features, gated, activation, stride) in enumerate(layout):
        wide = rounded(expanded * width)
        block = partial(
            InvertedResidual, rounded(features * width), wide, kernel, stride, rounded(wide // 4) if gated else 0,
            activation=activation, gate=("relu", "hard_sigmoid"), epsilon=1e-3,
        )  # fmt: skip
        layers.append((f"block_{i}", block))
    layers.append(("conv_last", partial(conv, 6 * rounded(layout[-1][2] * width), 1)))
    return network(layers, num_classes, partial(HiddenHead, hidden=hidden))


for _kind in V3_KINDS:
    models.register(_kind)(
        Model(partial(mobilenet_v3, _kind), (224, 224, 3), "Howard et al. (2019), arXiv:1905.02244; torchvision")
    )
