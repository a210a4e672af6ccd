"""How sure a running task is: a number for people who watch, from the sums of its maps alone."""

from __future__ import annotations

import math

import numpy as np

from jaxrf.sweep.blocks import Made


class Spread:
    """Relative standard error of the sum over a map, from the chunks so far.

    Seeds are independent of each other, so their means are compared; or the images, where there is one seed.

    Example:
        >>> spread = Spread(by_seed=True)
        >>> for seed, value in ((0, 1.0), (1, 3.0), (2, 5.0)):
        ...     spread.add(Made((seed, (0, 1)), {"maps": np.full((1, 1, 1), value)}))
        >>> spread.relative  # the standard error of (1, 3) is 1, their mean 2; seed 2 may still go on
        0.5
    """

    def __init__(self, by_seed: bool):
        self._by_seed = by_seed
        self._seed: int | None = None
        self._own: list[float] = []
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, made: Made) -> None:
        """One more chunk."""
        sums = made.arrays["maps"].sum(axis=tuple(range(1, made.arrays["maps"].ndim)), dtype=np.float64).tolist()
        if not self._by_seed:
            for value in sums:
                self._level(value)
            return
        if made.work[0] != self._seed:
            self._close()
            self._seed = made.work[0]
        self._own += sums

    def _close(self) -> None:
        if self._own:
            self._level(math.fsum(self._own) / len(self._own))
        self._own = []

    def _level(self, value: float) -> None:
        if math.isfinite(value):
            self._count += 1
            change = value - self._mean
            self._mean += change / self._count
            self._squares += change * (value - self._mean)

    @property
    def relative(self) -> float | None:
        """The standard error over the mean; None with fewer than two seeds, or images, or where all is zero."""
        if self._count < 2 or not self._mean:
            return None
        return math.sqrt(self._squares / (self._count - 1) / self._count) / abs(self._mean)
