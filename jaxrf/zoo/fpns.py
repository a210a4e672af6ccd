"""Feature pyramids on a ResNet: each finer map gets what the coarser ones know."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import ConvNorm
from jaxrf.zoo.model import Model, at_least, choose, models
from jaxrf.zoo.resnets import Block, stage_blocks, stem

conv = partial(ConvNorm, norm=False, activation="linear", kernel_init=nn.initializers.lecun_uniform())


class FeaturePyramid(nn.Module):
    """Modules `stem`, `layer1` to `layer4`, `inner_2` to `inner_5`, `outer_2` to `outer_5`; see `resnet50_fpn`."""

    depth: int
    width: int
    features: int
    level: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = stem(self.width, "symmetric")(name="stem")(x, train)
        block = partial(Block, padding="symmetric")
        maps = []
        for stage in range(4):
            x = stage_blocks(block, self.depth, stage, self.width, 0)(name=f"layer{stage + 1}")(x, train)
            maps.append(x)
        above, out = None, x
        for level in (5, 4, 3, 2):
            y = conv(self.features, 1, name=f"inner_{level}")(maps[level - 2], train)
            if above is not None:
                y = y + jax.image.resize(above, y.shape, "nearest")
            above = y
            outer = conv(self.features, 3, padding=1, name=f"outer_{level}")(y, train)
            out = outer if level == self.level else out
        return out


def fpn(depth: int = 50, *, width: int = 64, features: int = 256, level: int = 2) -> FeaturePyramid:
    """A ResNet with a feature pyramid; all of its levels are layers, one of which it returns.

    Args:
        depth: of the ResNet: 18, 34, 50, 101 or 152.
        width: features of the ResNet's stem.
        features: of every level of the pyramid.
        level: which level to return, 2 to 5: its map has a stride of two to that power.

    Returns:
        A module from (batch, height, width, channels) to the map `outer_{level}`.

    Source:
        Lin, Dollar, Girshick, He, Hariharan, Belongie (2017), arXiv:1612.03144, figure 3; as in torchvision.

    Example:
        >>> from jaxrf.zoo import resnet50_fpn
        >>> resnet50_fpn(level=3).level
        3
    """
    choose("depth", depth, (18, 34, 50, 101, 152))
    choose("level", level, (2, 3, 4, 5))
    at_least("width", width, 1)
    at_least("features", features, 1)
    return FeaturePyramid(depth, width, features, level)


models.register("resnet50_fpn")(
    Model(partial(fpn, 50), (224, 224, 3), "Lin et al. (2017), arXiv:1612.03144; torchvision")
)
