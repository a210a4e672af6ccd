"""ESRGAN-slim of UpscalerJS: super-resolution by 2, 3, 4 and 8. By its layers a small residual dense network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from examples.trained.formats import read_tfjs
from examples.trained.photos import photos
from examples.trained.runtimes import run_tfjs
from examples.trained.tables import Arrays, Network, Package, networks, packages

SHA256 = "b53070ff01363e74d33138106dcc72b58d341c9fb7e8fd648554a4e7744142b5"
SIDE = 32
SCALES = (2, 3, 4, 8)
WIDTH, GROWTH, BLOCKS = 64, 4, 2


def uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """The initializer that the package's layers name."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)


conv = partial(nn.Conv, kernel_init=uniform)


class Dense(nn.Module):
    """A convolution that adds a few features, a mixing one, a skip."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        seen = jnp.concatenate([x, nn.relu(conv(GROWTH, (3, 3), name="grow")(x))], -1)
        return x + conv(WIDTH, (1, 1), name="mix")(seen)


class Fused(nn.Module):
    """The blocks' results mixed, and the first map added."""

    @nn.compact
    def __call__(self, blocks: list[jax.Array], first: jax.Array) -> jax.Array:
        x = conv(WIDTH, (1, 1), name="mix")(jnp.concatenate(blocks, -1))
        return first + conv(WIDTH, (3, 3), name="smooth")(x)


class Slim(nn.Module):
    """The whole network, with the names of the package's layers: `F_m1`, `F_0`, `LRL_1`, `LRL_2`, `FDF`, `UPN1` to `UPN3`, `SR`.

    Attributes:
        scale: how many times the image becomes larger along each axis.
    """

    scale: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        first = conv(WIDTH, (3, 3), name="F_m1")(x)
        blocks = [conv(WIDTH, (3, 3), name="F_0")(first)]
        for i in range(1, BLOCKS + 1):
            blocks.append(Dense(name=f"LRL_{i}")(blocks[-1]))
        x = Fused(name="FDF")(blocks[1:], first)
        x = nn.relu(conv(WIDTH, (5, 5), name="UPN1")(x))
        x = nn.relu(conv(WIDTH // 2, (3, 3), name="UPN2")(x))
        x = conv(3 * self.scale**2, (3, 3), name="UPN3")(x)
        x = jnp.repeat(jnp.repeat(x, self.scale, 1), self.scale, 2)
        return conv(3, (3, 3), name="SR")(x)


NAMES = {
    "GFF_1": "FDF/mix",
    "GFF_2": "FDF/smooth",
    **{f"F_{i}_1": f"LRL_{i}/grow" for i in range(1, BLOCKS + 1)},
    **{f"LFF_{i}": f"LRL_{i}/mix" for i in range(1, BLOCKS + 1)},
}
"""Layers of the package whose names are not those of the module."""


def file_in(folder: Path, scale: int) -> Path:
    """The model of a scale."""
    return folder / "package" / "models" / f"x{scale}" / "model.json"


def arrays(scale: int, folder: Path) -> Arrays:
    """Variables of the module."""
    found = {}
    for name, array in read_tfjs(file_in(folder, scale)).items():
        layer, _, kind = name.rpartition("/")
        found[f"params/{NAMES.get(layer, layer)}/{kind}"] = array
    return found


def inputs(count: int) -> np.ndarray:
    """Photos of 32 pixels, from 0 to 255."""
    return photos(count, (SIDE, SIDE)).astype(np.float32)


def reference(scale: int, folder: Path, images: np.ndarray) -> list[np.ndarray]:
    """The enlarged images of TensorFlow.js."""
    return run_tfjs(file_in(folder, scale), images)


packages.register("esrgan-slim")(
    Package("npm", "@upscalerjs/esrgan-slim", "1.0.0", SHA256, "MIT", "Trained by UpscalerJS on DIV2K.")
)
for _scale in SCALES:
    networks.register(f"esrgan-slim-x{_scale}")(
        Network(
            "esrgan-slim", f"super-resolution by {_scale}", "Zhang et al. (2018), arXiv:1802.08797, with C=1, D=2, G=4",
            partial(Slim, _scale), partial(arrays, _scale), inputs, partial(reference, _scale),
            ("F_m1", "F_0", "LRL_2", "FDF", "UPN1", "UPN3", "SR"), "node @tensorflow/tfjs",
        )
    )  # fmt: skip
