"""How sure a mean is while its samples come in, from a number for each of them, in any order."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from jaxrf.statistics import moments


class Spread:
    """Relative standard error of the sum over a map, from the batches of images so far, in any order.

    Seeds are independent of each other, so their means are compared; or the batches' means, where there is one seed.

    Example:
        >>> spread = Spread(images=2, by_seed=True)
        >>> spread.add([(0, 2, 2.0), (1, 1, 2.5), (1, 1, 3.5), (2, 1, 9.0)])
        >>> spread.relative  # the standard error of (1, 3) is 1, their mean 2; seed 2 is not complete
        0.5
    """

    def __init__(self, images: int, by_seed: bool):
        self._images = images if by_seed else 0
        self._open: dict[int, tuple[int, float]] = {}
        self._means = moments.init(())

    def add(self, sums: Iterable[tuple[int, int, float]]) -> None:
        """More batches: of each the number of its seed, its images, and the sum of their maps."""
        means = []
        for seed, images, value in sums:
            there, total = self._open.pop(seed, (0, 0.0))
            images, value = images + there, value + total
            if images < self._images:
                self._open[seed] = images, value
            elif math.isfinite(value):
                means.append(value / images)
        self._means = moments.update(self._means, np.array(means))

    @property
    def relative(self) -> float | None:
        """The standard error over the mean; None with fewer than two seeds, or where all is zero."""
        mean, stderr = moments.finalize(self._means)
        return float(stderr / abs(mean)) if mean and np.isfinite(stderr) else None
