"""ViT-S/16, which is DeiT-S, and its siblings: a transformer on patches, every layer of which sees the whole image."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.errors import InputError
from jaxrf.zoo.layers import ACTIVATIONS
from jaxrf.zoo.model import Model, at_least, models

init = nn.initializers.truncated_normal(0.02)


class Tokens(nn.Module):
    """A class token and the patches of a map in a row, with their learned positions added."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, width = x.shape[0], x.shape[-1]
        patches = x.reshape(batch, -1, width)
        first = jnp.broadcast_to(self.param("class_token", init, (1, 1, width)), (batch, 1, width))
        position = self.param("position", init, (1, patches.shape[1] + 1, width))
        return jnp.concatenate([first, patches], axis=1) + position


class EncoderBlock(nn.Module):
    """Self-attention and a two-layer perceptron, each behind a layer normalization and added to its input."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        features = x.shape[-1]
        y = nn.LayerNorm(epsilon=1e-6, name="norm1")(x)
        x = x + nn.MultiHeadDotProductAttention(self.heads, kernel_init=init, name="attention")(y)
        y = nn.LayerNorm(epsilon=1e-6, name="norm2")(x)
        y = ACTIVATIONS["gelu"](nn.Dense(4 * features, kernel_init=init, name="expand")(y))
        return x + nn.Dense(features, kernel_init=init, name="project")(y)


class ViT(nn.Module):
    """Modules `patch_embed`, `tokens`, `block_0`, `block_1`, ..., `norm`, `head`; see `vit_small_16`."""

    depth: int
    width: int
    heads: int
    patch: int
    num_classes: int | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        check_extent(x.shape[1:-1], self.patch)
        size = (self.patch,) * (x.ndim - 2)
        x = nn.Conv(self.width, size, strides=self.patch, padding="VALID", kernel_init=init, name="patch_embed")(x)
        grid = x.shape
        x = Tokens(name="tokens")(x)
        for i in range(self.depth):
            x = EncoderBlock(self.heads, name=f"block_{i}")(x)
        x = nn.LayerNorm(epsilon=1e-6, name="norm")(x)
        if self.num_classes is None:
            return x[:, 1:].reshape(grid)
        return nn.Dense(self.num_classes, kernel_init=init, name="head")(x[:, 0])


def check_extent(extent: tuple[int, ...], patch: int) -> None:
    """Raise an InputError unless the image is a whole number of patches."""
    if any(size % patch or not size for size in extent):
        raise InputError(
            f"A ViT of patch {patch} cannot take an input of {extent} positions. "
            f"Each spatial axis needs a multiple of {patch}."
        )


def check_heads(width: int, heads: int) -> None:
    """Raise an InputError unless the heads of an attention can share the features."""
    if heads < 1 or width % heads:
        raise InputError(f"width={width} does not split evenly among heads={heads}. Use a multiple of the heads.")


def vit_small_16(
    depth: int = 12, width: int = 384, heads: int = 6, patch: int = 16, num_classes: int | None = None
) -> ViT:
    """ViT-S/16; with other numbers, its smaller and larger siblings.

    Args:
        depth: number of encoder blocks.
        width: features of a token; a multiple of `heads`.
        heads: number of attention heads.
        patch: size of a patch, in positions.
        num_classes: size of the classifier on the class token;
            without it the network returns the normalized patch tokens as a map.

    Returns:
        A module from (batch, height, width, channels) to (batch, height / patch, width / patch, width),
        or to (batch, num_classes).
        There is no dropout; `train` changes nothing.
        Called on axes that are not a multiple of `patch` it raises an InputError.

    Source:
        Dosovitskiy et al. (2020), arXiv:2010.11929; the small variant of Touvron et al. (2020), arXiv:2012.12877.

    Example:
        >>> from jaxrf.zoo import vit_small_16
        >>> vit_small_16(depth=2).heads
        6
    """
    for option, value in {"depth": depth, "width": width, "heads": heads, "patch": patch}.items():
        at_least(option, value, 1)
    check_heads(width, heads)
    at_least("num_classes", num_classes, 1, optional=True)
    return ViT(depth, width, heads, patch, num_classes)


models.register("vit_small_16")(
    Model(vit_small_16, (224, 224, 3), "Dosovitskiy et al. (2020), arXiv:2010.11929; Touvron et al. (2020)")
)
for _name, _size in {"deit_tiny": (192, 3), "deit_small": (384, 6), "deit_base": (768, 12)}.items():
    models.register(_name)(
        Model(
            partial(vit_small_16, width=_size[0], heads=_size[1]),
            (224, 224, 3),
            "Touvron et al. (2020), arXiv:2012.12877, table 1, without distillation",
        )
    )
