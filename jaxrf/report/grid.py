"""The figure of the field: maps of several models, layers or depths side by side, on one scale and with their sizes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from jaxrf.errors import InputError, unknown
from jaxrf.report import panels
from jaxrf.report.alike import check_alike, named
from jaxrf.report.canvas import new_figure
from jaxrf.report.drawn import MapsOfUnits
from jaxrf.report.figures import look_of
from jaxrf.report.view import View, view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES = ("field", "box", "input")
HELD = 0.995
"""Share of a map within the frame "field"."""
MARGIN = 1.15
SIDE = 2.3
"""Inches of a panel."""


def plot_grid(
    results: Mapping[str, MapsOfUnits] | Sequence[MapsOfUnits],
    *,
    unit: int = 0,
    scale: str = "log",
    shares: Sequence[float] = (0.5, 0.95),
    frame: str = "field",
    columns: int | None = None,
    sizes: bool = True,
) -> Figure:
    """Maps side by side, each over its peak, on one color scale, with boxes, contours and sizes.

    Every panel shows as many input positions as every other, about its unit's center, so that sizes can be compared by eye.

    Args:
        results: by the names that stand above the panels; a sequence is named by layers.
        unit: number of the unit in each result.
        scale: of the colors, as for `Result.plot`.
        shares: of each map, one contour each.
        frame: what panels show: "field", as much as the widest map needs for 99.5 % of itself; "box", the largest
            theoretical box; "input", the largest input.
        columns: panels in a row; None for up to five.
        sizes: write sigma, with its standard error where the result has one, and the theoretical size below each name.

    Returns:
        A matplotlib figure, which shows itself in notebooks.

    Raises:
        InputError: no results, inputs of other than two axes, results of different scores or averages, or a unit that
            a result does not have.
        UnknownNameError: an unknown scale or frame.

    Example:
        >>> import jaxrf
        >>> from jaxrf import zoo
        >>> call = {"inputs": jaxrf.noise(1), "input_shape": (20, 20, 3), "seeds": 2}
        >>> results = {f"{n} layers": jaxrf.erf(zoo.conv_stack(depth=n, width=4), **call) for n in (1, 3)}
        >>> figure = jaxrf.plot_grid(results)
        >>> [ax.get_title().splitlines()[0] for ax in figure.axes[:2]]
        ['1 layers', '3 layers']
    """
    found = named(results)
    check_alike(found)
    if frame not in FRAMES:
        raise unknown("frame", frame, FRAMES)
    views = {name: view(result, unit) for name, result in found.items()}
    for name, shown in views.items():
        if len(shown.input_shape) != 2:
            raise InputError(
                f"{name!r} has an input of {len(shown.input_shape)} spatial axes; a grid shows two. "
                "Use plot_profiles for one, and Result.plot for three."
            )
    look = look_of(list(views.values()), scale, shares, zoom=False)
    half = max(half_of(shown, frame) for shown in views.values())
    across = columns or min(len(views), 5 if len(views) not in (6, 8) else len(views) // 2)
    down = -(-len(views) // across)
    figure = new_figure(SIDE * across + 0.9, (SIDE + 0.45) * down + 0.5)
    axes = figure.subplots(down, across, squeeze=False)
    for ax in axes.flat[len(views) :]:
        ax.set_axis_off()
    for ax, (name, shown) in zip(axes.flat, views.items(), strict=False):
        span = shown.center[:, None] + 0.5 + np.array([-half, half])
        image = panels.plane(ax, shown, (0, 1), None, replace(look, span=span))
        ax.set_title(f"{name}\n{_size(found[name], shown, unit)}" if sizes else name, fontsize=9)
        ax.xaxis.label.set_fontsize(8)
        ax.yaxis.label.set_fontsize(8)
        ax.label_outer()
        ax.tick_params(labelsize=7, labelbottom=True, labelleft=True)
    panels.colorbar(figure, list(axes[:, -1]), image, look.scale.label)
    handles = panels.handles(next(iter(views.values())), look.shares)
    handles[0].set_label("theoretical box")
    figure.legend(handles=handles, loc="outside lower center", ncols=4 if across > 2 else 2, frameon=False, fontsize=8)
    return figure


def half_of(shown: View, frame: str) -> float:
    """Half of the side of a square about the center that holds what the frame asks for."""
    if frame == "input":
        return max(shown.input_shape) / 2
    box = float(np.abs(shown.box - 0.5 - shown.center[:, None]).max())
    if frame == "box" or not shown.measurable:
        return box
    far = [np.abs(shown.positions(axis) - shown.center[axis]) for axis in range(2)]
    away = np.maximum(far[0][:, None], far[1][None, :]).ravel()
    order = np.argsort(away)
    held = np.cumsum(shown.values.ravel()[order])
    return min(box, MARGIN * (float(away[order][np.searchsorted(held, HELD * held[-1])]) + 0.5))


def _size(result: MapsOfUnits, shown: View, unit: int) -> str:
    """Sigma along y and x with its standard error, and the theoretical size."""
    theoretical = f"box {shown.theoretical}"
    if not shown.measurable:
        return theoretical
    if not result.groups:
        return f"σ {_both(result.measure('sigma')[unit], np.full(2, np.nan))}, {theoretical}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are few samples is said of the result, not of a title
        found = result.interval("sigma")
    return f"σ {_both(found.value[unit], found.stderr[unit])}, {theoretical}"


def _both(values: np.ndarray, errors: np.ndarray) -> str:
    """The numbers of both axes; their mean, with the larger error, where they are the same within their errors."""
    away, error = abs(values[0] - values[1]), float(np.nan_to_num(errors).max())
    if away <= max(2 * error, 0.01 * values[1]):
        values, errors = values.mean(keepdims=True), errors.max(keepdims=True)
    return " × ".join(
        f"{v:.3g}{f' ± {e:.1g}' if math.isfinite(e) else ''}" for v, e in zip(values, errors, strict=True)
    )
