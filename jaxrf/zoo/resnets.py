"""ResNets, ResNeXts and wide ResNets: stride in the 3x3 convolution and symmetric padding, as torchvision has them."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import KAIMING_FAN_OUT, ConvNorm, Head, Layer, MaxPool, blocks, chain
from jaxrf.zoo.model import Model, at_least, choose, models

LAYOUTS: dict[int, tuple[bool, tuple[int, int, int, int]]] = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}
"""By depth: whether the blocks are bottlenecks, and how many there are in each stage."""


class Block(nn.Module):
    """A residual block of two 3x3 convolutions, or of a 1x1, a 3x3 and a widening 1x1 one."""

    width: int
    stride: int
    bottleneck: bool
    padding: str
    dilation: int = 1
    groups: int = 1
    group_width: int = 64

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = partial(ConvNorm, kernel_init=KAIMING_FAN_OUT)
        around = pad(3, self.padding, self.dilation)
        if self.bottleneck:
            features = 4 * self.width
            inner = self.width * self.group_width // 64 * self.groups
            y = conv(inner, 1, name="conv1")(x, train)
            y = conv(inner, 3, self.stride, around, self.groups, self.dilation, name="conv2")(y, train)
            y = conv(features, 1, activation="linear", name="conv3")(y, train)
        else:
            features = self.width
            y = conv(features, 3, self.stride, around, 1, self.dilation, name="conv1")(x, train)
            y = conv(features, 3, 1, around, 1, self.dilation, activation="linear", name="conv2")(y, train)
        if self.stride != 1 or x.shape[-1] != features:
            x = conv(features, 1, self.stride, pad(1, self.padding), activation="linear", name="downsample")(x, train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Modules `stem` (with its pool), `layer1` to `layer4`, `head`; see `resnet`."""

    depth: int
    stages: int
    width: int
    padding: str
    num_classes: int | None
    groups: int = 1
    group_width: int = 64
    dilated: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = stem(self.width, self.padding)(name="stem")(x, train)
        for stage in range(self.stages):
            block = partial(Block, padding=self.padding, groups=self.groups, group_width=self.group_width)
            layers = stage_blocks(block, self.depth, stage, self.width, self.dilated)
            x = layers(name=f"layer{stage + 1}")(x, train)
        if self.num_classes is not None:
            x = Head(self.num_classes, name="head")(x)
        return x


def stem(width: int, padding: str) -> Layer:
    """The 7x7 convolution and the pool, each of stride 2."""
    conv = partial(ConvNorm, width, 7, 2, pad(7, padding), kernel_init=KAIMING_FAN_OUT)
    return chain(("conv1", conv), ("pool1", partial(MaxPool, 3, 2, pad(3, padding))))


def stage_blocks(block: Layer, depth: int, stage: int, width: int, dilated: int) -> Layer:
    """All blocks of one stage; the first of each but stage 0 has stride 2, or what follows it is dilated instead."""
    bottleneck, counts = LAYOUTS[depth]
    finer = max(0, stage + 1 - (4 - dilated))
    block = partial(block, width * 2**stage, bottleneck=bottleneck)
    first = partial(block, 2 if stage and not finer else 1, dilation=2 ** max(0, finer - 1))
    return blocks([first] + [partial(block, 1, dilation=2**finer)] * (counts[stage] - 1))


def pad(kernel: int, style: str, dilation: int = 1) -> str | tuple[tuple[int, int], ...]:
    """The padding of a window on two axes: as many positions on both sides, or XLA's "SAME"."""
    around = kernel // 2 * dilation
    return "SAME" if style == "SAME" else ((around, around),) * 2


def resnet(
    depth: int = 50,
    *,
    stages: int = 4,
    width: int = 64,
    padding: str = "symmetric",
    num_classes: int | None = None,
    groups: int = 1,
    group_width: int = 64,
    dilated: int = 0,
) -> ResNet:
    """A ResNet on images of two spatial axes.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stages: how many of the four stages to build.
        width: features of the stem.
        padding: "symmetric" pads alike on both sides;
            "SAME" pads as Flax does, so that at even sizes each down-sampling shifts the center by half a position.
        num_classes: size of the classifier; without it the network returns the map of its last stage.
        groups: of the 3x3 convolutions of bottlenecks.
        group_width: features of a group of the first stage, where the stem has 64.
        dilated: how many of the last stages keep their resolution; their convolutions are dilated instead; 0 without bottlenecks.

    Returns:
        A module from (batch, height, width, channels) to the last stage's map, or to (batch, num_classes).
        Batch normalization is in evaluation mode unless it is called with `train=True`.

    Source:
        He, Zhang, Ren, Sun (2015), arXiv:1512.03385, table 1; the stride is in the 3x3 convolution as in torchvision.
        Groups: Xie, Girshick, Dollar, Tu, He (2017), arXiv:1611.05431; wide: Zagoruyko, Komodakis (2016),
        arXiv:1605.07146; dilated: Chen, Papandreou, Schroff, Adam (2017), arXiv:1706.05587.

    Example:
        >>> from jaxrf.zoo import resnet18
        >>> resnet18(stages=2).stages
        2
    """
    choose("depth", depth, tuple(LAYOUTS))
    choose("stages", stages, (1, 2, 3, 4))
    choose("padding", padding, ("symmetric", "SAME"))
    at_least("width", width, 1)
    at_least("num_classes", num_classes, 1, optional=True)
    at_least("groups", groups, 1)
    at_least("group_width", group_width, 1)
    choose("dilated", dilated, (0, 1, 2, 3) if LAYOUTS[depth][0] else (0,))
    return ResNet(depth, stages, width, padding, num_classes, groups, group_width, dilated)


for _depth in LAYOUTS:
    models.register(f"resnet{_depth}")(
        Model(partial(resnet, _depth), (224, 224, 3), "He, Zhang, Ren, Sun (2015), arXiv:1512.03385; torchvision")
    )
models.register("resnext50_32x4d")(
    Model(
        partial(resnet, 50, groups=32, group_width=4), (224, 224, 3), "Xie et al. (2017), arXiv:1611.05431; torchvision"
    )
)
models.register("wide_resnet50_2")(
    Model(
        partial(resnet, 50, group_width=128),
        (224, 224, 3),
        "Zagoruyko, Komodakis (2016), arXiv:1605.07146; torchvision",
    )
)
