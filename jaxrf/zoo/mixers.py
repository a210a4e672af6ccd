"""MLP-Mixer: perceptrons over positions and over features, in turns; every layer sees the whole image."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.zoo.layers import Chain, Layer, Norm, Perceptron, network
from jaxrf.zoo.model import Model, at_least, choose, models
from jaxrf.zoo.vits import check_extent

KINDS = {"mixer_s16": (512, 8, 16), "mixer_b16": (768, 12, 16)}
"""Features, number of blocks, size of a patch."""

perceptron = partial(Perceptron, kernel_init=nn.initializers.lecun_normal())


class Patches(nn.Module):
    """A dense layer on each patch of an image."""

    width: int
    patch: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        check_extent(x.shape[1:-1], self.patch)
        size = (self.patch,) * (x.ndim - 2)
        return nn.Conv(self.width, size, strides=self.patch, padding="VALID", name="conv")(x)


class Block(nn.Module):
    """A perceptron over positions and one over features, each behind a layer normalization and added to its input."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        features = x.shape[-1]
        y = nn.LayerNorm(epsilon=1e-6, name="norm1")(x).reshape(x.shape[0], -1, features)
        y = perceptron(features // 2, name="positions")(jnp.swapaxes(y, 1, 2), train)
        x = x + jnp.swapaxes(y, 1, 2).reshape(x.shape)
        y = nn.LayerNorm(epsilon=1e-6, name="norm2")(x)
        return x + perceptron(4 * features, name="features")(y, train)


def mixer(
    kind: str = "mixer_b16",
    *,
    width: int | None = None,
    depth: int | None = None,
    patch: int | None = None,
    num_classes: int | None = None,
) -> Chain:
    """An MLP-Mixer: modules `patch_embed`, `block_0`, `block_1`, ..., `norm`, `head`.

    Args:
        kind: "mixer_s16" or "mixer_b16".
        width: features of a position, in half as many of which positions are mixed; the kind's own where None.
        depth: number of blocks; the kind's own where None.
        patch: size of a patch, in positions; the kind's own where None.
        num_classes: size of the classifier; without it the network returns the map of its last block, normalized.

    Returns:
        A module from (batch, height, width, channels) to (batch, height / patch, width / patch, features),
        or to (batch, num_classes).
        Called on axes that are not a multiple of `patch` it raises an InputError.

    Source:
        Tolstikhin et al. (2021), arXiv:2105.01601, table 1.

    Example:
        >>> from jaxrf.zoo import mixer_b16
        >>> len(mixer_b16(depth=2).layers)
        4
    """
    choose("kind", kind, tuple(KINDS))
    own = KINDS[kind]
    width, depth, patch = (mine if given is None else given for given, mine in zip((width, depth, patch), own))
    for option, value in {"width": width, "depth": depth, "patch": patch}.items():
        at_least(option, value, 1)
    layers: list[tuple[str, Layer]] = [("patch_embed", partial(Patches, width, patch))]
    layers += [(f"block_{i}", partial(Block)) for i in range(depth)]
    return network([*layers, ("norm", partial(Norm, "layer"))], num_classes)


for _kind in KINDS:
    models.register(_kind)(Model(partial(mixer, _kind), (224, 224, 3), "Tolstikhin et al. (2021), arXiv:2105.01601"))
