"""Networks of face-api: a ResNet of 29 layers that tells faces apart, and a small dense one that finds their landmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from examples.trained.formats import read_tfjs
from examples.trained.photos import photos
from examples.trained.tables import Arrays, Network, Package, networks, packages

MEAN = (122.782, 117.001, 104.298)
RECOGNITION_SIDE, LANDMARK_SIDE = 150, 112
STAGES = ((32, 3, False), (64, 3, True), (128, 2, True), (256, 2, True))
"""Features, number of blocks, and whether a block stands before them that halves the map."""


def build_recognition() -> Any:
    """The module: `conv32_down`, `conv32_1`, ..., `conv256_down_out`, `fc`; it gives 128 numbers."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    class Scaled(nn.Module):
        """A convolution, and a scale and a shift for each feature, which stand for a normalization."""

        features: int
        kernel: int = 3
        stride: int = 1
        padding: str = "SAME"

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.Conv(
                self.features, (self.kernel,) * 2, self.stride, self.padding, name="conv",
                kernel_init=nn.initializers.he_normal(),
            )(x)  # fmt: skip
            shape = (self.features,)
            return x * self.param("scale", nn.initializers.ones, shape) + self.param("shift", nn.initializers.zeros, shape)

    class Block(nn.Module):
        """Two convolutions and a skip; one that halves the map has its mean over 2 x 2 as the skip."""

        features: int
        down: bool = False

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            first = Scaled(self.features, stride=2, padding="VALID", name="conv1") if self.down else None
            y = nn.relu((first or Scaled(self.features, name="conv1"))(x))
            y = Scaled(self.features, name="conv2")(y)
            if self.down:
                x = nn.avg_pool(x, (2, 2), (2, 2))
                x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.features - x.shape[-1])))
                y = jnp.pad(y, ((0, 0), *((0, int(a != b)) for a, b in zip(x.shape[1:3], y.shape[1:3])), (0, 0)))
            return nn.relu(x + y)

    class Recognition(nn.Module):
        """The whole network."""

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.relu(Scaled(32, 7, 2, "VALID", name="conv32_down")(x))
            x = nn.max_pool(x, (3, 3), (2, 2))
            for features, count, down in STAGES:
                if down:
                    x = Block(features, True, name=f"conv{features}_down")(x)
                for i in range(1, count + 1):
                    x = Block(features, name=f"conv{features}_{i}")(x)
            x = Block(256, True, name="conv256_down_out")(x)
            return nn.Dense(128, use_bias=False, name="fc")(x.mean((1, 2)))

    return Recognition()


def recognition_inputs(count: int) -> np.ndarray:
    """Photos of 150 pixels, less their mean color."""
    return (photos(count, (RECOGNITION_SIDE,) * 2) - np.array(MEAN)).astype(np.float32) / 256


RECOGNITION_KINDS = {
    "conv/filters": "conv/kernel", "conv/bias": "conv/bias", "scale/weights": "scale", "scale/biases": "shift",
}  # fmt: skip


def recognition_arrays(folder: Path) -> Arrays:
    """Variables of the module."""
    found = {}
    for name, array in read_tfjs(folder / "package" / "model" / "face_recognition_model-weights_manifest.json").items():
        for theirs, ours in RECOGNITION_KINDS.items():
            if name.endswith(theirs):
                found[f"params/{name.removesuffix(theirs)}{ours}"] = array
    held = read_tfjs(folder / "package" / "model" / "face_recognition_model-weights_manifest.json")
    return {**found, "params/fc/kernel": held["fc"]}
