"""PoolFormer: a transformer whose attention is an average pool."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import (
    TRUNCATED_NORMAL,
    UNIFORM_FAN_IN,
    AvgPool,
    Chain,
    ConvNorm,
    Head,
    Layer,
    LayerScale,
    Norm,
    Perceptron,
    chain,
    network,
    normalization,
)
from jaxrf.zoo.model import Model, at_least, choose, models

KINDS = {"poolformer_s12": (2, 2, 6, 2), "poolformer_s24": (4, 4, 12, 4)}
"""Number of blocks of each stage."""
WIDTHS = (64, 128, 320, 512)


class Block(nn.Module):
    """What a pool adds to its input, and a perceptron; each behind a normalization, scaled and added."""

    pool: int
    layer_scale: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = normalization("map", train, "norm1")(x)
        y = AvgPool(self.pool, name="pool")(y, train) - y
        x = x + LayerScale(self.layer_scale, name="scale1")(y, train)
        y = Perceptron(4 * x.shape[-1], name="perceptron")(normalization("map", train, "norm2")(x), train)
        return x + LayerScale(self.layer_scale, name="scale2")(y, train)


def poolformer(
    kind: str = "poolformer_s12",
    *,
    pool: int = 3,
    widths: tuple[int, ...] = WIDTHS,
    depths: tuple[int, ...] | None = None,
    layer_scale: float = 1e-5,
    num_classes: int | None = None,
) -> Chain:
    """A PoolFormer: modules `stem`, `stage1` to `stage4`, `norm`, `head`.

    Each normalization takes its mean and variance over the whole map, so that every layer behind sees all of it.

    Args:
        kind: "poolformer_s12" or "poolformer_s24"; says how many blocks the stages have.
        pool: size of the pools, in positions.
        widths: features of the four stages.
        depths: number of blocks of each stage; the kind's own where None.
        layer_scale: value at which the scales of the residual branches start.
        num_classes: size of the classifier; without it the network returns the map of its last stage, normalized.

    Source:
        Yu et al. (2022), arXiv:2111.11418, table 1.

    Example:
        >>> from jaxrf.zoo import poolformer_s12
        >>> len(poolformer_s12().layers)
        6
    """
    choose("kind", kind, tuple(KINDS))
    at_least("pool", pool, 1)
    conv = partial(ConvNorm, norm=False, activation="linear", kernel_init=UNIFORM_FAN_IN)
    layers: list[tuple[str, Layer]] = [("stem", partial(conv, widths[0], 7, 4, 2))]
    for i, (features, count) in enumerate(zip(widths, depths or KINDS[kind], strict=True)):
        first = [("downsample", partial(conv, features, 3, 2, 1))] if i else []
        block = partial(Block, pool, layer_scale)
        layers.append((f"stage{i + 1}", chain(*first, *((f"block_{j}", block) for j in range(count)))))
    return network([*layers, ("norm", partial(Norm, "map"))], num_classes, partial(Head, kernel_init=TRUNCATED_NORMAL))


for _kind in KINDS:
    models.register(_kind)(Model(partial(poolformer, _kind), (224, 224, 3), "Yu et al. (2022), arXiv:2111.11418"))
