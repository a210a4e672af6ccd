"""SLaK-T: ConvNeXt with kernels of up to 51, each as two rectangles and a small square."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.convnexts import Downsample, init, stage_blocks
from jaxrf.zoo.layers import Chain, ConvNorm, LayerScale, NormHead, Perceptron, network, normalization
from jaxrf.zoo.model import Model, at_least, models

DEPTHS = (3, 3, 9, 3)
KERNELS = (51, 49, 47, 13)


class Block(nn.Module):
    """Three depthwise convolutions side by side, then as in ConvNeXt: normalization, perceptron, scale, sum."""

    kernel: int
    small: int
    layer_scale: float | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = partial(ConvNorm, x.shape[-1], groups=0, activation="linear", kernel_init=init)
        y = conv((self.kernel, self.small), name="tall")(x, train) + conv((self.small, self.kernel), name="wide")(
            x, train
        )
        if self.small < self.kernel:
            y = y + conv(self.small, name="small")(x, train)
        y = normalization("layer", train)(y)
        y = Perceptron(4 * x.shape[-1], name="perceptron")(y, train)
        return x + (y if self.layer_scale is None else LayerScale(self.layer_scale, name="layer_scale")(y, train))


def slak_tiny(
    kernels: tuple[int, ...] = KERNELS,
    *,
    small: int = 5,
    width: float = 124.8,
    depths: tuple[int, ...] = DEPTHS,
    layer_scale: float | None = 1e-6,
    num_classes: int | None = None,
) -> Chain:
    """SLaK-T without its sparsity: modules `stem`, `stage1` to `stage4`, `head`.

    The published network drops two fifths of the weights while it trains; here all of them are there.

    Args:
        kernels: of the four stages, in positions: the long side of the rectangles.
        small: the short side of the rectangles, and the side of the small square.
        width: features of the first stage, each later one having twice as many; all are rounded down.
        depths: number of blocks of each stage.
        layer_scale: value at which the scale of each residual branch starts; None leaves the scale out.
        num_classes: size of the classifier; without it the network returns the map of its last stage, not normalized.

    Source:
        Liu et al. (2023), arXiv:2207.03620: ConvNeXt-T that is 1.3 times as wide.

    Example:
        >>> from jaxrf.zoo import slak_tiny
        >>> len(slak_tiny(kernels=(7, 7, 7, 7)).layers)
        5
    """
    at_least("small", small, 1)
    layers = [("stem", partial(Downsample, int(width), 4, False))]
    for i, (kernel, count) in enumerate(zip(kernels, depths, strict=True)):
        block = partial(Block, kernel, small, layer_scale)
        layers.append((f"stage{i + 1}", stage_blocks(i, width, [block] * count)))
    return network(layers, num_classes, NormHead)


models.register("slak_tiny")(Model(slak_tiny, (224, 224, 3), "Liu et al. (2023), arXiv:2207.03620"))
