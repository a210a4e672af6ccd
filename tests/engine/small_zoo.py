"""The networks of the zoo with a few features, fewer blocks where a stage repeats one, and weights that keep units alive."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrf import zoo
from jaxrf.adapters import Subject, adapt
from jaxrf.zoo import resnets, slim_inceptions, slim_resnets
from jaxrf.zoo.layers import Concat, ConvNorm, Layer
from jaxrf.zoo.slim import SlimNet

NARROWER = 16
"""The TF-Slim networks have a sixteenth of their features: stems of 2 to 4, last maps of up to 128."""
FEATURES = {
    ConvNorm: "features",
    slim_inceptions.SeparableConv: "features",
    slim_resnets.Bottleneck: "width",
}
"""The field that says how wide a module is; it is the first one of each."""


@dataclass(frozen=True)
class Small:
    """How one network is made small.

    Attributes:
        shape: of the image; its sides differ, and the last map has at least two positions on the longer one.
        options: of the constructor.
    """

    shape: tuple[int, ...] = (56, 72, 3)
    options: dict[str, Any] = field(default_factory=dict)


NETWORKS = {
    "alexnet_v2": Small((112, 144, 3)),
    "vgg_a": Small((64, 96, 3)),
    "vgg_16": Small((64, 96, 3)),
    "mobilenet_v1": Small(),
    "mobilenet_v1_075": Small(),
    "inception_v2": Small(),
    "inception_v3": Small((107, 139, 3)),
    "inception_v4": Small((107, 139, 3)),
    "inception_resnet_v2": Small((107, 139, 3)),
    "resnet_v1_50": Small(),
    "resnet_v2_50": Small(),
    "conv_stack": Small((17, 23, 3), {"width": 8}),
    "conv_stack_nnx": Small((23, 17, 3), {"width": 8}),
    "esrgan": Small((9, 7, 3), {"blocks": 1, "width": 4, "growth": 2}),
    "convnext_tiny": Small((64, 96, 3), {"width": 6, "depths": (2, 2, 2, 2)}),
    "deeplab_v3": Small((64, 96, 3), {"width": 4, "features": 8, "rates": (2, 3)}),
    "densenet121": Small((64, 96, 3), {"growth": 4, "depths": (2, 2, 2, 2)}),
    "efficientnet_b0": Small((64, 96, 3), {"width": 0.25, "depth": 0.5}),
    "efficientnet_v2_s": Small((64, 96, 3), {"width": 0.25, "depth": 0.3}),
    "hrnet_w32": Small((64, 96, 3), {"width": 4, "exchanges": (1, 1, 1), "count": 1}),
    "inception_next_tiny": Small((64, 96, 3), {"width": 8, "depths": (2, 1, 1, 1)}),
    "maxvit_tiny": Small(
        (64, 128, 3), {"window": 2, "stem": 8, "widths": (8, 8, 16, 16), "depths": (1,) * 4, "head_width": 4}
    ),
    "mixer_s16": Small((48, 32, 3), {"width": 12, "depth": 2}),
    "mobilenet_v3_large": Small((64, 96, 3), {"width": 0.25}),
    "mobilenet_v3_small": Small((64, 96, 3), {"width": 0.25}),
    "poolformer_s12": Small((64, 96, 3), {"widths": (4, 8, 8, 12), "depths": (1, 1, 2, 1)}),
    "regnet_y_400mf": Small((64, 96, 3), {"widths": (8, 8, 16, 16), "depths": (1, 2, 1, 1), "group": 4}),
    "replknet_31b": Small((64, 96, 3), {"kernels": (9, 7, 5, 5), "width": 4, "depths": (1, 1, 2, 1)}),
    "resnet50_fpn": Small((64, 96, 3), {"width": 4, "features": 8}),
    "resnext50_32x4d": Small((64, 96, 3), {"width": 16}),
    "slak_tiny": Small((64, 96, 3), {"kernels": (11, 9, 7, 5), "small": 3, "width": 6, "depths": (2, 1, 1, 1)}),
    "swin_tiny": Small((64, 128, 3), {"window": 2, "width": 6, "depths": (2, 2, 2, 1)}),
    "tcn": Small((40, 1), {"levels": 3, "kernel": 3, "width": 6}),
    "unet_3d": Small((20, 22, 26, 1), {"depth": 1, "width": 2}),
    "van_b1": Small((64, 96, 3), {"widths": (4, 8, 8, 12), "depths": (1, 1, 2, 1)}),
    "vgg11": Small((64, 96, 3), {"width": 4, "depths": (1, 1, 2, 2, 2)}),
    "wavenet": Small((40, 1), {"stacks": 2, "depth": 3, "width": 4, "skipped": 6, "channels": 5}),
    "wide_resnet50_2": Small((64, 96, 3), {"width": 4}),
    "mobilenet_v2": Small(options={"width": 0.25}),
    "resnet18": Small(options={"width": 8}),
    "resnet18_nnx": Small((55, 71, 3), {"width": 8}),
    "resnet50": Small(options={"width": 4}),
    "unet": Small((24, 40, 1), {"width": 4}),
    "vit_small_16": Small((48, 32, 3), {"width": 12, "heads": 3, "depth": 3}),
}
ALIKE = {
    "resnet34": "resnet18",
    "resnet101": "resnet50",
    "resnet152": "resnet50",
    "resnet_v1_101": "resnet_v1_50",
    "resnet_v1_152": "resnet_v1_50",
    "resnet_v2_101": "resnet_v2_50",
    "resnet_v2_152": "resnet_v2_50",
    "resnet_v1_200": "resnet_v1_50",
    "resnet_v2_200": "resnet_v2_50",
    "convnext_base": "convnext_tiny",
    "convnext_small": "convnext_tiny",
    "deit_base": "vit_small_16",
    "deit_small": "vit_small_16",
    "deit_tiny": "vit_small_16",
    "densenet169": "densenet121",
    "densenet201": "densenet121",
    "efficientnet_b4": "efficientnet_b0",
    "hrnet_w18": "hrnet_w32",
    "mixer_b16": "mixer_s16",
    "poolformer_s24": "poolformer_s12",
    "regnet_y_3_2gf": "regnet_y_400mf",
    "regnet_y_800mf": "regnet_y_400mf",
    "replknet_13b": "replknet_31b",
    "swin_small": "swin_tiny",
    "van_b0": "van_b1",
    "van_b2": "van_b1",
    "vgg13": "vgg11",
    "vgg16": "vgg11",
    "vgg19": "vgg11",
}
"""Networks that are made of the same blocks as another one, only more of them."""
REPEATS = 2
"""Blocks in a row that are kept of equal ones, or of mixed modules that differ in their features alone."""


def subject_of(name: str, patch: Callable[[Any, str, Any], None]) -> Subject:
    """The small network of that name in float64, with its weights.

    Args:
        name: in the zoo.
        patch: `monkeypatch.setattr`, for networks whose depths and widths are constants of their module.
    """
    small = NETWORKS[ALIKE.get(name, name)]
    patch(resnets, "LAYOUTS", {depth: (wide, few(counts)) for depth, (wide, counts) in resnets.LAYOUTS.items()})
    if name.endswith("_nnx"):
        graph, state = nnx.split(nnx.eval_shape(lambda: zoo.models[name](**small.options)))
        return adapt(nnx.merge(graph, weights(state)), small.shape, dtype=np.float64)
    model = zoo.models[name](**small.options)
    if isinstance(model, SlimNet):
        model = SlimNet(narrowed_all(model.layers), network=model.network)
    image = jax.ShapeDtypeStruct((1, *small.shape), np.float64)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    return adapt(model, small.shape, variables=weights(shapes), dtype=np.float64)


def few(counts: tuple[int, ...]) -> tuple[int, ...]:
    """The numbers of blocks, none above `REPEATS`."""
    return tuple(min(count, REPEATS) for count in counts)


def narrowed_all(layers: tuple[tuple[str, Layer], ...]) -> tuple[tuple[str, Layer], ...]:
    """Named layers, each narrowed, with at most `REPEATS` equal ones in a row."""
    kept: list[tuple[str, Layer]] = []
    for name, layer in layers:
        if len(kept) < REPEATS or any(form(layer) != form(other) for _, other in kept[-REPEATS:]):
            kept.append((name, layer))
    return tuple((name, narrowed(layer)) for name, layer in kept)


def form(layer: Any, featured: bool = True) -> Any:
    """What equal layers have in common: all but their name; of mixed modules all but their features."""
    if not isinstance(layer, partial):
        return tuple(form(part, featured) for part in layer) if isinstance(layer, tuple) else layer
    featured = featured and layer.func is not Concat
    hidden = None if featured else FEATURES.get(layer.func)
    keywords = {key: form(value, featured) for key, value in layer.keywords.items() if key != hidden}
    return layer.func, form(layer.args, featured), tuple(sorted(keywords.items(), key=str))


def narrowed(layer: Layer) -> Layer:
    """The same layer with a `NARROWER`-th of its features, and so all layers inside of it."""
    args: list[Any] = [narrowed(a) if isinstance(a, partial) else a for a in layer.args]
    keywords = dict(layer.keywords)
    if "layers" in keywords:
        keywords["layers"] = narrowed_all(keywords["layers"])
    if layer.func in FEATURES and args:
        args[0] //= NARROWER
    elif layer.func in FEATURES:
        keywords[FEATURES[layer.func]] //= NARROWER
    return partial(layer.func, *args, **keywords)


def weights(shapes: Any) -> Any:
    """Random weights of these shapes: kernels that keep magnitudes; scales, biases and averages that all matter."""
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> jax.Array:
        name = jax.tree_util.keystr(path)
        if "kernel" in name:
            drawn = rng.normal(scale=math.sqrt(2 / math.prod(leaf.shape[:-1])), size=leaf.shape)
        elif "scale" in name or "var" in name:
            drawn = rng.uniform(0.5, 1.5, leaf.shape)
        else:
            drawn = rng.normal(scale=0.3, size=leaf.shape)
        return jnp.asarray(drawn)

    return jax.tree_util.tree_map_with_path(draw, shapes)
