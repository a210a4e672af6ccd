"""Small models as plain functions `f(w, x)`, with fixed random weights.

Weights are arguments, as in real models: a weight that is closed over would be a known constant.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxrf

LAYOUTS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def weights(*shapes: tuple[int, ...], seed: int = 0, dtype: type = np.float64) -> list[np.ndarray]:
    """Fixed normal weights, scaled so that activations stay near one."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=s) / np.sqrt(max(1, np.prod(s[:-1])))).astype(dtype) for s in shapes]


def images(count: int, *shape: int, seed: int = 7, dtype: type = np.float64) -> np.ndarray:
    """Fixed normal images (count, *shape)."""
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(dtype)


def conv(
    x: jax.Array, w: jax.Array, stride: int | Sequence[int] = 1, padding="SAME", groups: int = 1, layout=None, **options
) -> jax.Array:
    """A convolution in the usual layout of its rank, or in `layout`."""
    d = x.ndim - 2
    strides = (stride,) * d if isinstance(stride, int) else tuple(stride)
    numbers = layout or LAYOUTS[d]
    return lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=numbers, feature_group_count=groups, **options
    )


def max_pool(x: jax.Array, size: int = 3, stride: int = 2, padding="SAME") -> jax.Array:
    """A maximum over windows of the axes between batch and features."""
    d = x.ndim - 2
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *(size,) * d, 1), (1, *(stride,) * d, 1), padding)


def sum_pool(x: jax.Array, size: int = 3, stride: int = 2, padding="SAME") -> jax.Array:
    """A sum over windows of the axes between batch and features."""
    d = x.ndim - 2
    return lax.reduce_window(x, 0.0, lax.add, (1, *(size,) * d, 1), (1, *(stride,) * d, 1), padding)


def average_pool(x: jax.Array, size: int = 3, stride: int = 2) -> jax.Array:
    """A mean over windows under SAME padding, of the positions that exist."""
    return sum_pool(x, size, stride) / sum_pool(jnp.ones_like(x[:1]), size, stride)


def layer_norm(x: jax.Array, axes: int | tuple[int, ...] = -1) -> jax.Array:
    """Zero mean and unit variance over `axes`."""
    return (x - x.mean(axes, keepdims=True)) * lax.rsqrt(x.var(axes, keepdims=True) + 1e-3)


# Three small networks, each with a tap on every layer.

RESIDUAL = ((3, 3, 2, 4), (3, 3, 4, 4), (3, 3, 4, 4), (1, 1, 4, 4))


def residual(w, x, act=jax.nn.relu):
    """A strided stem, a max-pool and a down-sampling residual block, as in a ResNet."""
    x = jaxrf.tap(act(conv(x, w[0], 2)), "stem")
    x = jaxrf.tap(max_pool(x), "pool")
    y = jaxrf.tap(act(conv(x, w[1], 2)), "first")
    y = jaxrf.tap(conv(y, w[2]), "second")
    return jaxrf.tap(act(y + conv(x, w[3], 2)), "block")


MOBILE = ((1, 1, 2, 6), (3, 3, 1, 6), (1, 1, 6, 4), (3, 3, 1, 4), (1, 1, 4, 3))


def mobile(w, x):
    """Expansion, strided depthwise convolution and projection, then a second depthwise one: as in a MobileNet."""
    x = jaxrf.tap(jax.nn.relu6(conv(x, w[0])), "expand")
    x = jaxrf.tap(jax.nn.relu6(conv(x, w[1], (2, 1), groups=6)), "depthwise")
    x = jaxrf.tap(conv(x, w[2]), "project")
    x = jaxrf.tap(x + conv(x, w[3], groups=4), "residual")
    return jaxrf.tap(conv(x, w[4], padding="VALID"), "head")


NEXT = ((2, 2, 2, 4), (5, 5, 1, 4), (4, 8), (8, 4), (4,))


def next_(w, x):
    """A patch stem and a block of depthwise convolution, LayerNorm, GELU and layer scale: as in a ConvNeXt."""
    x = jaxrf.tap(layer_norm(conv(x, w[0], 2, padding="VALID")), "stem")
    y = jaxrf.tap(conv(x, w[1], groups=4), "depthwise")
    y = jaxrf.tap(jax.nn.gelu(layer_norm(y) @ w[2]), "expand")
    return jaxrf.tap(x + (y @ w[3]) * w[4], "block")


NETS = {"residual": (residual, RESIDUAL), "mobile": (mobile, MOBILE), "next": (next_, NEXT)}
LAYERS = {
    "residual": ("stem", "pool", "first", "second", "block"),
    "mobile": ("expand", "depthwise", "project", "residual", "head"),
    "next": ("stem", "depthwise", "expand", "block"),
}


def channels_first(f):
    """The network on (batch, channel, y, x), in and out."""
    return lambda w, x: f(w, x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
