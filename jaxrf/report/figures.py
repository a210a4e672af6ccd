"""Figures of ERF maps: the map over the photo with box, center and contours, and profiles through the center.

Takes a result, draws with matplotlib on a figure of its own, and returns that figure.
It runs no model, and shows or saves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxrf.errors import InputError, unknown
from jaxrf.report import panels
from jaxrf.report.view import View, view
from jaxrf.statistics.measures.reading import check_share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxrf.report.drawn import MapsOfUnits

SCALES = ("log", "linear")


def plot(
    result: MapsOfUnits,
    unit: int = 0,
    photo: np.ndarray | None = None,
    *,
    scale: str = "log",
    shares: Sequence[float] = (0.5, 0.95),
    zoom: bool = False,
) -> Figure:
    """The map of one unit as a figure for a page, with its profiles through the unit's center beside it.

    Colors and profiles are the mean score over its largest value; the band is one standard error to each side.
    Contours enclose the smallest regions that hold `shares` of the map, after a smoothing by a fifth of its sigma.
    The dashed box is the theoretical one, clipped to the input; the cross is the true center of the unit, where it has one.
    One spatial axis gives a line, three give the middle slices. A signed map has colors about zero and no contours.

    Args:
        result: what `jaxrf.erf` returned.
        unit: number of the unit in the result.
        photo: what lies under the map: (y, x) or (y, x, channels) of the input's size; any range, shown in gray.
        scale: "log" (four decades) or "linear", of colors and profiles.
        shares: of the map, in (0, 1], one contour each; at most four.
        zoom: show the theoretical box only, instead of the whole input.

    Returns:
        A matplotlib figure; `figure.savefig("map.pdf")` writes PNG, PDF or SVG.

    Raises:
        InputError: no such unit, a photo of another size, a share outside (0, 1], more than three spatial axes.
        UnknownNameError: another scale.

    Example:
        >>> from jaxrf.geometry.field import Field
        >>> from jaxrf.geometry.row import Row
        >>> from jaxrf.results.result import Result
        >>> fields = (Field(5, np.array(0), np.array(5)), Field(7, np.array(0), np.array(7)))
        >>> row = Row("pool", "mean", (8,), (), fields)
        >>> result = Result(np.ones((1, 5, 7)), np.zeros((1, 5, 7)), 4, [[0, 0]], np.zeros((1, 0)), row,
        ...     "square", "probe", (5, 7))
        >>> len(plot(result).axes)
        3
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    shares = sorted(check_share(share) for share in shares)
    if len(shares) > len(panels.CONTOUR_STYLES):
        raise InputError(f"{len(shares)} contours were asked for. Use at most {len(panels.CONTOUR_STYLES)} shares.")
    shown = view(result, unit)
    if len(shown.input_shape) > 3:
        raise InputError(f"The input has {len(shown.input_shape)} spatial axes. Figures show one, two or three.")
    draw = (_line, _plane, _volume)[len(shown.input_shape) - 1]
    gray = None if photo is None else _gray(photo, shown.input_shape)
    return draw(shown, gray, scale, shares, zoom)


def _line(shown: View, gray: np.ndarray | None, scale: str, shares: list[float], zoom: bool) -> Figure:
    """One spatial axis: the map is the profile; `gray` is a signal, which is not drawn."""
    figure = _figure(6.4, 3.6)
    ax = figure.subplots()
    panels.profile(ax, shown, [0], scale, zoom)
    panels.intervals(ax, shown, shares)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False)
    ax.set_title(shown.title, pad=12 + 9 * len(shares))
    return figure


def _plane(shown: View, gray: np.ndarray | None, scale: str, shares: list[float], zoom: bool) -> Figure:
    """Two spatial axes: the map, its colors, and profiles along both."""
    height, width = shown.box[:, 1] - shown.box[:, 0] if zoom else shown.input_shape
    tall = min(max(3.3 * height / max(width, 1), 2.2), 5.0)
    figure = _figure(8.2, tall + 1.15)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    image = panels.plane(left, shown, (0, 1), gray, scale, shares, zoom)
    left.set_title(shown.title)
    panels.colorbar(figure, left, image)
    panels.profile(right, shown, [1, 0], scale, zoom)
    right.set_title(f"through the {shown.middle}")
    log = scale == "log"  # there is room for a line above the peak
    panels.finish_beside(right, "upper center" if log else "upper left", 2 if log else 1)
    figure.legend(handles=panels.handles(shown, shares), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _volume(shown: View, gray: np.ndarray | None, scale: str, shares: list[float], zoom: bool) -> Figure:
    """Three spatial axes: slices through the center on the three planes, and profiles along all."""
    figure = _figure(12.5, 3.7)
    axes = figure.subplots(1, 4)
    for ax, plane in zip(axes, ((1, 2), (0, 2), (0, 1)), strict=False):
        image = panels.plane(ax, shown, plane, gray, scale, shares, zoom)
        other = ({0, 1, 2} - set(plane)).pop()
        ax.set_title(f"{panels.axis_name(shown, other)} = {shown.center[other]:g}")
    panels.colorbar(figure, axes[2], image)
    panels.profile(axes[3], shown, [2, 1, 0], scale, zoom)
    panels.finish_beside(axes[3], "upper left")
    figure.suptitle(shown.title)
    figure.legend(handles=panels.handles(shown, shares), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; not registered with pyplot, so that nothing keeps it alive."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("Figures need matplotlib, which is not installed. Run: pip install 'jaxrf[plot]'") from error
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _gray(photo: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The photo in gray, from 0 to 1, without its channels."""
    photo = np.asarray(photo, np.float64)
    if photo.shape[: len(shape)] != shape or photo.ndim > len(shape) + 1:
        raise InputError(
            f"The photo has shape {photo.shape}, but the input is {shape}. "
            "Pass the photo that the model saw, with or without channels, and without a batch axis."
        )
    if photo.ndim > len(shape):
        photo = photo[..., :3].mean(-1)
    low, high = np.nanmin(photo), np.nanmax(photo)
    return np.nan_to_num((photo - low) / (high - low if high > low else 1.0))
