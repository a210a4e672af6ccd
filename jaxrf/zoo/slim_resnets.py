"""The ResNets of TF-Slim, version 1 and 2: the stride of a block stands in its last unit."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import ConvNorm, Layer, MaxPool, Norm
from jaxrf.zoo.model import Model, choose, models
from jaxrf.zoo.slim import SlimNet, max_pool, network

UNITS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
"""By depth: the number of units of each block."""

# Slim pads every strided convolution by hand, alike on both sides, so that the units stay centered.
around = {7: ((3, 3), (3, 3)), 3: ((1, 1), (1, 1))}
plain = partial(ConvNorm, norm=False, activation="linear")


def subsampled(x: jax.Array, stride: int) -> jax.Array:
    """Every `stride`-th position, as Slim takes it: by a max-pool of size one."""
    return x if stride == 1 else MaxPool(1, stride, name="shortcut")(x)


class Bottleneck(nn.Module):
    """A residual unit, with normalization and activation after each convolution, or `before` them in version 2."""

    width: int
    stride: int
    before: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        features, last = 4 * self.width, plain if self.before else partial(ConvNorm, activation="linear")
        start = nn.relu(nn.BatchNorm(not train, epsilon=1e-5, name="preact")(x)) if self.before else x
        y = ConvNorm(self.width, 1, name="conv1")(start, train)
        y = ConvNorm(self.width, 3, self.stride, around[3], name="conv2")(y, train)
        y = last(features, 1, name="conv3")(y, train)
        if x.shape[-1] == features:
            skip = subsampled(x, self.stride)
        else:
            skip = last(features, 1, self.stride, name="shortcut")(start, train)
        return skip + y if self.before else nn.relu(skip + y)


def blocks(scope: str, depth: int, before: bool) -> list[tuple[str, Layer]]:
    """The units `scope/block1/unit_1` ... of all four blocks."""
    layers = []
    for block, count in enumerate(UNITS[depth]):
        for i in range(1, count + 1):
            stride = 2 if block < 3 and i == count else 1
            layers.append((f"{scope}/block{block + 1}/unit_{i}", partial(Bottleneck, 64 * 2**block, stride, before)))
    return layers


def slim_resnet(version: int = 1, depth: int = 50, *, num_classes: int | None = None) -> SlimNet:
    """A ResNet with TF-Slim's end-points: `resnet_v1_50/block1` and so on.

    Args:
        version: 1, or 2, in which normalization and activation stand before the convolutions.
        depth: 50, 101, 152 or 200.
        num_classes: size of the classifier; without it the network ends with `block4`, or with `postnorm` in version 2.

    Source:
        He, Zhang, Ren, Sun (2015), arXiv:1512.03385, and (2016), arXiv:1603.05027, as in TF-Slim: the last unit of
        blocks 1 to 3 has the stride.

    Example:
        >>> from jaxrf.zoo import resnet_v2_50
        >>> resnet_v2_50().network
        'resnet_v2_50'
    """
    choose("version", version, (1, 2))
    choose("depth", depth, tuple(UNITS))
    scope, before = f"resnet_v{version}_{depth}", version == 2
    layers = [
        (f"{scope}/conv1", partial(plain if before else ConvNorm, 64, 7, 2, around[7])),
        (f"{scope}/pool1", max_pool(padding="SAME")),
        *blocks(scope, depth, before),
    ]
    last = [(f"{scope}/postnorm", partial(Norm, "batch", "relu"))] if before else []
    return network(scope, [*layers, *last], num_classes)


PAPERS = {1: "He et al. (2015), arXiv:1512.03385", 2: "He et al. (2016), arXiv:1603.05027"}
for _version, _paper in PAPERS.items():
    for _depth in UNITS:
        models.register(f"resnet_v{_version}_{_depth}")(
            Model(partial(slim_resnet, _version, _depth), (224, 224, 3), f"TF-Slim; {_paper}")
        )
