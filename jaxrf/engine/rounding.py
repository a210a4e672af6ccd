"""Whether maps are more than rounding: they are made again from images that are moved by a few units of rounding.

Some gradients are zero in theory and not in floats: behind a normalization over channels their sum is constant, and
`channels="sum"` leaves what rounding does not cancel. Such a map looks like any other, and is another one for images
that nobody could tell apart, while a true one stays.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

STEPS = 16
"""By how many units of their last place images are moved: enough to change how everything behind them is rounded."""
LIMIT = 2e-3
"""From this share of its size on a map counts as another one; a true one moves by some 1e-6, or 1e-3 where a ReLU turns."""
COARSE = 1e-5
"""In types that round more than this, true maps move too."""


def nudged(images: np.ndarray) -> np.ndarray | None:
    """The images, larger by `STEPS` units of rounding; None where their type is too coarse to tell.

    >>> float(nudged(np.ones((1, 2), np.float32))[0, 0] - 1) < 1e-5
    True
    """
    unit = float(jnp.finfo(images.dtype).eps)
    return None if unit > COARSE else images * images.dtype.type(1 + STEPS * unit)


def changed_share(maps: np.ndarray, again: np.ndarray) -> float:
    """The share of maps (image, unit, *spatial) that are others on the moved images; those that are zero do not count.

    >>> changed_share(np.array([[[1.0, 2.0], [0.0, 0.0]]]), np.array([[[1.0, 2.0], [0.0, 0.0]]]))
    0.0
    """
    spatial = tuple(range(2, maps.ndim))
    size = np.maximum(np.abs(maps).sum(spatial), np.abs(again).sum(spatial))
    change = np.abs(maps - again).sum(spatial)[size > 0]
    return float(np.mean(change > LIMIT * size[size > 0])) if change.size else 0.0
