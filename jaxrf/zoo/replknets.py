"""RepLKNet: depthwise convolutions of up to 31x31 with a small one beside each."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import ACTIVATIONS, UNIFORM_FAN_IN, Chain, ConvNorm, Head, Layer, Norm, chain, network
from jaxrf.zoo.model import Model, at_least, choose, models

DEPTHS = (2, 2, 18, 2)
KERNELS = {"replknet_31b": (31, 29, 27, 13), "replknet_13b": (13, 13, 13, 13)}
"""Kernels of the four stages, in positions: the network of the paper's title, and one of its table 5."""

conv = partial(ConvNorm, kernel_init=UNIFORM_FAN_IN)


class LargeKernel(nn.Module):
    """A large and a small depthwise convolution side by side, each normalized, and their sum."""

    kernel: int
    small: int | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        depthwise = partial(conv, x.shape[-1], groups=0, activation="linear")
        y = depthwise(self.kernel, name="large")(x, train)
        return y if self.small is None else y + depthwise(self.small, name="small")(x, train)


class Block(nn.Module):
    """A large kernel between two 1x1 convolutions, behind a normalization and added to the input."""

    kernel: int
    small: int | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        features = x.shape[-1]
        y = nn.BatchNorm(not train, epsilon=1e-5, name="norm")(x)
        y = conv(features, 1, name="conv1")(y, train)
        y = nn.relu(LargeKernel(self.kernel, self.small, name="spread")(y, train))
        return x + conv(features, 1, activation="linear", name="conv2")(y, train)


class FeedForward(nn.Module):
    """Two 1x1 convolutions that widen four times, behind a normalization and added to the input."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        features = x.shape[-1]
        y = nn.BatchNorm(not train, epsilon=1e-5, name="norm")(x)
        y = ACTIVATIONS["gelu"](conv(4 * features, 1, activation="linear", name="expand")(y, train))
        return x + conv(features, 1, activation="linear", name="project")(y, train)


def replknet(
    kind: str = "replknet_31b",
    *,
    kernels: tuple[int, ...] | None = None,
    small: int | None = 5,
    width: int = 128,
    depths: tuple[int, ...] = DEPTHS,
    num_classes: int | None = None,
) -> Chain:
    """A RepLKNet: modules `stem`, `stage1`, `transition1`, ..., `stage4`, `norm`, `head`.

    There is no stochastic depth.

    Args:
        kind: "replknet_31b" or "replknet_13b"; says which kernels the stages have.
        kernels: one odd kernel per stage instead, in positions.
        small: the kernel beside each large one, as in training; None leaves it out, as after re-parametrization.
        width: features of the first stage; each later one has twice as many.
        depths: how many pairs of a large-kernel and a feed-forward block each stage has.
        num_classes: size of the classifier; without it the network returns its last map, normalized.

    Source:
        Ding, Zhang, Zhou, Han, Ding, Sun (2022), arXiv:2203.06717, figure 4 and table 5.

    Example:
        >>> from jaxrf.zoo import replknet_31b
        >>> len(replknet_31b(kernels=(7, 7, 7, 7)).layers)
        9
    """
    choose("kind", kind, tuple(KERNELS))
    at_least("width", width, 1)
    at_least("small", small, 1, optional=True)
    layers: list[tuple[str, Layer]] = [("stem", stem(width))]
    for i, (kernel, count) in enumerate(zip(kernels or KERNELS[kind], depths, strict=True)):
        if i:
            features = width * 2**i
            narrow, down = partial(conv, features, 1), partial(conv, features, 3, 2, 1, groups=0)
            layers.append((f"transition{i}", chain(("conv1", narrow), ("conv2", down))))
        pair = (("block", partial(Block, kernel, small)), ("feed_forward", partial(FeedForward)))
        named = [(f"{name}_{j}", layer) for j in range(count) for name, layer in pair]
        layers.append((f"stage{i + 1}", chain(*named)))
    return network([*layers, ("norm", partial(Norm, "batch"))], num_classes, partial(Head, kernel_init=UNIFORM_FAN_IN))


def stem(width: int) -> Layer:
    """Four convolutions, two of which halve the resolution."""
    return chain(
        ("conv1", partial(conv, width, 3, 2, 1)),
        ("conv2", partial(conv, width, 3, 1, 1, groups=0)),
        ("conv3", partial(conv, width, 1)),
        ("conv4", partial(conv, width, 3, 2, 1, groups=0)),
    )


for _kind in KERNELS:
    models.register(_kind)(Model(partial(replknet, _kind), (224, 224, 3), "Ding et al. (2022), arXiv:2203.06717"))
