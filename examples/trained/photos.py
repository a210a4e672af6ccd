"""The photos that trained networks are given here: those that scikit-image ships, in a fixed order.

Takes a number and a size, yields pixels; what a network makes of pixels is its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from examples.trained.formats import library
from jaxrf.errors import InputError

NAMES = (
    "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "camera.png", "coins.png",
    "gravel.png",
)  # fmt: skip
"""In color but for the last three."""


def photos(count: int, size: tuple[int, int]) -> np.ndarray:
    """The middle of the first `count` photos, scaled to cover `size`: uint8 (n, y, x, 3).

    Raises:
        InputError: there are fewer, or scikit-image is not installed.
    """
    from PIL import Image

    from jaxrf.inputs.photos import fit

    if count > len(NAMES):
        raise InputError(f"{count} photos were asked for, and there are {len(NAMES)}. Ask for as many.")
    folder = Path(library("skimage.data", "The photos").__file__).parent
    return np.stack([fit(np.asarray(Image.open(folder / name).convert("RGB")), size) for name in NAMES[:count]])
