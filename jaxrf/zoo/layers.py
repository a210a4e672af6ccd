"""The layers that the families of the zoo share.

Every module here is called as `module(x, train)` on (batch, *spatial, features), so that chains need no special cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.zoo.model import at_least

Layer = partial[Any]
"""A module but for its `name`, which the chain that holds it gives."""

Padding = str | int | Sequence[tuple[int, int]]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "linear": lambda x: x,
    "relu": nn.relu,
    "relu6": nn.relu6,
    "leaky_relu": nn.leaky_relu,
    "elu": nn.elu,
    "tanh": jnp.tanh,
    "sigmoid": nn.sigmoid,
    "silu": nn.silu,
    "gelu": partial(nn.gelu, approximate=False),
    "hard_swish": nn.hard_swish,
    "hard_sigmoid": nn.hard_sigmoid,
}

KAIMING_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
KAIMING_FAN_IN = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
UNIFORM_FAN_IN = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""How PyTorch fills a layer when nothing is said."""


TRUNCATED_NORMAL = nn.initializers.truncated_normal(0.02)


def per_axis(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One number per spatial axis from one number or from such a sequence."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def explicit(padding: Padding, rank: int) -> Any:
    """A padding as Flax's pools take it: a name, or (before, after) per axis, which their annotation leaves out."""
    if isinstance(padding, str):
        return padding
    return ((padding, padding),) * rank if isinstance(padding, int) else tuple(padding)


def normalization(kind: str, train: bool, name: str = "norm") -> Any:
    """A normalization over the features of a position ("layer"), over a whole map ("map") or over a batch ("batch")."""
    if kind == "layer":
        return nn.LayerNorm(epsilon=1e-6, name=name)
    if kind == "map":
        return nn.GroupNorm(num_groups=1, epsilon=1e-5, name=name)
    return nn.BatchNorm(not train, epsilon=1e-5, name=name)


class Norm(nn.Module):
    """A normalization, of the kinds of `normalization`, and an activation."""

    kind: str
    activation: str = "linear"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return ACTIVATIONS[self.activation](normalization(self.kind, train)(x))


class ConvNorm(nn.Module):
    """A convolution, then batch normalization or else a bias, then an activation.

    `groups=0` is a depthwise convolution, whatever the number of input features.
    """

    features: int
    kernel: int | Sequence[int] = 3
    stride: int = 1
    padding: Padding = "SAME"
    groups: int = 1
    dilation: int = 1
    norm: bool = True
    scale: bool = True
    epsilon: float = 1e-5
    activation: str = "relu"
    kernel_init: Callable[..., jax.Array] = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        rank = x.ndim - 2
        x = nn.Conv(
            self.features,
            per_axis(self.kernel, rank),
            strides=self.stride,
            padding=self.padding,
            feature_group_count=self.groups or x.shape[-1],
            kernel_dilation=self.dilation,
            use_bias=not self.norm,
            kernel_init=self.kernel_init,
            name="conv",
        )(x)
        if self.norm:
            x = nn.BatchNorm(not train, epsilon=self.epsilon, use_scale=self.scale, name="norm")(x)
        return ACTIVATIONS[self.activation](x)


class NormConv(nn.Module):
    """Batch normalization and an activation, then a convolution without bias."""

    features: int
    kernel: int = 1
    padding: Padding = "SAME"
    kernel_init: Callable[..., jax.Array] = KAIMING_FAN_IN

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.relu(nn.BatchNorm(not train, epsilon=1e-5, name="norm")(x))
        size = (self.kernel,) * (x.ndim - 2)
        return nn.Conv(
            self.features, size, padding=self.padding, use_bias=False, kernel_init=self.kernel_init, name="conv"
        )(x)


class SqueezeExcite(nn.Module):
    """A map times a gate per feature: two layers of a perceptron on the mean over all positions."""

    squeezed: int
    activation: str = "relu"
    gate: str = "sigmoid"
    kernel_init: Callable[..., jax.Array] = KAIMING_FAN_OUT

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        mean = x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True)
        y = nn.Dense(self.squeezed, kernel_init=self.kernel_init, name="squeeze")(mean)
        y = nn.Dense(x.shape[-1], kernel_init=self.kernel_init, name="excite")(ACTIVATIONS[self.activation](y))
        return x * ACTIVATIONS[self.gate](y)


class InvertedResidual(nn.Module):
    """A widening 1x1, a depthwise and a linear narrowing 1x1 convolution; added to the input where shapes allow.

    With `squeezed` features a gate stands before the narrowing. With `fused` one full convolution takes the place of
    the first two, or of all three where nothing widens.
    """

    features: int
    wide: int
    kernel: int = 3
    stride: int = 1
    squeezed: int = 0
    fused: bool = False
    activation: str = "relu6"
    gate: tuple[str, str] = ("relu", "sigmoid")
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = partial(ConvNorm, activation=self.activation, epsilon=self.epsilon, kernel_init=KAIMING_FAN_OUT)
        widens = self.wide != x.shape[-1]
        spread = self.kernel, self.stride, self.kernel // 2
        if self.fused:
            y = conv(self.wide if widens else self.features, *spread, name="expand")(x, train)
        else:
            y = conv(self.wide, 1, name="expand")(x, train) if widens else x
            y = conv(self.wide, *spread, groups=0, name="depthwise")(y, train)
        if self.squeezed:
            y = SqueezeExcite(self.squeezed, *self.gate, name="gate")(y, train)
        if widens or not self.fused:
            y = conv(self.features, 1, activation="linear", name="project")(y, train)
        return x + y if x.shape == y.shape else y


class Perceptron(nn.Module):
    """Two dense layers on the features of each position, with an activation between them."""

    wide: int
    kernel_init: Callable[..., jax.Array] = TRUNCATED_NORMAL

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = nn.Dense(self.wide, kernel_init=self.kernel_init, name="expand")(x)
        return nn.Dense(x.shape[-1], kernel_init=self.kernel_init, name="project")(ACTIVATIONS["gelu"](y))


class LayerScale(nn.Module):
    """A map times a learned number per feature, all of which start at `start`."""

    start: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return x * self.param("scale", nn.initializers.constant(self.start), (x.shape[-1],))


class Pool(nn.Module):
    """What `pool` makes of each window."""

    kernel: int
    stride: int = 1
    padding: Padding = "SAME"
    pool: ClassVar[Callable[..., jax.Array]]

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        rank = x.ndim - 2
        return self.pool(x, (self.kernel,) * rank, (self.stride,) * rank, explicit(self.padding, rank))


class MaxPool(Pool):
    """The maximum over a window."""

    pool = staticmethod(nn.max_pool)


class AvgPool(Pool):
    """The mean over the part of a window that lies inside of the map, as in TensorFlow."""

    pool = staticmethod(partial(nn.avg_pool, count_include_pad=False))


class Chain(nn.Module):
    """Named layers, one after the other."""

    layers: tuple[tuple[str, Layer], ...] = field(repr=False)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        for name, layer in self.layers:
            x = layer(name=name)(x, train)
        return x


class Concat(nn.Module):
    """Named layers side by side, their outputs concatenated along the features."""

    layers: tuple[tuple[str, Layer], ...] = field(repr=False)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return jnp.concatenate([layer(name=name)(x, train) for name, layer in self.layers], axis=-1)


class Head(nn.Module):
    """A classifier: the mean over all positions, then a dense layer."""

    num_classes: int
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = x.mean(axis=tuple(range(1, x.ndim - 1)))
        return nn.Dense(self.num_classes, kernel_init=self.kernel_init, name="dense")(x)


class NormHead(nn.Module):
    """A classifier: the mean over all positions, layer normalization, a dense layer."""

    num_classes: int
    kernel_init: Callable[..., jax.Array] = TRUNCATED_NORMAL

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.LayerNorm(epsilon=1e-6, name="norm")(x.mean(axis=tuple(range(1, x.ndim - 1))))
        return nn.Dense(self.num_classes, kernel_init=self.kernel_init, name="dense")(x)


def chain(*layers: tuple[str, Layer]) -> Layer:
    """A layer that is a `Chain` of named layers."""
    return partial(Chain, layers=layers)


def blocks(layers: Iterable[Layer]) -> Layer:
    """A chain of `block_0`, `block_1`, ..."""
    return chain(*((f"block_{i}", layer) for i, layer in enumerate(layers)))


def network(layers: Sequence[tuple[str, Layer]], num_classes: int | None, head: Callable[..., Any] = Head) -> Chain:
    """Named layers as a whole network, with a classifier `head` if there are classes.

    Raises:
        InputError: for a number of classes below one.
    """
    at_least("num_classes", num_classes, 1, optional=True)
    last = [] if num_classes is None else [("head", partial(head, num_classes))]
    return Chain((*layers, *last))
