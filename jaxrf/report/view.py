"""One unit's map made ready to draw: scaled to its peak, with its place in the input and its contours' levels.

Takes a result and the number of a unit; knows nothing of matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from jaxrf import measures
from jaxrf.errors import InputError, visible
from jaxrf.geometry.row import Row
from jaxrf.geometry.scale import Scale
from jaxrf.statistics.measures.energy import contour_level

if TYPE_CHECKING:
    from jaxrf.report.drawn import MapsOfUnits

SMOOTHING = 0.2
"""Of the map's own sigma: it rounds the contours of speckled maps, and widens them by 2 % only."""


@dataclass(frozen=True, eq=False)
class View:
    """The map of one unit over its peak, in input positions.

    Attributes:
        values: the mean map divided by the largest absolute entry `peak`.
        errors: its standard error, on the same scale.
        peak: in the unit of the score; 0 for a zero map.
        origin: input position of element [0, ..., 0].
        center: true center of the unit; where it has none, the middle of its box, through which profiles then go.
        centered: whether it has one.
        box: theoretical box, clipped to the input, (d, 2).
        input_shape: spatial shape of the input.
        title: layer and unit, and what ails the map.
        theoretical: the theoretical size in words.
        where: what positions are of, in words: "input position".
        scale: how far apart these are; None where nobody said.
    """

    values: np.ndarray
    errors: np.ndarray
    peak: float
    origin: np.ndarray
    center: np.ndarray
    centered: bool
    box: np.ndarray
    input_shape: tuple[int, ...]
    title: str
    theoretical: str
    where: str = "input position"
    scale: Scale | None = None

    @property
    def signed(self) -> bool:
        """Whether some entries are negative, as with the score "signed"."""
        return bool((self.values < 0).any())

    @property
    def measurable(self) -> bool:
        """Whether there is a field to draw contours of."""
        return self.peak > 0 and not self.signed and bool(np.isfinite(self.values).all())

    @property
    def middle(self) -> str:
        """What `center` is, in words."""
        return "center" if self.centered else "middle of the box"

    def label(self, axis: int) -> str:
        """What positions along an axis are, and how far apart."""
        return self.where if self.scale is None else f"{self.where}, {figure_text(self.scale.words(1, axis))} apart"

    def positions(self, axis: int) -> np.ndarray:
        """Input positions along one axis of the map."""
        return self.origin[axis] + np.arange(self.values.shape[axis])

    def profile(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Values and standard errors along one axis through the true center."""
        weights = np.ones(())
        for other in range(self.values.ndim):
            if other != axis:
                hat = np.clip(1 - np.abs(self.positions(other) - self.center[other]), 0, 1)
                weights = weights * hat.reshape([-1 if a == other else 1 for a in range(self.values.ndim)])
        others = tuple(a for a in range(self.values.ndim) if a != axis)
        inside = np.broadcast_to(weights > 0, self.values.shape)
        # Errors of neighbors add as if they moved together: never too narrow a band.
        return tuple(np.where(inside, part * weights, 0.0).sum(others) for part in (self.values, self.errors))

    def slice(self, axes: tuple[int, int]) -> np.ndarray:
        """The map on the plane of two axes, at the position nearest to the center on the others."""
        index = tuple(
            slice(None)
            if a in axes
            else int(np.clip(np.floor(self.center[a] - self.origin[a] + 0.5), 0, self.values.shape[a] - 1))
            for a in range(self.values.ndim)
        )
        return self.values[index]

    def regions(self, shares: Sequence[float]) -> tuple[np.ndarray, list[float]]:
        """The slightly smoothed map, and the levels above which it holds each of `shares`.

        Of entries at or above a level there is the smallest region with that share of the map.
        """
        sigma = SMOOTHING * measures.sigma(self.values, center=self.center)
        smooth = gaussian_filter(self.values, sigma, mode="constant")
        for axis, (low, high) in enumerate(self.box):
            # Smoothing must not carry a contour out of the box, where the map is zero.
            outside = (self.positions(axis) < low) | (self.positions(axis) >= high)
            smooth[(slice(None),) * axis + (outside,)] = 0
        return smooth, [float(contour_level(smooth, share, center=self.center)) for share in shares]


def figure_text(text: str) -> str:
    r"""A text as figures show it: no formulas, no line breaks of its own.

    >>> print(figure_text("a$b$"))
    a\$b\$
    """
    return visible(text).replace("$", r"\$")


def view(result: MapsOfUnits, unit: int) -> View:
    """The view of unit number `unit` of a result.

    Raises:
        InputError: there is no such unit.
    """
    n = len(result.units)
    if not isinstance(unit, Integral) or not -n <= unit < n:
        raise InputError(f"Unit number {unit} was asked for, but the result has {n}. Use 0 to {n - 1}.")
    values = result.mean[unit]
    peak = float(np.abs(values).max())
    scale = peak if 0 < peak < np.inf else 1.0
    position = ", ".join(str(int(p)) for p in result.units[unit])
    row = result.theoretical
    name = figure_text(row.name)
    title = f"{name}, unit ({position})" if position else name
    if not 0 < peak < np.inf:
        title += ": the map is zero" if peak == 0 else ": the map is not finite"
    center, box = result.center[unit], result.box[unit]
    return View(
        values / scale,
        result.stderr[unit] / scale,
        peak,
        result.origin[unit],
        np.where(np.isnan(center), (box.sum(axis=1) - 1) / 2, center),
        bool(np.isfinite(center).all()),
        box,
        result.input_shape,
        title,
        " × ".join(map(str, row.size)) + _physical(row),
        f"position of {source}" if (source := result.provenance.get("wrt")) else "input position",
        row.scale,
    )


def _physical(row: Row) -> str:
    """The size of a row in its unit, where it has one."""
    if row.scale is None:
        return ""
    return f"; {' × '.join(f'{size:.3g}' for size in row.physical.size)} {figure_text(row.scale.unit)}".rstrip()
