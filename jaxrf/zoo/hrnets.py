"""HRNet: maps of several resolutions side by side, which exchange what they know again and again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import KAIMING_FAN_OUT, ConvNorm, Head, blocks
from jaxrf.zoo.model import Model, at_least, choose, models
from jaxrf.zoo.resnets import Block

KINDS = {"hrnet_w18": 18, "hrnet_w32": 32}
"""Features of the finest map; each coarser one has twice as many."""
HEAD = 32
"""Features of the finest map in the classifier's blocks, before these widen it four times."""

conv = partial(ConvNorm, kernel_init=KAIMING_FAN_OUT)


class Branch(nn.Module):
    """A chain of residual blocks of two 3x3 convolutions."""

    count: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return blocks([partial(Block, x.shape[-1], 1, False, "symmetric")] * self.count)(name="blocks")(x, train)


class Bring(nn.Module):
    """A map at another level: resized behind a 1x1 convolution, or through convolutions of stride 2."""

    features: int
    levels: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        if self.levels < 0:
            y = conv(self.features, 1, activation="linear", name="conv")(x, train)
            shape = (y.shape[0], *(size * 2**-self.levels for size in y.shape[1:-1]), y.shape[-1])
            return jax.image.resize(y, shape, "nearest")
        for i in range(self.levels):
            last = i == self.levels - 1
            features, activation = (self.features, "linear") if last else (x.shape[-1], "relu")
            x = conv(features, 3, 2, 1, activation=activation, name=f"conv_{i}")(x, train)
        return x


class Exchange(nn.Module):
    """Residual blocks on each map; then each map is the sum of all, brought to its level."""

    count: int

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], train: bool = False) -> list[jax.Array]:
        maps = [Branch(self.count, name=f"branch_{i}")(x, train) for i, x in enumerate(maps)]
        joined = []
        for i, mine in enumerate(maps):
            for j, other in enumerate(maps):
                if i != j:
                    mine = mine + Bring(maps[i].shape[-1], i - j, name=f"bring_{j}_{i}")(other, train)
            joined.append(nn.relu(mine))
        return joined


class Gather(nn.Module):
    """All maps, from the finest on: each widened, brought to the next level by a convolution and added to it."""

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], train: bool = False) -> jax.Array:
        block = partial(Block, stride=1, bottleneck=True, padding="symmetric")
        biased = partial(Biased)
        x = block(HEAD, name="widen_0")(maps[0], train)
        for i, coarser in enumerate(maps[1:], 1):
            wide = block(HEAD * 2**i, name=f"widen_{i}")(coarser, train)
            x = wide + biased(4 * HEAD * 2**i, 3, 2, name=f"down_{i}")(x, train)
        return biased(2048, 1, 1, name="last")(x, train)


class Biased(nn.Module):
    """A convolution with a bias, batch normalization and a ReLU."""

    features: int
    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = conv(
            self.features, self.kernel, self.stride, self.kernel // 2, norm=False, activation="linear", name="conv"
        )(x, train)
        return nn.relu(nn.BatchNorm(not train, epsilon=1e-5, name="norm")(x))


class HRNet(nn.Module):
    """Modules `stem1`, `stem2`, `layer1`, `start_i`, `stage{s}_{m}`, and `gather`, `head`; see `hrnet`."""

    width: int
    exchanges: tuple[int, ...]
    count: int
    num_classes: int | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        for i in (1, 2):
            x = conv(64, 3, 2, 1, name=f"stem{i}")(x, train)
        bottleneck = partial(Block, 64, 1, True, "symmetric")
        x = blocks([bottleneck] * self.count)(name="layer1")(x, train)
        maps = [conv(self.width, 3, padding=1, name="start_0")(x, train)]
        for level, count in enumerate(self.exchanges, 1):
            source = x if level == 1 else maps[-1]
            maps.append(conv(self.width * 2**level, 3, 2, 1, name=f"start_{level}")(source, train))
            for m in range(count):
                maps = Exchange(self.count, name=f"stage{level + 1}_{m}")(maps, train)
        if self.num_classes is None:
            return maps[0]
        return Head(self.num_classes, name="head")(Gather(name="gather")(maps, train), train)


def hrnet(
    kind: str = "hrnet_w32",
    *,
    width: int | None = None,
    exchanges: tuple[int, ...] = (1, 4, 3),
    count: int = 4,
    num_classes: int | None = None,
) -> HRNet:
    """An HRNet on images of two spatial axes.

    Args:
        kind: "hrnet_w18" or "hrnet_w32".
        width: features of the finest map, each coarser one having twice as many; the kind's own where None.
        exchanges: how many exchanges follow the start of each coarser map.
        count: number of residual blocks of each map before each exchange.
        num_classes: size of the classifier, which gathers all maps;
            without it the network returns its finest map, of stride 4.

    Returns:
        A module from (batch, height, width, channels) to the finest map, or to (batch, num_classes).
        The extents of the maps must fit each other: use multiples of 32.

    Source:
        Wang et al. (2020), arXiv:1908.07919, section 3; the classifier of its appendix.

    Example:
        >>> from jaxrf.zoo import hrnet_w32
        >>> hrnet_w32().width
        32
    """
    choose("kind", kind, tuple(KINDS))
    width = KINDS[kind] if width is None else width
    at_least("width", width, 1)
    at_least("count", count, 1)
    at_least("num_classes", num_classes, 1, optional=True)
    return HRNet(width, exchanges, count, num_classes)


for _kind in KINDS:
    models.register(_kind)(Model(partial(hrnet, _kind), (224, 224, 3), "Wang et al. (2020), arXiv:1908.07919"))
