"""Counts of the paths to one unit, as a result: the map, its support, its density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class PathCounts:
    """How many paths join each input position to a unit, channels counted once.

    Attributes:
        counts: over the unit's clipped box, one axis per spatial axis of the input: int64, or Python integers
            (dtype object) where they are larger; natural logarithms in float64, minus infinity for none, with `log`.
        origin: input position of element [0, 0] of `counts`.
        input_shape: spatial sizes of the input.
        layer: name of the unit's layer.
        unit: the unit's position in it.
        log: whether `counts` are logarithms.

    Example:
        >>> counts = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]])
        >>> paths = PathCounts(counts, (2, 3), (9, 11), "dilated", (3, 4))
        >>> paths.total, round(paths.density, 3), paths.box
        (4, 0.444, ((2, 5), (3, 6)))
    """

    counts: np.ndarray
    origin: tuple[int, ...]
    input_shape: tuple[int, ...]
    layer: str
    unit: tuple[int, ...]
    log: bool = False

    @property
    def box(self) -> tuple[tuple[int, int], ...]:
        """The unit's clipped box, half-open, one interval per input axis."""
        return tuple((a, a + n) for a, n in zip(self.origin, self.counts.shape, strict=True))

    @cached_property
    def support(self) -> np.ndarray:
        """Which positions of the box have a path, as booleans: the exact support, with the holes of dilated stacks."""
        return (self.counts > (-np.inf if self.log else 0)).astype(bool)

    @property
    def density(self) -> float:
        """Share of the positions of the box, 0 to 1, that have at least one path; below 1 a field has holes."""
        return float(self.support.mean()) if self.support.size else math.nan

    @property
    def total(self) -> int | float:
        """The number of all paths, or its natural logarithm."""
        if self.log:
            return float(np.logaddexp.reduce(self.counts, axis=None))
        return int(self.counts.astype(object).sum())

    def share(self) -> np.ndarray:
        """Each position's share of all paths, as floats that add up to 1."""
        if self.log:
            return np.exp(self.counts - self.total)
        total = self.total
        return np.array([int(c) / total for c in self.counts.ravel()]).reshape(self.counts.shape)

    def plot(self, **options: Any) -> Axes:
        """The counts as a picture, with their numbers where there is room; options of `plot_path_counts`."""
        from jaxrf.report.geometry_figures import plot_path_counts

        return plot_path_counts(self, **options)

    def __repr__(self) -> str:
        size = "×".join(map(str, self.counts.shape))
        many = f"e^{self.total:.4g}" if self.log else str(self.total)
        many = many if len(many) < 16 else f"{many[0]}.{many[1:4]}e{len(many) - 1}"
        where = f"{self.layer!r} unit {self.unit}"
        return f"PathCounts({where}: {many} paths from {size} positions, density {self.density:.3g})"
