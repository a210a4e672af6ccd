"""MaxViT-T: inverted residuals, attention within windows, and attention on grids that span the map."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.errors import InputError
from jaxrf.zoo.layers import AvgPool, Chain, ConvNorm, Layer, Perceptron, SqueezeExcite, chain, network, normalization
from jaxrf.zoo.model import Model, at_least, models
from jaxrf.zoo.windows import WindowAttention, check_windows, map_of, windows_of

WIDTHS = (64, 128, 256, 512)
DEPTHS = (2, 2, 5, 2)

init = nn.initializers.normal(0.02)
conv = partial(ConvNorm, kernel_init=init, activation="gelu", epsilon=1e-3)


class MBConv(nn.Module):
    """Behind a normalization: a widening 1x1, a depthwise 3x3, a gate and a narrowing 1x1; added to the input."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        wide = 4 * self.features
        y = nn.BatchNorm(not train, epsilon=1e-3, name="norm")(x)
        y = conv(wide, 1, name="expand")(y, train)
        y = conv(wide, 3, self.stride, 1, groups=0, name="depthwise")(y, train)
        y = SqueezeExcite(self.features // 4, "silu", kernel_init=init, name="gate")(y, train)
        y = nn.Dense(self.features, kernel_init=init, name="project")(y)
        if self.stride > 1:
            x = AvgPool(3, self.stride, ((1, 1), (1, 1)), name="pool")(x, train)
        if self.stride > 1 or x.shape[-1] != self.features:
            x = nn.Dense(self.features, kernel_init=init, name="shortcut")(x)
        return x + y


class Attention(nn.Module):
    """Attention within windows or on grids, and a perceptron; each behind a layer normalization, added to its input."""

    heads: int
    window: int
    spread: bool
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        check_windows(x.shape[1:-1], self.window, self.stride)
        y = windows_of(normalization("layer", train, "norm1")(x), self.window, self.spread)
        y = WindowAttention(self.heads, self.window, name="attention")(y)
        x = x + map_of(y, self.window, x.shape, self.spread)
        y = normalization("layer", train, "norm2")(x)
        return x + Perceptron(4 * x.shape[-1], init, name="perceptron")(y, train)


class TanhHead(nn.Module):
    """A classifier: the mean over all positions, layer normalization, a dense layer with tanh, another without bias."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = normalization("layer", train)(x.mean(axis=(1, 2)))
        x = jnp.tanh(nn.Dense(x.shape[-1], kernel_init=init, name="hidden")(x))
        return nn.Dense(self.num_classes, use_bias=False, kernel_init=init, name="dense")(x)


def maxvit_tiny(
    window: int = 7,
    *,
    stem: int = 64,
    widths: tuple[int, ...] = WIDTHS,
    depths: tuple[int, ...] = DEPTHS,
    head_width: int = 32,
    num_classes: int | None = None,
) -> Chain:
    """MaxViT-T: modules `stem`, `stage1` to `stage4`, each block with `conv`, `window` and `grid`, and `head`.

    The gates see the whole map, and so do all layers behind the first of them.
    Called on axes that are not a whole number of windows in every stage it raises an InputError.

    Args:
        window: side of a window and of a grid, in positions of the map.
        stem: features of the stem.
        widths: features of each stage; multiples of `head_width`.
        depths: number of blocks of each stage.
        head_width: features of an attention head.
        num_classes: size of the classifier; without it the network returns the map of its last stage.

    Source:
        Tu et al. (2022), arXiv:2204.01697, figure 2 and table 1; as in torchvision.

    Example:
        >>> from jaxrf.zoo import maxvit_tiny
        >>> len(maxvit_tiny().layers)
        5
    """
    at_least("window", window, 1)
    first = ("conv1", partial(conv, stem, 3, 2, 1)), ("conv2", partial(conv, stem, 3, norm=False, activation="linear"))
    layers: list[tuple[str, Layer]] = [("stem", chain(*first))]
    for i, (features, count) in enumerate(zip(widths, depths, strict=True)):
        if features % head_width:
            raise InputError(f"widths={widths} has {features}, which is not a multiple of head_width={head_width}.")
        attention = partial(Attention, features // head_width, window, stride=4 * 2**i)
        named = [
            (f"block_{j}", chain(
                ("conv", partial(MBConv, features, 1 if j else 2)),
                ("window", partial(attention, spread=False)),
                ("grid", partial(attention, spread=True)),
            ))
            for j in range(count)
        ]  # fmt: skip
        layers.append((f"stage{i + 1}", chain(*named)))
    return network(layers, num_classes, TanhHead)


models.register("maxvit_tiny")(Model(maxvit_tiny, (224, 224, 3), "Tu et al. (2022), arXiv:2204.01697; torchvision"))
