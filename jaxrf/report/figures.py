"""Figures of ERF maps: the map over the photo with box, center and contours, and profiles through the center.

Takes a result, draws with matplotlib on a figure of its own, and returns that figure.
It runs no model, and shows or saves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxrf.errors import InputError
from jaxrf.report import panels
from jaxrf.report.canvas import new_figure
from jaxrf.report.scales import norm_of, scales
from jaxrf.report.view import View, view
from jaxrf.statistics.measures.reading import check_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jaxrf.report.drawn import MapsOfUnits

SMALL = 1 / 3
"""Share of the input, along every axis, below which a box is shown alone."""


def plot(
    result: MapsOfUnits,
    unit: int = 0,
    photo: np.ndarray | None = None,
    *,
    scale: str = "log",
    shares: Sequence[float] = (0.5, 0.95),
    zoom: bool | None = None,
    ax: Axes | None = None,
) -> Figure | Axes:
    """The map of one unit as a figure for a page, with its profiles through the unit's center beside it.

    Colors and profiles are the mean score over its largest value; the band is one standard error to each side.
    Contours enclose the smallest regions that hold `shares` of the map, after a smoothing by a fifth of its sigma.
    The dashed box is the theoretical one, clipped to the input; the cross is the true center of the unit, where it has one.
    One spatial axis gives a line, three give the middle slices. A signed map has colors about zero and no contours.

    Args:
        result: what `jaxrf.erf` returned.
        unit: number of the unit in the result.
        photo: what lies under the map: (y, x) or (y, x, channels) of the input's size; any range, shown in gray.
        scale: of the colors: "log" (four decades, of profiles too), "linear", "power_0.2", "power_0.25", "luo2016" (from
            zero to the peak) or "replknet2022" (log10 of the map and one).
        shares: of the map, in (0, 1], one contour each; at most four.
        zoom: True for the theoretical box alone, False for the whole input; None for the box where it is less than a
            third of the input along every axis, and no photo is given.
        ax: matplotlib axes to draw the map on, without profiles and legend; a figure of its own if None.

    Returns:
        A matplotlib figure, which shows itself in notebooks; `figure.savefig("map.pdf")` writes PNG, PDF or SVG.
        With `ax`, these axes.

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
    shown = view(result, unit)
    look = look_of([shown], scale, shares, zoomed(shown) if zoom is None and photo is None else bool(zoom))
    gray = None if photo is None else _gray(photo, shown.input_shape)
    if ax is not None:
        _alone(ax, shown, gray, look)
        return ax
    return (_line, _plane, _volume)[len(shown.input_shape) - 1](shown, gray, look)


def look_of(views: Sequence[View], scale: str, shares: Sequence[float], zoom: bool) -> panels.Look:
    """How the views are drawn, with the positions that the first one shows.

    Raises:
        InputError: a share outside (0, 1], too many of them, more than three spatial axes.
        UnknownNameError: an unknown scale.
    """
    chosen = scales[scale]
    shares = sorted(check_share(share) for share in shares)
    if len(shares) > len(panels.CONTOUR_STYLES):
        raise InputError(f"{len(shares)} contours were asked for. Use at most {len(panels.CONTOUR_STYLES)} shares.")
    for one in views:
        if len(one.input_shape) > 3:
            raise InputError(f"The input has {len(one.input_shape)} spatial axes. Figures show one, two or three.")
    span = views[0].box if zoom else np.array([[0, n] for n in views[0].input_shape])
    return panels.Look(chosen, norm_of(chosen, views), shares, span)


def zoomed(shown: View) -> bool:
    """Whether the box is so small that the whole input would leave it a corner of the panel."""
    return all(hi - lo < SMALL * n for (lo, hi), n in zip(shown.box, shown.input_shape, strict=True))


def _alone(ax: Axes, shown: View, gray: np.ndarray | None, look: panels.Look) -> None:
    """The map on axes of somebody else's figure: the plane, or the curve of one spatial axis."""
    if len(shown.input_shape) == 1:
        panels.profile(ax, shown, [0], look)
    else:
        panels.plane(ax, shown, (len(shown.input_shape) - 2, len(shown.input_shape) - 1), gray, look)
    ax.set_title(shown.title)


def _line(shown: View, gray: np.ndarray | None, look: panels.Look) -> Figure:
    """One spatial axis: the map is the profile; `gray` is a signal, which is not drawn."""
    figure = new_figure(6.4, 3.6)
    ax = figure.subplots()
    panels.profile(ax, shown, [0], look)
    panels.intervals(ax, shown, look.shares)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False)
    ax.set_title(shown.title, pad=12 + 9 * len(look.shares))
    return figure


def _plane(shown: View, gray: np.ndarray | None, look: panels.Look) -> Figure:
    """Two spatial axes: the map, its colors, and profiles along both."""
    height, width = look.span[:, 1] - look.span[:, 0]
    tall = min(max(3.3 * height / max(width, 1), 2.2), 5.0)
    figure = new_figure(8.2, tall + 1.15)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    image = panels.plane(left, shown, (0, 1), gray, look)
    left.set_title(shown.title)
    panels.colorbar(figure, left, image, look.scale.label)
    panels.profile(right, shown, [1, 0], look)
    right.set_title(f"through the {shown.middle}")
    # On a logarithmic axis there is room for a line above the peak.
    panels.finish_beside(right, *(("upper center", 2) if look.logarithmic else ("upper left", 1)))
    ncols = 4 if shown.scale is None else 2  # sizes in both positions and units are long
    figure.legend(handles=panels.handles(shown, look.shares), loc="outside lower center", ncols=ncols, frameon=False)
    return figure


def _volume(shown: View, gray: np.ndarray | None, look: panels.Look) -> Figure:
    """Three spatial axes: slices through the center on the three planes, and profiles along all."""
    figure = new_figure(12.5, 3.7)
    axes = figure.subplots(1, 4)
    for ax, plane in zip(axes, ((1, 2), (0, 2), (0, 1)), strict=False):
        image = panels.plane(ax, shown, plane, gray, look)
        other = ({0, 1, 2} - set(plane)).pop()
        ax.set_title(f"{panels.axis_name(shown, other)} = {shown.center[other]:g}")
    panels.colorbar(figure, axes[2], image, look.scale.label)
    panels.profile(axes[3], shown, [2, 1, 0], look)
    panels.finish_beside(axes[3], "upper left")
    figure.suptitle(shown.title)
    figure.legend(handles=panels.handles(shown, look.shares), loc="outside lower center", ncols=4, frameon=False)
    return figure


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
