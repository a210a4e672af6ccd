"""CRAFT: a VGG-16 and a decoder with skips, which marks characters and the gaps between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from examples.trained.formats import by_rules, library, read_torch
from examples.trained.photos import photos
from examples.trained.tables import Arrays, Network, Package, networks, packages

SIDE = 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SLICES = (
    (1, (0, 3, 7, 10), (64, 64, 128, 128)),
    (2, (14, 17), (256, 256)),
    (3, (20, 24, 27), (256, 512, 512)),
    (4, (30, 34, 37), (512, 512, 512)),
)
"""Parts of VGG-16, the places of their convolutions in it, and their features."""
POOLED = {7, 14, 24, 34}
"""Places of the convolutions in front of which the maximum over 2 x 2 is taken."""

RULES = (
    *(
        (rf"basenet\.slice{part}\.{place + extra}", f"conv_{place}/{ours}")
        for part, places, _ in SLICES
        for place in places
        for extra, ours in ((0, "conv"), (1, "norm"))
    ),
    (r"basenet\.slice5\.1", "dilated"),
    (r"basenet\.slice5\.2", "mixed"),
    *(
        (rf"upconv(\d)\.conv\.{number}", rf"up\1/{ours}")
        for number, ours in ((0, "mix/conv"), (1, "mix/norm"), (3, "smooth/conv"), (4, "smooth/norm"))
    ),
    (r"conv_cls\.(\d)", r"score_\1"),
)


def build() -> Any:
    """The module: `conv_0` to `conv_37`, `dilated`, `mixed`, `up1` to `up4`, `score_0` to `score_8`."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    he = nn.initializers.he_normal()

    class Conv(nn.Module):
        """A convolution with a bias, and a normalization."""

        features: int
        kernel: int = 3

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.Conv(self.features, (self.kernel,) * 2, kernel_init=he, name="conv")(x)
            return nn.BatchNorm(True, epsilon=1e-5, name="norm")(x)

    class Up(nn.Module):
        """What came from below beside what was seen before, mixed and smoothed."""

        features: int

        @nn.compact
        def __call__(self, x: jax.Array, skip: jax.Array) -> jax.Array:
            x = jax.image.resize(x, (*skip.shape[:3], x.shape[-1]), "bilinear")
            x = nn.relu(Conv(2 * self.features, 1, name="mix")(jnp.concatenate([x, skip], -1)))
            return nn.relu(Conv(self.features, name="smooth")(x))

    class Craft(nn.Module):
        """The whole network."""

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            skips = []
            for part, places, features in SLICES:
                for place, count in zip(places, features, strict=True):
                    if place in POOLED:
                        x = nn.max_pool(x, (2, 2), (2, 2))
                    x = Conv(count, name=f"conv_{place}")(x)
                    # The last convolution has no ReLU; the others have theirs before they are handed on.
                    x = x if place == places[-1] and part == 4 else nn.relu(x)
                skips.append(x)
            y = nn.max_pool(x, (3, 3), (1, 1), ((1, 1), (1, 1)))
            y = nn.Conv(1024, (3, 3), padding=6, kernel_dilation=6, kernel_init=he, name="dilated")(y)
            y = nn.Conv(1024, (1, 1), kernel_init=he, name="mixed")(y)
            for i, (skip, features) in enumerate(zip(skips[::-1], (256, 128, 64, 32), strict=True), 1):
                y = Up(features, name=f"up{i}")(y, skip)
            for i, (features, kernel) in enumerate(((32, 3), (32, 3), (16, 3), (16, 1))):
                y = nn.relu(nn.Conv(features, (kernel, kernel), kernel_init=he, name=f"score_{2 * i}")(y))
            return nn.Conv(2, (1, 1), kernel_init=he, name="score_8")(y)

    return Craft()


def inputs(count: int) -> np.ndarray:
    """Photos normalized as for ImageNet."""
    return ((photos(count, (SIDE, SIDE)) / 255 - MEAN) / DEVIATION).astype(np.float32)


def file_in(folder: Path) -> Path:
    """The state_dict of the package."""
    return next(folder.rglob("craft_mlt_25k.pth"))


def arrays(folder: Path) -> Arrays:
    """Variables of the module."""
    return by_rules(read_torch(file_in(folder)), RULES, "CRAFT of PyTorch")
