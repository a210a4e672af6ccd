"""Swin transformers: attention within windows that move by half of their size from block to block."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.zoo.layers import TRUNCATED_NORMAL, Chain, Head, Layer, Norm, Perceptron, chain, network, normalization
from jaxrf.zoo.model import Model, at_least, choose, models
from jaxrf.zoo.vits import check_extent, check_heads
from jaxrf.zoo.windows import WindowAttention, check_windows, map_of, windows_of

KINDS = {"swin_tiny": (2, 2, 6, 2), "swin_small": (2, 2, 18, 2)}
"""Number of blocks of each stage."""
PATCH = 4


class Patches(nn.Module):
    """A dense layer on each patch of an image, and layer normalization."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        check_extent(x.shape[1:-1], PATCH)
        size = (PATCH, PATCH)
        x = nn.Conv(self.width, size, size, padding="VALID", kernel_init=TRUNCATED_NORMAL, name="conv")(x)
        return normalization("layer", train)(x)


class Merge(nn.Module):
    """The features of each 2x2 positions side by side, layer normalization, and a dense layer to half as many."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        batch, height, width, features = x.shape
        check_windows((height, width), 2, 1)
        x = x.reshape(batch, height // 2, 2, width // 2, 2, features).transpose(0, 1, 3, 4, 2, 5)
        x = normalization("layer", train)(x.reshape(batch, height // 2, width // 2, 4 * features))
        return nn.Dense(2 * features, use_bias=False, kernel_init=TRUNCATED_NORMAL, name="reduce")(x)


class Block(nn.Module):
    """Attention within windows, and a perceptron; each behind a layer normalization and added to its input."""

    heads: int
    window: int
    shifted: bool
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        check_windows(x.shape[1:-1], self.window, self.stride)
        shift = tuple(self.window // 2 if self.shifted and size > self.window else 0 for size in x.shape[1:-1])
        y = normalization("layer", train, "norm1")(x)
        y = windows_of(jnp.roll(y, tuple(-s for s in shift), (1, 2)), self.window)
        mask = neighbors(x.shape[1:-1], self.window, shift) if any(shift) else None
        y = WindowAttention(self.heads, self.window, name="attention")(y, mask)
        x = x + jnp.roll(map_of(y, self.window, x.shape), shift, (1, 2))
        y = normalization("layer", train, "norm2")(x)
        return x + Perceptron(4 * x.shape[-1], name="perceptron")(y, train)


def neighbors(extent: tuple[int, ...], window: int, shift: tuple[int, ...]) -> np.ndarray:
    """(windows, positions, positions): which positions of a rolled map lie side by side on the map itself."""
    parts = [np.arange(size) // window + (np.arange(size) >= size - moved) for size, moved in zip(extent, shift)]
    label = parts[0][:, None] * (max(extent) + 1) + parts[1]
    cut = np.asarray(label.reshape(extent[0] // window, window, extent[1] // window, window).transpose(0, 2, 1, 3))
    rows = cut.reshape(-1, window * window)
    return rows[:, :, None] == rows[:, None, :]


def swin(
    kind: str = "swin_tiny",
    *,
    window: int = 7,
    width: int = 96,
    heads: int = 3,
    depths: tuple[int, ...] | None = None,
    num_classes: int | None = None,
) -> Chain:
    """A Swin transformer: modules `stem`, `stage1` to `stage4`, `norm`, `head`.

    Called on axes that are not a whole number of windows in every stage it raises an InputError.

    Args:
        kind: "swin_tiny" or "swin_small"; says how many blocks the stages have.
        window: side of a window, in positions of the map.
        width: features of the first stage; each later one has twice as many. A multiple of `heads`.
        heads: attention heads of the first stage; each later one has twice as many.
        depths: number of blocks of each stage; the kind's own where None.
        num_classes: size of the classifier; without it the network returns its last map, normalized.

    Source:
        Liu et al. (2021), arXiv:2103.14030, section 3; a stage of a single window does not move it, as in torchvision.

    Example:
        >>> from jaxrf.zoo import swin_tiny
        >>> len(swin_tiny().layers)
        6
    """
    choose("kind", kind, tuple(KINDS))
    for option, value in {"window": window, "width": width, "heads": heads}.items():
        at_least(option, value, 1)
    check_heads(width, heads)
    layers: list[tuple[str, Layer]] = [("stem", partial(Patches, width))]
    for i, count in enumerate(depths or KINDS[kind]):
        first = [("merge", partial(Merge))] if i else []
        block = partial(Block, heads * 2**i, window, stride=PATCH * 2**i)
        named = [(f"block_{j}", partial(block, shifted=bool(j % 2))) for j in range(count)]
        layers.append((f"stage{i + 1}", chain(*first, *named)))
    return network(
        [*layers, ("norm", partial(Norm, "layer"))], num_classes, partial(Head, kernel_init=TRUNCATED_NORMAL)
    )


for _kind in KINDS:
    models.register(_kind)(
        Model(partial(swin, _kind), (224, 224, 3), "Liu et al. (2021), arXiv:2103.14030; torchvision")
    )
