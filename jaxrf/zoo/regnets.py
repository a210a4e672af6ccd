"""RegNetY: residual bottlenecks of grouped convolutions with gates."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import KAIMING_FAN_OUT, Chain, ConvNorm, Head, SqueezeExcite, blocks, network
from jaxrf.zoo.model import Model, at_least, choose, models

KINDS = {
    "regnet_y_400mf": (8, (48, 104, 208, 440), (1, 3, 6, 6)),
    "regnet_y_800mf": (16, (64, 144, 320, 784), (1, 3, 8, 2)),
    "regnet_y_3_2gf": (24, (72, 216, 576, 1512), (2, 5, 13, 1)),
}
"""Features of a group, and features and blocks of each stage."""


class Block(nn.Module):
    """A 1x1, a grouped 3x3 with a gate behind it, and a 1x1 convolution, added to the input."""

    features: int
    stride: int
    group: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = partial(ConvNorm, self.features, kernel_init=KAIMING_FAN_OUT)
        squeezed = max(1, round(0.25 * x.shape[-1]))
        y = conv(1, name="conv1")(x, train)
        y = conv(3, self.stride, 1, groups=self.features // self.group, name="conv2")(y, train)
        y = SqueezeExcite(squeezed, name="gate")(y, train)
        y = conv(1, activation="linear", name="conv3")(y, train)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = conv(1, self.stride, 0, activation="linear", name="downsample")(x, train)
        return nn.relu(x + y)


def regnet(
    kind: str = "regnet_y_400mf",
    *,
    widths: tuple[int, ...] | None = None,
    depths: tuple[int, ...] | None = None,
    group: int | None = None,
    num_classes: int | None = None,
) -> Chain:
    """A RegNetY: modules `stem`, `stage1` to `stage4`, `head`; each stage halves the resolution.

    The gates see the whole map, and so do all layers behind the first of them.

    Args:
        kind: "regnet_y_400mf", "regnet_y_800mf" or "regnet_y_3_2gf".
        widths: features of each stage; the kind's own where None.
        depths: number of blocks of each stage; the kind's own where None.
        group: features of a group of the 3x3 convolutions; the kind's own where None.
        num_classes: size of the classifier; without it the network returns the map of its last stage.

    Source:
        Radosavovic, Kosaraju, Girshick, He, Dollar (2020), arXiv:2003.13678; widths and padding as in torchvision.

    Example:
        >>> from jaxrf.zoo import regnet_y_400mf
        >>> len(regnet_y_400mf().layers)
        5
    """
    choose("kind", kind, tuple(KINDS))
    own_group, own_widths, own_depths = KINDS[kind]
    group = own_group if group is None else group
    at_least("group", group, 1)
    layers = [("stem", partial(ConvNorm, 32, 3, 2, 1, kernel_init=KAIMING_FAN_OUT))]
    for i, (features, count) in enumerate(zip(widths or own_widths, depths or own_depths, strict=True), 1):
        layers.append((f"stage{i}", blocks(partial(Block, features, 1 if j else 2, group) for j in range(count))))
    return network(layers, num_classes, partial(Head, kernel_init=nn.initializers.normal(0.01)))


for _kind in KINDS:
    models.register(_kind)(
        Model(partial(regnet, _kind), (224, 224, 3), "Radosavovic et al. (2020), arXiv:2003.13678; torchvision")
    )
