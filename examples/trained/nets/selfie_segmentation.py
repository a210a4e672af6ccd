"""Selfie segmentation of MediaPipe: the beginning of a MobileNet-V3 with gates, and a decoder with gated skips."""

from __future__ import annotations

from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

from examples.trained.formats import placed, read_tflite
from examples.trained.photos import photos
from examples.trained.runtimes import run_tflite
from examples.trained.tables import Arrays, Network, Package, networks, packages
from jaxrf.zoo.layers import ACTIVATIONS

SIDE = 256
BLOCKS = (
    (3, 16, 16, 2, 8, "relu"), (3, 72, 24, 2, 0, "relu"), (3, 88, 24, 1, 0, "relu"), (5, 96, 32, 2, 24, "hard_swish"),
    *[(5, 128, 32, 1, 32, "hard_swish")] * 2, *[(5, 96, 32, 1, 24, "hard_swish")] * 2,
)  # fmt: skip
"""Kernel, expanded features, features, stride, features inside of the gate, activation."""

HE = nn.initializers.he_normal()


def conv(features: int, kernel: int = 1, stride: int = 1, groups: int = 1, name: str = "") -> nn.Conv:
    """A convolution with a bias."""
    return nn.Conv(features, (kernel,) * 2, stride, feature_group_count=groups, kernel_init=HE, name=name)


class Gate(nn.Module):
    """Numbers from 0 to 1, one for each feature, from the mean over all positions."""

    squeezed: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(conv(self.squeezed, name="squeeze")(x.mean((1, 2), keepdims=True)))
        return nn.sigmoid(conv(x.shape[-1], name="excite")(y))


class Block(nn.Module):
    """An inverted residual block."""

    kernel: int
    wide: int
    features: int
    stride: int
    squeezed: int
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        act = ACTIVATIONS[self.activation]
        y = act(conv(self.wide, name="expand")(x))
        y = act(conv(self.wide, self.kernel, self.stride, self.wide, name="depthwise")(y))
        y = y * Gate(self.squeezed, name="gate")(y) if self.squeezed else y
        y = conv(self.features, name="project")(y)
        return x + y if x.shape == y.shape else y


class Pooled(nn.Module):
    """A map times numbers from its mean."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        gate = nn.sigmoid(conv(128, name="gate")(x.mean((1, 2), keepdims=True)))
        return nn.relu(conv(128, name="map")(x)) * gate


class Up(nn.Module):
    """A map made twice as fine, a gated skip, a convolution and a depthwise one beside it."""

    @nn.compact
    def __call__(self, x: jax.Array, skip: jax.Array) -> jax.Array:
        batch, height, width, features = skip.shape
        y = conv(features, name="narrow")(jax.image.resize(x, (batch, height, width, x.shape[-1]), "bilinear"))
        y = skip * Gate(features, name="gate")(skip + y) + y
        y = nn.relu(conv(features, name="mix")(y))
        return y + nn.relu(conv(features, 3, groups=features, name="depthwise")(y))


class Selfie(nn.Module):
    """The whole network: `stem`, `block_0` to `block_7`, `pooled`, `up_0` to `up_2`, `segment`.

    Images (n, 256, 256, 3) to the share of a person at each position (n, 256, 256, 1).
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        maps = [nn.hard_swish(conv(16, 3, 2, name="stem")(x))]
        for i, layout in enumerate(BLOCKS):
            maps.append(Block(*layout, name=f"block_{i}")(maps[-1]))
        y = Pooled(name="pooled")(maps[-1])
        for i, skip in enumerate((maps[3], maps[1], maps[0])):
            y = Up(name=f"up_{i}")(y, skip)
        y = nn.ConvTranspose(1, (2, 2), (2, 2), "VALID", kernel_init=HE, name="segment")(y)
        return nn.sigmoid(y)


def _order() -> list[str]:
    """The module's convolutions but for the depthwise ones, in the order of the file."""
    found = ["stem"]
    for i, (*_, squeezed, _) in enumerate(BLOCKS):
        gate = ("gate/squeeze", "gate/excite") if squeezed else ()
        found += [f"block_{i}/{part}" for part in ("expand", *gate, "project")]
    found += ["pooled/map", "pooled/gate"]
    return found + [f"up_{i}/{part}" for i in range(3) for part in ("narrow", "gate/squeeze", "gate/excite", "mix")]


def _named(start: str, number: int) -> str:
    return f"{start}_{number}" if number else start


DEPTHWISE = [*(f"block_{i}" for i in range(len(BLOCKS))), *(f"up_{i}" for i in range(3))]
PLACES = {
    **{_named("conv2d", i): place for i, place in enumerate(_order())},
    **{_named("depthwise_conv2d", i): f"{place}/depthwise" for i, place in enumerate(DEPTHWISE)},
}
"""Layers of the package and of the module."""


def inputs(count: int) -> np.ndarray:
    """Photos of 256 pixels from 0 to 1."""
    return photos(count, (SIDE, SIDE)).astype(np.float32) / 255


def file_in(folder: Path) -> Path:
    """The model for square images."""
    return folder / "package" / "selfie_segmentation.tflite"


def arrays(folder: Path) -> Arrays:
    """Variables of the module."""
    held = read_tflite(file_in(folder))
    # Flax turns the kernel of a transposed convolution around; (out, y, x, in) becomes (y, x, in, out) first.
    kernel = np.moveaxis(held["segment/Kernel"], 0, -1)
    last = {"params/segment/kernel": kernel[::-1, ::-1], "params/segment/bias": held["segment/Bias"]}
    return placed(held, PLACES) | last


def reference(folder: Path, images: np.ndarray) -> list[np.ndarray]:
    """The share of a person of LiteRT, whose own transposed convolution takes the place of MediaPipe's."""
    return run_tflite(file_in(folder), images, plain_transposed=True)


packages.register("selfie-segmentation")(
    Package(
        "npm", "@mediapipe/selfie_segmentation", "0.1.1675465747",
        "7767b33eaa68990ee06c28bbb89f39a13a47ebb07ff0f1fd4947d9e817bb9bf9", "Apache-2.0",
        "Trained by Google on photos of people.",
    )
)  # fmt: skip
networks.register("selfie-segmentation")(
    Network(
        "selfie-segmentation", "where a person is", "Howard et al. (2019), arXiv:1905.02244, as the model card of MediaPipe says",
        Selfie, arrays, inputs, reference, ("block_2", "block_4", "block_7", "up_1"),
        "tflite ai-edge-litert",
    )
)  # fmt: skip
