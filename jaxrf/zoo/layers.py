"""The layers that the families of the zoo share.

Every module here is called as `module(x, train)` on (batch, *spatial, features), so that chains need no special cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

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
}

KAIMING_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def per_axis(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One number per spatial axis from one number or from such a sequence."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def explicit(padding: Padding, rank: int) -> Any:
    """A padding as Flax's pools take it: a name, or (before, after) per axis, which their annotation leaves out."""
    if isinstance(padding, str):
        return padding
    return ((padding, padding),) * rank if isinstance(padding, int) else tuple(padding)


class ConvNorm(nn.Module):
    """A convolution, then batch normalization or else a bias, then an activation.

    `groups=0` is a depthwise convolution, whatever the number of input features.
    """

    features: int
    kernel: int | Sequence[int] = 3
    stride: int = 1
    padding: Padding = "SAME"
    groups: int = 1
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
            use_bias=not self.norm,
            kernel_init=self.kernel_init,
            name="conv",
        )(x)
        if self.norm:
            x = nn.BatchNorm(not train, epsilon=self.epsilon, use_scale=self.scale, name="norm")(x)
        return ACTIVATIONS[self.activation](x)


class MaxPool(nn.Module):
    """The maximum over a window."""

    kernel: int
    stride: int = 1
    padding: Padding = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        rank = x.ndim - 2
        return nn.max_pool(x, (self.kernel,) * rank, (self.stride,) * rank, explicit(self.padding, rank))


class AvgPool(nn.Module):
    """The mean over the part of a window that lies inside of the map, as in TensorFlow."""

    kernel: int
    stride: int = 1
    padding: Padding = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        rank = x.ndim - 2
        window, strides = (self.kernel,) * rank, (self.stride,) * rank
        return nn.avg_pool(x, window, strides, explicit(self.padding, rank), count_include_pad=False)


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

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = x.mean(axis=tuple(range(1, x.ndim - 1)))
        return nn.Dense(self.num_classes, name="dense")(x)


def chain(*layers: tuple[str, Layer]) -> Layer:
    """A layer that is a `Chain` of named layers."""
    return partial(Chain, layers=layers)
