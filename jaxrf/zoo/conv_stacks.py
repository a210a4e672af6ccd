"""Plain stacks of convolutions: the networks for which theory gives receptive fields in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

from jaxrf.errors import InputError
from jaxrf.zoo.layers import ACTIVATIONS, per_axis
from jaxrf.zoo.model import Model, at_least, choose, models

PADDINGS = ("SAME", "VALID", "CIRCULAR", "REFLECT", "CAUSAL")
LECUN_NORMAL = nn.initializers.lecun_normal()


class ConvStack(nn.Module):
    """Convolutions `conv_0`, `conv_1`, ... with an activation between each two of them; see `conv_stack`."""

    depth: int
    kernel: tuple[int, ...]
    width: int
    activation: str
    dilations: tuple[int, ...]
    stride: int
    use_bias: bool
    padding: str
    skip: bool
    kernel_init: Callable[..., jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.depth):
            y = ACTIVATIONS[self.activation](x) if i else x
            y = nn.Conv(
                self.width,
                self.kernel,
                strides=self.stride,
                padding=self.padding,
                kernel_dilation=self.dilations[i],
                use_bias=self.use_bias,
                kernel_init=self.kernel_init,
                name=f"conv_{i}",
            )(y)
            x = x + y if self.skip and x.shape == y.shape else y
        return x


def conv_stack(
    depth: int = 10,
    kernel: int | Sequence[int] = 3,
    width: int = 32,
    activation: str = "relu",
    dilation: int | Sequence[int] = 1,
    stride: int = 1,
    use_bias: bool = False,
    padding: str = "SAME",
    skip: bool = False,
    rank: int = 2,
    kernel_init: Callable[..., jax.Array] = LECUN_NORMAL,
) -> ConvStack:
    """A stack of equal convolutions on one, two or three spatial axes.

    The receptive field of its last layer has the size `1 + depth * (kernel - 1) * dilation` where the stride is one.
    There is an activation between each two layers and none after the last, whose output is that of `conv_{depth - 1}`.

    Args:
        depth: number of layers.
        kernel: size of every kernel, in positions; one number, or one per spatial axis.
        width: number of features of every layer.
        activation: one of "linear", "relu", "relu6", "leaky_relu", "elu", "tanh", "sigmoid", "silu", "gelu".
        dilation: of every layer, or a sequence of one per layer.
        stride: of every layer.
        use_bias: whether the layers have a bias.
        padding: "SAME", "VALID", "CIRCULAR", "REFLECT" or, on one spatial axis, "CAUSAL".
        skip: whether each layer whose input has the shape of its output is added to its input.
        rank: number of spatial axes.
        kernel_init: initializer of the kernels.

    Returns:
        A module from (batch, *spatial, features) to (batch, *spatial, width).

    Source:
        Luo, Li, Urtasun, Zemel (2016), section 2; Yu, Koltun (2015) for the dilated stack.

    Example:
        >>> from jaxrf.zoo import conv_stack
        >>> dilated = conv_stack(depth=3, dilation=(1, 2, 4))
        >>> dilated.dilations
        (1, 2, 4)
    """
    check_stack(depth, kernel, width, activation, dilation, stride, padding, rank)
    if skip and (padding == "VALID" or stride != 1):
        raise InputError(
            f"skip=True needs layers that keep their size, not padding={padding!r} with stride={stride}. "
            'Use stride=1 and a padding other than "VALID".'
        )
    dilations = per_axis(dilation, depth)
    sizes = per_axis(kernel, rank)
    return ConvStack(depth, sizes, width, activation, dilations, stride, use_bias, padding, skip, kernel_init)


def check_stack(
    depth: int,
    kernel: int | Sequence[int],
    width: int,
    activation: str,
    dilation: int | Sequence[int],
    stride: int,
    padding: str,
    rank: int,
) -> None:
    """Raise an InputError for options of which no stack can be made."""
    for option, value in {"depth": depth, "width": width, "stride": stride}.items():
        at_least(option, value, 1)
    choose("activation", activation, tuple(ACTIVATIONS))
    choose("padding", padding, PADDINGS)
    choose("rank", rank, (1, 2, 3))
    if padding == "CAUSAL" and rank != 1:
        raise InputError(f'padding="CAUSAL" is defined on one spatial axis, not on {rank}. Use rank=1.')
    for option, value, count, what in (
        ("kernel", kernel, rank, "spatial axis"),
        ("dilation", dilation, depth, "layer"),
    ):
        numbers = per_axis(value, count)
        if len(numbers) != count or not all(isinstance(n, int) and n >= 1 for n in numbers):
            raise InputError(f"{option}={value!r} does not fit. Give one positive integer, or {count}: one per {what}.")


models.register("conv_stack")(
    Model(conv_stack, (64, 64, 3), "Luo, Li, Urtasun, Zemel (2016), arXiv:1701.04128, section 2")
)
