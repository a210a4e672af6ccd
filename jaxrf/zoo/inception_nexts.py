"""InceptionNeXt-T: ConvNeXt whose large kernels are a square, a row and a column on an eighth of the features each."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.zoo.convnexts import Downsample, init, stage_blocks
from jaxrf.zoo.layers import ACTIVATIONS, Chain, Layer, LayerScale, Perceptron, network
from jaxrf.zoo.model import Model, at_least, models

DEPTHS = (3, 3, 9, 3)
RATIOS = (4, 4, 4, 3)
"""How many times the perceptrons of each stage widen."""


class Mixer(nn.Module):
    """Most features as they are; the last three parts through a square, a row and a column of a depthwise kernel."""

    band: int
    square: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        part = max(1, x.shape[-1] // 8)
        kept, *parts = jnp.split(x, [x.shape[-1] - i * part for i in (3, 2, 1)], axis=-1)
        kernels = {"square": (self.square, self.square), "row": (1, self.band), "column": (self.band, 1)}
        moved = [
            nn.Conv(part, kernel, feature_group_count=part, kernel_init=init, name=name)(y)
            for y, (name, kernel) in zip(parts, kernels.items(), strict=True)
        ]
        return jnp.concatenate([kept, *moved], axis=-1)


class Block(nn.Module):
    """The mixer, batch normalization, a perceptron and a scale, added to the input."""

    band: int
    ratio: int
    layer_scale: float | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = Mixer(self.band, name="mixer")(x, train)
        y = nn.BatchNorm(not train, epsilon=1e-5, name="norm")(y)
        y = Perceptron(self.ratio * x.shape[-1], name="perceptron")(y, train)
        return x + (y if self.layer_scale is None else LayerScale(self.layer_scale, name="layer_scale")(y, train))


class PerceptronHead(nn.Module):
    """A classifier: the mean over all positions, a wide dense layer, layer normalization, a dense layer."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        dense = partial(nn.Dense, kernel_init=init)
        y = ACTIVATIONS["gelu"](dense(3 * x.shape[-1], name="hidden")(x.mean(axis=(1, 2))))
        return dense(self.num_classes, name="dense")(nn.LayerNorm(epsilon=1e-6, name="norm")(y))


def inception_next_tiny(
    band: int = 11,
    *,
    width: int = 96,
    depths: tuple[int, ...] = DEPTHS,
    layer_scale: float | None = 1e-6,
    num_classes: int | None = None,
) -> Chain:
    """InceptionNeXt-T: modules `stem`, `stage1` to `stage4`, `head`.

    Args:
        band: length of the rows and columns, in positions.
        width: features of the first stage; each later one has twice as many.
        depths: number of blocks of each stage.
        layer_scale: value at which the scale of each residual branch starts; None leaves the scale out.
        num_classes: size of the classifier; without it the network returns the map of its last stage.

    Source:
        Yu, Zhou, Yan, Wang (2024), arXiv:2303.16900, section 3 and table 1.

    Example:
        >>> from jaxrf.zoo import inception_next_tiny
        >>> len(inception_next_tiny(band=7).layers)
        5
    """
    at_least("band", band, 1)
    at_least("width", width, 4)
    layers: list[tuple[str, Layer]] = [("stem", partial(Downsample, width, 4, False, "batch"))]
    for i, (count, ratio) in enumerate(zip(depths, RATIOS, strict=True)):
        block = partial(Block, band, ratio, layer_scale)
        layers.append((f"stage{i + 1}", stage_blocks(i, width, [block] * count, "batch")))
    return network(layers, num_classes, PerceptronHead)


models.register("inception_next_tiny")(
    Model(inception_next_tiny, (224, 224, 3), "Yu, Zhou, Yan, Wang (2024), arXiv:2303.16900")
)
