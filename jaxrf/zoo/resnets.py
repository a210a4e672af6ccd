"""ResNets with the stride in the 3x3 convolution and symmetric padding, as torchvision has them."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import KAIMING_FAN_OUT, ConvNorm, Head, Layer, MaxPool, chain
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

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = partial(ConvNorm, kernel_init=KAIMING_FAN_OUT)
        around = pad(3, self.padding)
        if self.bottleneck:
            features = 4 * self.width
            y = conv(self.width, 1, name="conv1")(x, train)
            y = conv(self.width, 3, self.stride, around, name="conv2")(y, train)
            y = conv(features, 1, activation="linear", name="conv3")(y, train)
        else:
            features = self.width
            y = conv(self.width, 3, self.stride, around, name="conv1")(x, train)
            y = conv(features, 3, 1, around, activation="linear", name="conv2")(y, train)
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

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = stem(self.width, self.padding)(name="stem")(x, train)
        for stage in range(self.stages):
            blocks = stage_blocks(self.depth, stage, self.width, self.padding)
            x = blocks(name=f"layer{stage + 1}")(x, train)
        if self.num_classes is not None:
            x = Head(self.num_classes, name="head")(x)
        return x


def stem(width: int, padding: str) -> Layer:
    """The 7x7 convolution and the pool, each of stride 2."""
    conv = partial(ConvNorm, width, 7, 2, pad(7, padding), kernel_init=KAIMING_FAN_OUT)
    return chain(("conv1", conv), ("pool1", partial(MaxPool, 3, 2, pad(3, padding))))


def stage_blocks(depth: int, stage: int, width: int, padding: str) -> Layer:
    """All blocks of one resolution; the first of each stage but stage 0 has stride 2."""
    bottleneck, counts = LAYOUTS[depth]
    block = partial(Block, width * 2**stage, bottleneck=bottleneck, padding=padding)
    strides = [2 if stage and i == 0 else 1 for i in range(counts[stage])]
    return chain(*((f"block_{i}", partial(block, stride)) for i, stride in enumerate(strides)))


def pad(kernel: int, style: str) -> str | tuple[tuple[int, int], ...]:
    """The padding of a window on two axes: as many positions on both sides, or XLA's "SAME"."""
    return "SAME" if style == "SAME" else ((kernel // 2, kernel // 2),) * 2


def resnet(
    depth: int = 50,
    *,
    stages: int = 4,
    width: int = 64,
    padding: str = "symmetric",
    num_classes: int | None = None,
) -> ResNet:
    """A ResNet on images of two spatial axes.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stages: how many of the four stages to build.
        width: features of the stem.
        padding: "symmetric" pads alike on both sides;
            "SAME" pads as Flax does, so that at even sizes each down-sampling shifts the center by half a position.
        num_classes: size of the classifier; without it the network returns the map of its last stage.

    Returns:
        A module from (batch, height, width, channels) to the last stage's map, or to (batch, num_classes).
        Batch normalization is in evaluation mode unless it is called with `train=True`.

    Raises:
        InputError: for an option that is not known.

    Source:
        He, Zhang, Ren, Sun (2015), arXiv:1512.03385, table 1; the stride is in the 3x3 convolution as in torchvision.

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
    return ResNet(depth, stages, width, padding, num_classes)


for _depth in LAYOUTS:
    models.register(f"resnet{_depth}")(
        Model(partial(resnet, _depth), (224, 224, 3), "He, Zhang, Ren, Sun (2015), arXiv:1512.03385; torchvision")
    )
