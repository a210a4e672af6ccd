"""VGG as torchvision has it; TF-Slim's variants, with the end-points of a published table, are in `slim_chains`."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.errors import InputError
from jaxrf.zoo.layers import KAIMING_FAN_OUT, Chain, ConvNorm, MaxPool, chain, network
from jaxrf.zoo.model import Model, at_least, choose, models

DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""How many convolutions each stage has: columns A, B, D and E of the paper."""
EXTENT = 7
"""Positions of the last map, per axis, that the classifier takes."""


class FullHead(nn.Module):
    """A classifier of three dense layers on all positions of a map of 7x7."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        if any(size != EXTENT for size in x.shape[1:-1]):
            raise InputError(f"VGG's classifier needs a last map of 7x7, not {x.shape[1:-1]}. Give images of 224x224.")
        dense = partial(nn.Dense, kernel_init=nn.initializers.normal(0.01))
        x = nn.relu(dense(4096, name="dense1")(x.reshape(x.shape[0], -1)))
        x = nn.relu(dense(4096, name="dense2")(x))
        return dense(self.num_classes, name="dense3")(x)


def vgg(
    depth: int = 16,
    *,
    depths: tuple[int, ...] | None = None,
    width: int = 64,
    norm: bool = False,
    num_classes: int | None = None,
) -> Chain:
    """A VGG network: modules `stage1` to `stage5`, each of `conv_0`, `conv_1`, ... and `pool`.

    With classes it raises an InputError for images of another size than 224x224.

    Args:
        depth: 11, 13, 16 or 19; says how many convolutions the stages have.
        depths: the number of convolutions of each stage instead.
        width: features of the first stage; each later one has twice as many, up to eight times as many.
        norm: whether batch normalization follows each convolution.
        num_classes: size of the classifier; without it the network returns the map behind the last pool.

    Source:
        Simonyan, Zisserman (2015), arXiv:1409.1556, table 1.

    Example:
        >>> from jaxrf.zoo import vgg11
        >>> [name for name, _ in vgg11().layers][-1]
        'stage5'
    """
    choose("depth", depth, tuple(DEPTHS))
    at_least("width", width, 1)
    counts = DEPTHS[depth] if depths is None else depths
    stages = []
    for i, count in enumerate(counts):
        conv = partial(ConvNorm, width * 2 ** min(i, 3), 3, padding=1, norm=norm, kernel_init=KAIMING_FAN_OUT)
        convs = [(f"conv_{j}", conv) for j in range(count)]
        stages.append((f"stage{i + 1}", chain(*convs, ("pool", partial(MaxPool, 2, 2, "VALID")))))
    return network(stages, num_classes, FullHead)


for _depth in DEPTHS:
    models.register(f"vgg{_depth}")(
        Model(partial(vgg, _depth), (224, 224, 3), "Simonyan, Zisserman (2015), arXiv:1409.1556; torchvision")
    )
