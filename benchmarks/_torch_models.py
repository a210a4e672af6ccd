"""The zoo's networks written plainly in PyTorch, layer by layer under the same names.

`load_flax(module, variables)` copies the weights of the Flax network, so that results can be compared.
All take images (batch, channels, height, width) and return the last map.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flax.traverse_util import flatten_dict
from torch import nn

from jaxrf.zoo.convnexts import KINDS
from jaxrf.zoo.mobilenets import LAYOUT, rounded
from jaxrf.zoo.resnets import LAYOUTS


def named(**layers: nn.Module) -> nn.Sequential:
    """A sequence of named layers."""
    return nn.Sequential(OrderedDict(layers))


def conv_norm(
    found: int,
    features: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    norm: bool = True,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """A convolution with symmetric padding, then batch normalization or else a bias, then an activation."""
    conv = nn.Conv2d(found, features, kernel, stride, kernel // 2, groups=groups, bias=not norm)
    layers: dict[str, nn.Module] = {"conv": conv}
    if norm:
        layers["norm"] = nn.BatchNorm2d(features, eps=1e-5)
    if activation:
        layers["activation"] = activation(inplace=True)
    return named(**layers)


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a widening 1x1 convolution, added to the input."""

    def __init__(self, found: int, width: int, stride: int):
        super().__init__()
        self.conv1 = conv_norm(found, width, 1)
        self.conv2 = conv_norm(width, width, 3, stride)
        self.conv3 = conv_norm(width, 4 * width, 1, activation=None)
        change = stride != 1 or found != 4 * width
        self.downsample = conv_norm(found, 4 * width, 1, stride, activation=None) if change else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv3(self.conv2(self.conv1(x)))
        return torch.relu_(y + (x if self.downsample is None else self.downsample(x)))


def resnet(depth: int = 50, stages: int = 4, width: int = 64) -> nn.Sequential:
    """`zoo.resnet` with bottleneck blocks, up to a stage."""
    parts: dict[str, nn.Module] = {"stem": named(conv1=conv_norm(3, width, 7, 2), pool1=nn.MaxPool2d(3, 2, 1))}
    found = width
    for stage, count in enumerate(LAYOUTS[depth][1][:stages]):
        blocks = OrderedDict()
        for i in range(count):
            blocks[f"block_{i}"] = Bottleneck(found, width * 2**stage, 2 if stage and i == 0 else 1)
            found = 4 * width * 2**stage
        parts[f"layer{stage + 1}"] = nn.Sequential(blocks)
    return named(**parts)


class InvertedResidual(nn.Module):
    """A widening 1x1, a depthwise 3x3 and a linear narrowing 1x1 convolution."""

    def __init__(self, found: int, features: int, expansion: int, stride: int):
        super().__init__()
        wide = found * expansion
        self.expand = conv_norm(found, wide, 1, activation=nn.ReLU6) if expansion != 1 else nn.Identity()
        self.depthwise = conv_norm(wide, wide, 3, stride, groups=wide, activation=nn.ReLU6)
        self.project = conv_norm(wide, features, 1, activation=None)
        self.skip = stride == 1 and found == features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


def mobilenet_v2(width: float = 1.0) -> nn.Sequential:
    """`zoo.mobilenet_v2`."""
    found = rounded(32 * width)
    parts: dict[str, nn.Module] = {"stem": conv_norm(3, found, 3, 2, activation=nn.ReLU6)}
    for expansion, features, count, first_stride in LAYOUT:
        for i in range(count):
            stride = first_stride if i == 0 else 1
            block = InvertedResidual(found, rounded(features * width), expansion, stride)
            parts[f"block_{len(parts) - 1}"] = block
            found = rounded(features * width)
    last = rounded(1280 * max(1.0, width))
    return named(**parts, conv_last=conv_norm(found, last, 1, activation=nn.ReLU6))


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution, layer normalization and a perceptron, on channels-last maps as torchvision has it."""

    def __init__(self, features: int, kernel: int):
        super().__init__()
        self.depthwise = nn.Conv2d(features, features, kernel, padding=kernel // 2, groups=features)
        self.norm = nn.LayerNorm(features, eps=1e-6)
        self.expand = nn.Linear(features, 4 * features)
        self.project = nn.Linear(4 * features, features)
        self.scale = nn.Parameter(torch.ones(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.project(nn.functional.gelu(self.expand(y))) * self.scale
        return x + y.permute(0, 3, 1, 2)


class Downsample(nn.Module):
    """A convolution whose stride is its size, with layer normalization before or after it."""

    def __init__(self, found: int, features: int, size: int, norm_first: bool):
        super().__init__()
        self.conv = nn.Conv2d(found, features, size, size)
        self.norm = nn.LayerNorm(found if norm_first else features, eps=1e-6)
        self.norm_first = norm_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self._normalized(x)) if self.norm_first else self._normalized(self.conv(x))

    def _normalized(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext_tiny(stages: int = 4, kernel: int = 7) -> nn.Sequential:
    """`zoo.convnext_tiny` with its layer scale, up to a stage."""
    first, counts = KINDS["convnext_tiny"]
    parts: dict[str, nn.Module] = {"stem": Downsample(3, first, 4, False)}
    for stage, count in enumerate(counts[:stages]):
        features = first * 2**stage
        blocks: dict[str, nn.Module] = {}
        if stage:
            blocks["downsample"] = Downsample(features // 2, features, 2, True)
        blocks |= {f"block_{i}": ConvNeXtBlock(features, kernel) for i in range(count)}
        parts[f"stage{stage + 1}"] = named(**blocks)
    return named(**parts)


def conv_stack(depth: int, width: int, channels: int = 3) -> nn.Sequential:
    """`zoo.conv_stack` of 3x3 kernels with ReLU between."""
    parts: dict[str, nn.Module] = {}
    for i in range(depth):
        if i:
            parts[f"relu_{i}"] = nn.ReLU(inplace=True)
        parts[f"conv_{i}"] = nn.Conv2d(width if i else channels, width, 3, padding=1, bias=False)
    return named(**parts)


def double_conv(found: int, features: int) -> nn.Sequential:
    """Two convolutions, each with a bias and a ReLU."""
    return named(conv_0=conv_norm(found, features, norm=False), conv_1=conv_norm(features, features, norm=False))


class UNet(nn.Module):
    """`zoo.unet` with transposed convolutions."""

    def __init__(self, depth: int, width: int, channels: int = 1):
        super().__init__()
        self.depth = depth
        found = channels
        for level in range(depth):
            setattr(self, f"down_{level}", double_conv(found, width * 2**level))
            found = width * 2**level
        self.bottom = double_conv(found, 2 * found)
        for level in reversed(range(depth)):
            features = width * 2**level
            setattr(self, f"upsample_{level}", named(conv=nn.ConvTranspose2d(2 * features, features, 2, 2)))
            setattr(self, f"up_{level}", double_conv(2 * features, features))
        self.head = conv_norm(width, 1, 1, norm=False, activation=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level in range(self.depth):
            x = getattr(self, f"down_{level}")(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for level in reversed(range(self.depth)):
            x = torch.cat([skips[level], getattr(self, f"upsample_{level}")(x)], 1)
            x = getattr(self, f"up_{level}")(x)
        return self.head(x)


NAMES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def load_flax(module: nn.Module, variables: Mapping[str, Any]) -> nn.Module:
    """Copy the variables of the Flax network of the same layers; evaluation mode, weights frozen.

    Top-level layers that `module` lacks are left out: it may be the first part of the Flax network.

    Raises:
        ValueError: a weight of `module` got no value.
    """
    missing = {name for name, _ in module.named_parameters()}
    parts = {name for name, _ in module.named_children()}
    for collection in ("params", "batch_stats"):
        for path, value in flatten_dict(dict(variables.get(collection, {}))).items():
            if path[0] not in parts:
                continue
            owner, leaf = module.get_submodule(".".join(path[:-1])), path[-1]
            name = leaf if hasattr(owner, leaf) else NAMES[leaf]
            getattr(owner, name).data.copy_(torch.tensor(_in_torch_order(owner, leaf, np.asarray(value))))
            missing.discard(".".join((*path[:-1], name)))
    if missing:
        raise ValueError(f"No value for {sorted(missing)}")
    return module.eval().requires_grad_(False)


def _in_torch_order(owner: nn.Module, leaf: str, value: np.ndarray) -> np.ndarray:
    """Kernels (y, x, in, out) as (out, in, y, x); those of transposed convolutions flipped, as (in, out, y, x)."""
    if leaf != "kernel":
        return value
    if isinstance(owner, nn.ConvTranspose2d):
        return value[::-1, ::-1].transpose(2, 3, 0, 1).copy()
    return value.T if isinstance(owner, nn.Linear) else value.transpose(3, 2, 0, 1)
