"""How far a sweep is, for people who watch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    What is counted are chunks: up to `images_per_chunk` images under one seed.

    Attributes:
        task: the task of which chunks came last, in words.
        done: chunks that are there, of all processes as far as known.
        total: chunks that there will be; fewer where `until` stops earlier.
        computed: chunks computed by this start.
        failed: tasks that failed in this start.
        state: "running"; and at the end "done", "waiting" (for other shards), "stopped" (when asked to) or "failed"
            (some tasks, the others are done).
        error: of what this start computed of `task`, the relative standard error of the maps' sums.
        rate: chunks a second, from this start's own work without its compilation; None before that is known.
        messages: what is to be told: failures, damaged blocks.
    """

    task: str
    done: int
    total: int
    computed: int = 0
    failed: int = 0
    state: str = "running"
    error: float | None = None
    rate: float | None = None
    messages: tuple[str, ...] = ()


class Spread:
    """Relative standard error of the sum over a map, from the chunks of a task so far, in any order.

    Seeds are independent of each other, so their means are compared; or the chunks' means, where there is one seed.

    Example:
        >>> spread = Spread(images=2, by_seed=True)
        >>> spread.add([(0, 2, 2.0), (1, 1, 2.5), (1, 1, 3.5), (2, 1, 9.0)])
        >>> spread.relative  # the standard error of (1, 3) is 1, their mean 2; seed 2 is not complete
        0.5
    """

    def __init__(self, images: int, by_seed: bool):
        self._images = images if by_seed else 0
        self._open: dict[int, tuple[int, float]] = {}
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, sums: Iterable[tuple[int, int, float]]) -> None:
        """More chunks: of each the number of its seed, its images, and the sum of their maps."""
        for seed, images, value in sums:
            there, total = self._open.pop(seed, (0, 0.0))
            images, value = images + there, value + total
            if images < self._images:
                self._open[seed] = images, value
            elif math.isfinite(value):
                self._count += 1
                change = value / images - self._mean
                self._mean += change / self._count
                self._squares += change * (value / images - self._mean)

    @property
    def relative(self) -> float | None:
        """The standard error over the mean; None with fewer than two seeds, or where all is zero."""
        if self._count < 2 or not self._mean:
            return None
        return math.sqrt(self._squares / (self._count - 1) / self._count) / abs(self._mean)
