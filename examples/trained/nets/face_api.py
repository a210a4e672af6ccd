"""Networks of face-api: a ResNet of 29 layers that tells faces apart, and a small dense one that finds their landmarks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from examples.trained.formats import depthwise_kernel, read_tfjs
from examples.trained.photos import photos
from examples.trained.runtimes import run_node
from examples.trained.tables import Arrays, Network, Package, networks, packages

MEAN = (122.782, 117.001, 104.298)
RECOGNITION_SIDE, LANDMARK_SIDE = 150, 112
STAGES = ((32, 3, False), (64, 3, True), (128, 2, True), (256, 2, True))
"""Features, number of blocks, and whether a block stands before them that halves the map."""

HE = nn.initializers.he_normal()


class Scaled(nn.Module):
    """A convolution, and a scale and a shift for each feature, which stand for a normalization."""

    features: int
    kernel: int = 3
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size = (self.kernel,) * 2
        x = nn.Conv(self.features, size, self.stride, self.padding, kernel_init=HE, name="conv")(x)
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
    """The whole network: `conv32_down`, `conv32_1`, ..., `conv256_down_out`, `fc`.

    Images (n, 150, 150, 3) to 128 numbers (n, 128), which lie near to each other for faces of one person.
    """

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


class Separable(nn.Module):
    """A depthwise convolution, and a pointwise one with a bias."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        groups = x.shape[-1]
        x = nn.Conv(
            groups, (3, 3), self.stride, feature_group_count=groups, use_bias=False, kernel_init=HE, name="depthwise"
        )(x)
        return nn.Conv(self.features, (1, 1), kernel_init=HE, name="point")(x)


class Dense(nn.Module):
    """Four convolutions, each of which sees the sum of what the ones before it gave."""

    features: int
    full: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.full:
            seen = nn.relu(nn.Conv(self.features, (3, 3), 2, kernel_init=HE, name="conv0")(x))
        else:
            seen = nn.relu(Separable(self.features, 2, name="conv0")(x))
        y = seen
        for i in range(1, 4):
            seen = seen + Separable(self.features, name=f"conv{i}")(y)
            y = nn.relu(seen)
        return y


class Landmarks(nn.Module):
    """The whole network: `dense0` to `dense3`, `fc`. Images (n, 112, 112, 3) to 68 pairs of coordinates (n, 136)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, features in enumerate((32, 64, 128, 256)):
            x = Dense(features, full=i == 0, name=f"dense{i}")(x)
        return nn.Dense(136, name="fc")(x.mean((1, 2)))


def inputs(side: int, count: int) -> np.ndarray:
    """Photos of `side` pixels, less their mean color, over 255."""
    return (photos(count, (side, side)) - np.array(MEAN)).astype(np.float32) / 255


ENDS = {
    "conv/filters": "conv/kernel", "conv/bias": "conv/bias", "scale/weights": "scale", "scale/biases": "shift",
    "depthwise_filter": "depthwise/kernel", "pointwise_filter": "point/kernel", "fc/weights": "fc/kernel",
    "conv0/filters": "conv0/kernel", "fc/bias": "fc/bias", "conv0/bias": "conv0/bias",
}  # fmt: skip
"""Ends of names of the package and of the module; the first that fits."""


def arrays(net: str, folder: Path) -> Arrays:
    """Variables of a module."""
    held = read_tfjs(folder / "package" / "model" / f"{net}_model-weights_manifest.json")
    return {f"params/{_path(name, held)}": _turned(name, array) for name, array in held.items()}


def _path(name: str, held: Arrays) -> str:
    if name == "fc":
        return "fc/kernel"
    if name.endswith("/bias") and name.replace("bias", "pointwise_filter") in held:
        return name.removesuffix("bias") + "point/bias"
    end = next(end for end in ENDS if name.endswith(end))
    return name.removesuffix(end) + ENDS[end]


def _turned(name: str, array: np.ndarray) -> np.ndarray:
    return depthwise_kernel(array) if name.endswith("depthwise_filter") else array


def reference(net: str, folder: Path, images: np.ndarray) -> list[np.ndarray]:
    """The numbers of face-api in Node.js, which takes the mean color off by itself."""
    pixels = images * 255 + np.array(MEAN, np.float32)
    script = Path(__file__).parent.parent / "run_face_api.cjs"
    packages_needed = "@tensorflow/tfjs @tensorflow/tfjs-backend-wasm"
    return run_node(script, {"package": str(folder / "package"), "net": net}, pixels, packages_needed)


packages.register("face-api")(
    Package(
        "npm", "@vladmandic/face-api", "1.7.15",
        "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031", "MIT",
        "Of face-api.js by Mühler; the network that tells faces apart is that of dlib by King, trained on faces of the web. "
        "Weights are whole numbers of 8 bits.",
    )
)  # fmt: skip
networks.register("face-recognition")(
    Network(
        "face-api", "which faces are one person's", "He et al. (2016), arXiv:1512.03385, with 29 layers, as in dlib",
        Recognition, partial(arrays, "face_recognition"), partial(inputs, RECOGNITION_SIDE), partial(reference, "recognition"),
        ("conv32_3", "conv64_3", "conv128_2", "conv256_2"), "node @tensorflow/tfjs",
    )
)  # fmt: skip
networks.register("face-landmarks")(
    Network(
        "face-api", "68 landmarks of a face", "Mühler, face-api.js: blocks of separable convolutions with dense sums",
        Landmarks, partial(arrays, "face_landmark_68"), partial(inputs, LANDMARK_SIDE), partial(reference, "landmarks"),
        ("dense0", "dense1", "dense2", "dense3"), "node @tensorflow/tfjs",
    )
)  # fmt: skip
