"""A convolution stack and a ResNet-18 written in Flax NNX; their Linen siblings are in `conv_stacks` and `resnets`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
from flax import nnx

from jaxrf.zoo.conv_stacks import LECUN_NORMAL, check_stack
from jaxrf.zoo.layers import ACTIVATIONS, KAIMING_FAN_OUT, explicit, per_axis
from jaxrf.zoo.model import Model, at_least, choose, models


class ConvStackNNX(nnx.Module):
    """Convolutions `conv_0`, `conv_1`, ... with an activation between each two of them; see `conv_stack_nnx`."""

    def __init__(self, layers: Sequence[nnx.Conv], activation: str):
        self.depth = len(layers)
        self.activation = activation
        for i, conv in enumerate(layers):
            setattr(self, f"conv_{i}", conv)

    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.depth):
            x = getattr(self, f"conv_{i}")(ACTIVATIONS[self.activation](x) if i else x)
        return x


def conv_stack_nnx(
    depth: int = 10,
    kernel: int | Sequence[int] = 3,
    width: int = 32,
    activation: str = "relu",
    dilation: int | Sequence[int] = 1,
    stride: int = 1,
    use_bias: bool = False,
    padding: str = "SAME",
    rank: int = 2,
    kernel_init: Callable[..., jax.Array] = LECUN_NORMAL,
    in_features: int = 3,
    seed: int = 0,
) -> ConvStackNNX:
    """A stack of equal convolutions in NNX; the options of `conv_stack`, and those that NNX needs at once.

    Args:
        depth: number of layers.
        kernel: size of every kernel; one number, or one per spatial axis.
        width: number of features of every layer.
        activation: name of the activation between layers, as in `conv_stack`.
        dilation: of every layer, or a sequence of one per layer.
        stride: of every layer.
        use_bias: whether the layers have a bias.
        padding: of every layer, as in `conv_stack`.
        rank: number of spatial axes.
        kernel_init: initializer of the kernels.
        in_features: number of features of the input.
        seed: of the random parameters, which NNX makes with the module.

    Returns:
        A module from (batch, *spatial, in_features) to (batch, *spatial, width).

    Source:
        Luo, Li, Urtasun, Zemel (2016), section 2.

    Example:
        >>> from jaxrf.zoo import conv_stack_nnx
        >>> conv_stack_nnx(depth=2, width=4).conv_1.kernel.shape
        (3, 3, 4, 4)
    """
    check_stack(depth, kernel, width, activation, dilation, stride, padding, rank)
    at_least("in_features", in_features, 1)
    dilations, rngs = per_axis(dilation, depth), nnx.Rngs(seed)
    layers = [
        nnx.Conv(
            width if i else in_features,
            width,
            per_axis(kernel, rank),
            strides=stride,
            padding=padding,
            kernel_dilation=dilations[i],
            use_bias=use_bias,
            kernel_init=kernel_init,
            rngs=rngs,
        )
        for i in range(depth)
    ]
    return ConvStackNNX(layers, activation)


class ConvNormNNX(nnx.Module):
    """A convolution with symmetric padding, then batch normalization."""

    def __init__(self, inputs: int, features: int, kernel: int, stride: int, rngs: nnx.Rngs):
        pads = ((kernel // 2, kernel // 2),) * 2
        size = (kernel, kernel)
        make = partial(nnx.Conv, strides=stride, padding=pads, use_bias=False, kernel_init=KAIMING_FAN_OUT)
        self.conv = make(inputs, features, size, rngs=rngs)
        self.norm = nnx.BatchNorm(features, use_running_average=True, epsilon=1e-5, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))


class StemNNX(nnx.Module):
    """The 7x7 convolution and the max-pool, each of stride 2."""

    def __init__(self, inputs: int, features: int, rngs: nnx.Rngs):
        self.conv1 = ConvNormNNX(inputs, features, 7, 2, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.max_pool(nnx.relu(self.conv1(x)), (3, 3), (2, 2), explicit(1, rank=2))


class BlockNNX(nnx.Module):
    """A residual block of two 3x3 convolutions."""

    def __init__(self, inputs: int, features: int, stride: int, rngs: nnx.Rngs):
        self.conv1 = ConvNormNNX(inputs, features, 3, stride, rngs)
        self.conv2 = ConvNormNNX(features, features, 3, 1, rngs)
        self.widens = stride != 1 or inputs != features
        if self.widens:
            self.downsample = ConvNormNNX(inputs, features, 1, stride, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.conv2(nnx.relu(self.conv1(x)))
        return nnx.relu(y + (self.downsample(x) if self.widens else x))


class StageNNX(nnx.Module):
    """Two residual blocks of one resolution."""

    def __init__(self, inputs: int, features: int, stride: int, rngs: nnx.Rngs):
        self.block_0 = BlockNNX(inputs, features, stride, rngs)
        self.block_1 = BlockNNX(features, features, 1, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.block_1(self.block_0(x))


class ResNet18NNX(nnx.Module):
    """Modules `stem` (with its pool), `layer1` to `layer4`, `head`; see `resnet18_nnx`."""

    def __init__(self, stages: int, width: int, num_classes: int | None, in_features: int, rngs: nnx.Rngs):
        self.stages = stages
        self.stem = StemNNX(in_features, width, rngs)
        for stage in range(stages):
            inputs = width * 2 ** max(0, stage - 1)
            setattr(self, f"layer{stage + 1}", StageNNX(inputs, width * 2**stage, 2 if stage else 1, rngs))
        self.classifies = num_classes is not None
        if num_classes is not None:
            self.head = nnx.Linear(width * 2 ** (stages - 1), num_classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.stem(x)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.head(x.mean(axis=(1, 2))) if self.classifies else x


def resnet18_nnx(
    *, stages: int = 4, width: int = 64, num_classes: int | None = None, in_features: int = 3, seed: int = 0
) -> ResNet18NNX:
    """ResNet-18 in NNX, with the layer names of `resnet18`.

    Args:
        stages: how many of the four stages to build.
        width: features of the stem.
        num_classes: size of the classifier; without it the network returns the map of its last stage.
        in_features: number of features of the input.
        seed: of the random parameters, which NNX makes with the module.

    Returns:
        A module from (batch, height, width, in_features) to the last stage's map, or to (batch, num_classes).
        Batch normalization is in evaluation mode until its `train()` is called.

    Source:
        He, Zhang, Ren, Sun (2015), arXiv:1512.03385, table 1.

    Example:
        >>> from jaxrf.zoo import resnet18_nnx
        >>> resnet18_nnx(stages=1, width=4).layer1.block_0.conv1.conv.kernel.shape
        (3, 3, 4, 4)
    """
    choose("stages", stages, (1, 2, 3, 4))
    at_least("width", width, 1)
    at_least("in_features", in_features, 1)
    at_least("num_classes", num_classes, 1, optional=True)
    return ResNet18NNX(stages, width, num_classes, in_features, nnx.Rngs(seed))


models.register("conv_stack_nnx")(Model(conv_stack_nnx, (64, 64, 3), "Luo et al. (2016), arXiv:1701.04128, section 2"))
models.register("resnet18_nnx")(Model(resnet18_nnx, (224, 224, 3), "He et al. (2015), arXiv:1512.03385; torchvision"))
