"""Attention within windows of a map, with a learned bias for each offset of two positions: for Swin and MaxViT."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.errors import InputError
from jaxrf.zoo.layers import TRUNCATED_NORMAL


def windows_of(x: jax.Array, window: int, spread: bool = False) -> jax.Array:
    """(batch, height, width, features) as (batch, windows, positions, features).

    A window holds positions side by side or, `spread`, those that lie as far apart as there are windows.
    """
    batch, height, width, features = x.shape
    rows, columns = height // window, width // window
    if spread:
        x = x.reshape(batch, window, rows, window, columns, features).transpose(0, 2, 4, 1, 3, 5)
    else:
        x = x.reshape(batch, rows, window, columns, window, features).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows * columns, window * window, features)


def map_of(x: jax.Array, window: int, shape: tuple[int, ...], spread: bool = False) -> jax.Array:
    """What `windows_of` took apart, put together again."""
    batch, height, width, _ = shape
    rows, columns = height // window, width // window
    x = x.reshape(batch, rows, columns, window, window, x.shape[-1])
    return x.transpose((0, 3, 1, 4, 2, 5) if spread else (0, 1, 3, 2, 4, 5)).reshape(batch, height, width, -1)


def offsets(window: int) -> np.ndarray:
    """(positions, positions): the number of the offset between two positions of a window."""
    places = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij")).reshape(2, -1)
    rows, columns = places[:, :, None] - places[:, None, :] + window - 1
    return rows * (2 * window - 1) + columns


def check_windows(extent: tuple[int, ...], window: int, stride: int) -> None:
    """Raise an InputError unless a map of stride `stride` is a whole number of windows."""
    if any(size % window or not size for size in extent):
        raise InputError(
            f"A map of {extent} positions is not a whole number of windows of {window}x{window}. "
            f"Each spatial axis of the input needs a multiple of {window * stride}."
        )


class WindowAttention(nn.Module):
    """Self-attention within each window of (batch, windows, positions, features)."""

    heads: int
    window: int

    @nn.compact
    def __call__(self, x: jax.Array, mask: np.ndarray | None = None) -> jax.Array:
        *lead, positions, features = x.shape
        size = features // self.heads
        joined = nn.Dense(3 * features, kernel_init=TRUNCATED_NORMAL, name="qkv")(x)
        query, key, value = jnp.split(joined.reshape(*lead, positions, 3 * self.heads, size), 3, axis=-2)
        table = self.param("bias", TRUNCATED_NORMAL, ((2 * self.window - 1) ** 2, self.heads))
        logits = jnp.einsum("bwqhc,bwkhc->bwhqk", query * size**-0.5, key)
        logits = logits + jnp.moveaxis(table[offsets(self.window)], -1, 0)
        if mask is not None:
            logits = jnp.where(mask[:, None], logits, -100.0)
        y = jnp.einsum("bwhqk,bwkhc->bwqhc", nn.softmax(logits), value).reshape(x.shape)
        return nn.Dense(features, kernel_init=TRUNCATED_NORMAL, name="project")(y)
