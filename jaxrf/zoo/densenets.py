"""DenseNets: each layer sees the maps of all layers before it in its block."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.zoo.layers import KAIMING_FAN_IN, AvgPool, Chain, ConvNorm, Layer, MaxPool, Norm, NormConv, chain, network
from jaxrf.zoo.model import Model, at_least, choose, models

DEPTHS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}


class DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution, whose `growth` features are put behind those of the input."""

    growth: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = NormConv(4 * self.growth, 1, name="conv1")(x, train)
        y = NormConv(self.growth, 3, 1, name="conv2")(y, train)
        return jnp.concatenate([x, y], axis=-1)


def densenet(
    depth: int = 121, *, depths: tuple[int, ...] | None = None, growth: int = 32, num_classes: int | None = None
) -> Chain:
    """A DenseNet with bottlenecks and halving transitions: `stem`, `block1`, `transition1`, ..., `block4`, `norm`.

    Args:
        depth: 121, 169 or 201; says how many layers the blocks have.
        depths: the number of layers of each block instead.
        growth: features that each layer adds; the stem has twice as many.
        num_classes: size of the classifier; without it the network returns its last map, normalized and rectified.

    Source:
        Huang, Liu, van der Maaten, Weinberger (2017), arXiv:1608.06993, table 1; padding as in torchvision.

    Example:
        >>> from jaxrf.zoo import densenet121
        >>> type(densenet121(depths=(1, 1))).__name__
        'Chain'
    """
    choose("depth", depth, tuple(DEPTHS))
    at_least("growth", growth, 1)
    counts = DEPTHS[depth] if depths is None else depths
    features = 2 * growth
    conv = partial(ConvNorm, features, 7, 2, 3, kernel_init=KAIMING_FAN_IN)
    layers: list[tuple[str, Layer]] = [("stem", chain(("conv", conv), ("pool", partial(MaxPool, 3, 2, 1))))]
    for i, count in enumerate(counts, 1):
        if i > 1:
            features //= 2
            transition = chain(("conv", partial(NormConv, features)), ("pool", partial(AvgPool, 2, 2)))
            layers.append((f"transition{i - 1}", transition))
        layers.append((f"block{i}", chain(*((f"layer_{j}", partial(DenseLayer, growth)) for j in range(count)))))
        features += count * growth
    return network([*layers, ("norm", partial(Norm, "batch", "relu"))], num_classes)


for _depth in DEPTHS:
    models.register(f"densenet{_depth}")(
        Model(partial(densenet, _depth), (224, 224, 3), "Huang et al. (2017), arXiv:1608.06993; torchvision")
    )
