"""What the TF-Slim networks share: their notation, and the way that end-points become module names.

A network is a list of named layers. A name with slashes, as "vgg_16/conv1/conv1_1", becomes modules inside of modules,
so that the path of each module is the name of its end-point.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrf.zoo.layers import Chain, Concat, ConvNorm, Head, Layer, MaxPool, per_axis
from jaxrf.zoo.model import at_least

KINDS = {"ConvNorm": "Conv2d", "MaxPool": "MaxPool", "AvgPool": "AvgPool", "Concat": "Concat"}


class SlimNet(Chain):
    """A TF-Slim network; each module's path is an end-point, as in the published table of receptive fields."""

    network: str = ""


class SpatialMean(nn.Module):
    """The mean over all positions."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))


def nested(layers: Sequence[tuple[str, Layer]]) -> tuple[tuple[str, Layer], ...]:
    """Layers of names with slashes as chains inside of chains; neighbors of one first part share a chain.

    >>> [name for name, _ in nested([("a/b", max_pool()), ("a/c", max_pool()), ("d", max_pool())])]
    ['a', 'd']
    """
    groups: list[tuple[str, list[tuple[str, Layer]] | Layer]] = []
    for name, layer in layers:
        first, slash, rest = name.partition("/")
        if not slash:
            groups.append((first, layer))
        elif groups and groups[-1][0] == first and isinstance(groups[-1][1], list):
            groups[-1][1].append((rest, layer))
        else:
            groups.append((first, [(rest, layer)]))
    return tuple(
        (name, partial(Chain, layers=nested(inner)) if isinstance(inner, list) else inner) for name, inner in groups
    )


def network(name: str, layers: Sequence[tuple[str, Layer]], num_classes: int | None) -> SlimNet:
    """The network of these layers, with a classifier on the mean of its last map if there are classes."""
    at_least("num_classes", num_classes, 1, optional=True)
    if num_classes is not None:
        layers = [*layers, ("Logits", partial(Head, num_classes))]
    return SlimNet(nested(layers), network=name)


def branch(*layers: Layer) -> Layer:
    """One branch of a mixed module; its layers are named by kind, place and kernel: `Conv2d_0b_1x7`."""
    named = (
        (f"{KINDS[layer.func.__name__]}_0{chr(ord('a') + i)}{size(layer)}", layer) for i, layer in enumerate(layers)
    )
    return partial(Chain, layers=tuple(named))


def size(layer: Layer) -> str:
    """The kernel of a layer as its name shows it: "_1x7"; nothing for branches side by side."""
    if "kernel" not in layer.keywords:
        return ""
    return "_" + "x".join(map(str, per_axis(layer.keywords["kernel"], 2)))


def mixed(*branches: Layer) -> Layer:
    """Branches of one input, concatenated: `Branch_0`, `Branch_1`, ..."""
    return partial(Concat, layers=tuple((f"Branch_{i}", each) for i, each in enumerate(branches)))


def conv(features: int, kernel: int | tuple[int, int] = 1, stride: int = 1, padding: str = "SAME") -> Layer:
    """A convolution of the Inception family: batch normalization without a scale, then ReLU."""
    return partial(
        ConvNorm, features=features, kernel=kernel, stride=stride, padding=padding, scale=False, epsilon=1e-3
    )


def max_pool(kernel: int = 3, stride: int = 2, padding: str = "VALID") -> Layer:
    """A max-pool."""
    return partial(MaxPool, kernel=kernel, stride=stride, padding=padding)
