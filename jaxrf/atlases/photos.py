"""The photos of the atlas: four that scikit-image brings along, cut to any size.

`jaxrf.atlases.photos:of_224x224[:4]` names them as the inputs of a sweep.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable

import numpy as np

from jaxrf.errors import InputError
from jaxrf.inputs import photos

NAMES = ("astronaut", "chelsea", "coffee", "rocket")


def __getattr__(name: str) -> Callable[[], np.ndarray]:
    found = re.fullmatch(r"of_(\d+)x(\d+)", name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; write of_224x224")
    return lambda: read((int(found[1]), int(found[2])))


def check_there() -> None:
    """Raise where the photos cannot be had.

    Raises:
        InputError: scikit-image is not installed.
    """
    if importlib.util.find_spec("skimage") is None:
        raise InputError("The photos of the atlas are those of scikit-image. Run: pip install 'jaxrf[demo]'")


def read(size: tuple[int, int]) -> np.ndarray:
    """The photos (n, y, x, 3), normalized as ImageNet's."""
    from skimage import data

    return np.stack([photos.normalize(photos.fit(getattr(data, name)(), size)) for name in NAMES])
