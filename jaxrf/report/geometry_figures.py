"""Figures of theoretical fields: boxes over an image, size over depth, and counts of paths.

Takes rows, tables and counts, draws with matplotlib on the axes given or on new ones, and returns the axes.
It runs no model and shows or saves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxrf.errors import InputError
from jaxrf.geometry.render import axis_names
from jaxrf.geometry.row import Row
from jaxrf.report.canvas import new_figure
from jaxrf.report.drawn import CountsOfPaths
from jaxrf.report.view import figure_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Box = tuple[tuple[int, int], ...]

CURVES = ("#2563a8", "#c8442d", "#3f8f4f")
VEIL = 0.6
"""How much of an image is hidden where no box is."""
MOST_TICKS = 24
MOST_NUMBERS = 19
"""Positions per side up to which a map of counts shows its numbers."""


def plot_boxes(
    rows: Row | Sequence[Row],
    units: str | Sequence[Sequence[int]] = "center",
    *,
    image: np.ndarray | None = None,
    clip: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Boxes of units over an image: one color per layer, a dot at the center of each unit that has one.

    The input is drawn with a frame; an unclipped box that leaves it lies over the hatched padding. Of an image, what no box
    holds is veiled.

    Args:
        rows: one layer or several, each with two input axes.
        units: "center" for the center unit of each layer, or the same units (y, x) for every layer.
        image: (height, width) or (height, width, channels) of the input's size, floats in 0..1 or uint8;
            without it the input is a white area.
        clip: draw what the unit really sees instead of its box on an endless input.
        ax: matplotlib axes to draw on; new ones if None.

    Returns:
        The axes, in input positions.

    Raises:
        InputError: a layer has other than two input axes, rows or units are empty, the layers have different inputs,
            a unit does not exist, or the image is of another size.

    Example:
        >>> import matplotlib; matplotlib.use("agg")
        >>> from jaxrf.geometry.field import Continuation, Field
        >>> at = np.arange(5)[:, None]
        >>> y = Field(5, at, at + 1, Continuation(0, 1, 1, np.array([[0]]), np.array([[1]])))
        >>> x = Field(5, at.T, at.T + 1, Continuation(1, 1, 1, np.array([[0]]), np.array([[1]])))
        >>> ax = plot_boxes(Row("relu", "relu", (5, 5, 8), (5, 5), (y, x)), [(1, 2), (3, 3)])
    """
    rows = [rows] if isinstance(rows, Row) else list(rows)
    shape = _one_input(rows)
    if len(shape) != 2:
        raise InputError(f"Boxes over an image need an input of two spatial axes; here they are {shape}.")
    height, width = shape
    shown = _picture(image, height, width)
    chosen = [_units(row, units) for row in rows]
    boxes = [[row.box(unit, clip) for unit in mine] for row, mine in zip(rows, chosen, strict=True)]
    ax = _axes(ax, (7.4, 4.6))
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=extent, zorder=1)
    if image is not None:
        ax.imshow(_veil([box for mine in boxes for box in mine], height, width), extent=extent, zorder=1.5)
    ax.add_patch(_rectangle(((0, height), (0, width)), edgecolor="black", linewidth=0.8, zorder=2))
    largest_first = sorted(range(len(rows)), key=lambda i: -_area(boxes[i][0]))
    for i, (row, color, mine) in enumerate(zip(rows, _colors(len(rows)), boxes, strict=True)):
        label = f"{figure_text(row.name)}  {_extent(mine[0])}"
        for unit, box in zip(chosen[i], mine, strict=True):
            _draw_box(ax, box, row.center(unit), color, label, zorder=3 + largest_first.index(i))
            label = None
    _frame(ax, [box for mine in boxes for box in mine], height, width)
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, borderaxespad=0, fontsize=9)
    return ax


def plot_size_over_depth(rows: Sequence[Row], *, ax: Axes | None = None) -> Axes:
    """Size of the field over the layers in order, the input size as a dashed line.

    The band reaches from the smallest path to the size; layers that even the smallest path makes larger than the input
    (unproductive ones) stand on a shaded ground; an open circle is a layer that sees a whole axis.
    One curve where all axes agree on sizes, otherwise one per axis.

    Args:
        rows: a table, or part of one.
        ax: matplotlib axes to draw on; new ones if None.

    Returns:
        The axes: number of the layer on x, input positions on y.

    Raises:
        InputError: there are no rows, or they have different inputs.
    """
    rows = list(rows)
    shape = _one_input(rows)
    sizes = np.array([row.size for row in rows])
    names = axis_names(len(shape))
    ax = _axes(ax, (min(max(7.5, 0.16 * len(rows)), 12.0), 4.0))
    if (sizes == sizes[:, :1]).all():
        _draw_curve(ax, rows, 0, CURVES[0], "")
    else:
        for axis, name in enumerate(names):
            _draw_curve(ax, rows, axis, CURVES[axis % len(CURVES)], f" along {name}")
    for extent in sorted(set(shape), reverse=True):
        along = [name for name, n in zip(names, shape, strict=True) if n == extent]
        of = "" if len(along) == len(shape) else f" along {', '.join(along)}"
        ax.axhline(extent, color="#33373b", linestyle=(0, (5, 3)), linewidth=1, zorder=1)
        place = {"xytext": (3, 3), "textcoords": "offset points", "fontsize": 8}
        ax.annotate(f"input{of}: {extent}", (0, extent), xycoords=("axes fraction", "data"), **place)
    label = "unproductive"
    for i, row in enumerate(rows):
        if row.unproductive:
            ax.axvspan(i - 0.5, i + 0.5, color="#f6ead9", linewidth=0, zorder=0, label=label)
            label = None
    _name_layers(ax, [figure_text(row.name) for row in rows])
    ax.set_ylabel("size (input positions)")
    ax.set_xlim(-0.5, len(rows) - 0.5)
    ax.set_ylim(0, max(int(sizes.max()), *shape) * 1.12)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    return ax


def plot_path_counts(paths: CountsOfPaths, *, numbers: bool | None = None, ax: Axes | None = None) -> Axes:
    """Counts of paths over the unit's box: darker where more paths end, hatched where none does.

    Args:
        paths: counts over one or two spatial axes.
        numbers: write each count into its position; None for small boxes only.
        ax: matplotlib axes to draw on; new ones if None.

    Returns:
        The axes, in input positions.

    Raises:
        InputError: the counts have three or more spatial axes.
    """
    if paths.counts.ndim not in (1, 2):
        raise InputError(
            "A picture of counts needs one or two spatial axes; "
            f"here the box is {'×'.join(map(str, paths.counts.shape))}. "
            "Draw a slice: dataclasses.replace(paths, counts=paths.counts[i], origin=..., input_shape=...)."
        )
    flat = paths.counts.ndim == 1
    counts, origin = (paths.counts[None], (0, *paths.origin)) if flat else (paths.counts, paths.origin)
    height, width = counts.shape
    ax = _axes(ax, (min(2.4 + 0.42 * width, 7.4), min(1.2 + 0.42 * height, 6.4)) if height > 1 else (7.4, 1.7))
    share = np.where(paths.support, paths.share(), np.nan).reshape(counts.shape)
    relative = share / np.nanmax(share)
    extent = (origin[1] - 0.5, origin[1] + width - 0.5, origin[0] + height - 0.5, origin[0] - 0.5)
    ax.patch.set(hatch="////", edgecolor="#d5d8dc", facecolor="#f6f7f8")
    image = ax.imshow(relative, cmap="YlGnBu", vmin=0, vmax=1, extent=extent, aspect="equal" if height > 1 else "auto")
    if numbers or (numbers is None and max(height, width) <= MOST_NUMBERS):
        _write_counts(ax, paths, counts, relative, origin)
    ax.set_xlabel("x (input positions)")
    if flat:
        ax.set_yticks([])
    else:
        ax.set_ylabel("y (input positions)")
    for axis in [ax.xaxis, ax.yaxis][: paths.counts.ndim]:
        axis.get_major_locator().set_params(integer=True)
    total = f"e^{paths.total:.4g}" if paths.log else _short(int(paths.total))
    unit = ", ".join(map(str, paths.unit))
    ax.set_title(
        f"{figure_text(paths.layer)} ({unit}): {total} paths, density {paths.density:.2f}", fontsize=10, loc="left"
    )
    ax.figure.colorbar(image, ax=ax, label="share of the largest count", fraction=0.046, pad=0.03)
    return ax


def _write_counts(
    ax: Axes, paths: CountsOfPaths, counts: np.ndarray, relative: np.ndarray, origin: tuple[int, ...]
) -> None:
    """Each count on its position, in a size in which the longest fits."""
    written = {
        place: f"{value:.1f}" if paths.log else _short(int(value))
        for place, value in np.ndenumerate(counts)
        if not np.isnan(relative[place])
    }
    longest = max(map(len, written.values()))
    size = max(4.5, min(9.0, 26 / (longest + 0.5), 150 / max(counts.shape)))
    for (y, x), label in written.items():
        color = "white" if relative[y, x] > 0.55 else "#1d2b3a"
        ax.text(x + origin[1], y + origin[0], label, ha="center", va="center", fontsize=size, color=color)


def _short(count: int) -> str:
    """A count in at most five characters or so: 1296, 20736, 4.3e9."""
    digits = str(count)
    return digits if len(digits) <= 5 else f"{digits[0]}.{digits[1]}e{len(digits) - 1}"


def _draw_curve(ax: Axes, rows: list[Row], axis: int, color: str, suffix: str) -> None:
    """Size, band of smaller paths, and the layers that see the whole axis, on one input axis."""
    at = np.arange(len(rows))
    size = np.array([row.size[axis] for row in rows])
    paths = [row.min_size[axis] for row in rows]
    smallest = np.array([np.nan if least is None else float(least) for least in paths])
    whole = np.array([row.fields[axis].continuation is None for row in rows]) & (size == rows[0].input_shape[axis])
    if not np.isnan(smallest).all():
        ax.fill_between(
            at, smallest, size, color=color, alpha=0.18, linewidth=0, label=f"down to the smallest path{suffix}"
        )
    ax.plot(
        at,
        np.where(whole, np.nan, size),
        "-o",
        color=color,
        linewidth=1.6,
        markersize=3.2,
        zorder=3,
        label=f"size{suffix}",
    )
    if whole.any():
        style = {"markerfacecolor": "white", "markersize": 4.5, "zorder": 4, "linestyle": ""}
        ax.plot(at[whole], size[whole], "o", color=color, label=f"sees the whole input{suffix}", **style)


def _name_layers(ax: Axes, names: list[str]) -> None:
    """Names of the layers under the axis, every n-th of a deep model."""
    every = -(-len(names) // MOST_TICKS)
    at = range(0, len(names), every)
    ax.set_xticks(at, [names[i] for i in at], rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_xlabel("layer" if every == 1 else f"layer (one name in {every})")


def _one_input(rows: Sequence[Row]) -> tuple[int, ...]:
    """The input's spatial sizes that all rows share."""
    if not rows:
        raise InputError("There are no layers to draw. Give a row, rows or a table.")
    shapes = sorted({row.input_shape for row in rows})
    if len(shapes) != 1:
        raise InputError(
            f"The {len(rows)} layers have inputs of sizes {shapes}. Give layers of one model and one input."
        )
    return shapes[0]


def _units(row: Row, units: str | Sequence[Sequence[int]]) -> list[Sequence[int]]:
    if isinstance(units, str):
        if units != "center":
            raise InputError(f"Unknown units {units!r}. Give 'center' or a list of positions such as [(3, 3), (0, 5)].")
        return [row.center_unit]
    if len(units) == 0:
        raise InputError("There are no units to draw. Give 'center' or a list of positions such as [(3, 3), (0, 5)].")
    return list(units)


def _picture(image: np.ndarray | None, height: int, width: int) -> np.ndarray:
    """The image as floats in 0..1, or a white area."""
    if image is None:
        return np.ones((height, width))
    image = np.asarray(image)
    if image.shape[:2] != (height, width) or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,), (4,)):
        raise InputError(
            f"The image has shape {image.shape}; the input of the layers is {height}×{width}. "
            "Give an array (height, width) or (height, width, 1, 3 or 4) of that size."
        )
    image = image[..., 0] if image.shape[2:] == (1,) else image
    return np.clip(image / 255 if image.dtype == np.uint8 else image, 0, 1)


def _veil(boxes: list[Box], height: int, width: int) -> np.ndarray:
    """White in RGBA, over all that no box holds."""
    veil = np.ones((height, width, 4))
    for (top, bottom), (left, right) in boxes:
        veil[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0), 3] = 0
    veil[..., 3] *= VEIL
    return veil


def _draw_box(ax: Axes, box: Box, center: Sequence[float], color: str, label: str | None, zorder: float) -> None:
    """A frame with a light rim, so that it is seen on dark and on bright ground, and a dot at the unit's center."""
    from matplotlib import patheffects

    rim = [patheffects.withStroke(linewidth=3.2, foreground="white", alpha=0.8)]
    ax.add_patch(_rectangle(box, edgecolor=color, linewidth=1.8, zorder=zorder, label=label, path_effects=rim))
    ax.plot(*center[::-1], "o", color=color, markersize=4, path_effects=rim, zorder=zorder)


def _rectangle(box: Box, **style):
    from matplotlib.patches import Rectangle

    (top, bottom), (left, right) = box
    return Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, facecolor="none", **style)


def _frame(ax: Axes, boxes: list[Box], height: int, width: int) -> None:
    """Limits around the input and all boxes; what is outside of the input is hatched."""
    around = [((0, height), (0, width)), *boxes]
    top, bottom = min(y[0] for y, _ in around), max(y[1] for y, _ in around)
    left, right = min(x[0] for _, x in around), max(x[1] for _, x in around)
    margin = 0.02 * max(bottom - top, right - left)
    ax.set_xlim(left - 0.5 - margin, right - 0.5 + margin)
    ax.set_ylim(bottom - 0.5 + margin, top - 0.5 - margin)
    if (top, bottom, left, right) != (0, height, 0, width):
        ax.patch.set(hatch="////", edgecolor="#d5d8dc", facecolor="#f6f7f8")
    ax.set_aspect("equal")
    ax.set_xlabel("x (input positions)")
    ax.set_ylabel("y (input positions)")


def _colors(count: int) -> list[str]:
    """Colors from dark to bright in the order of the layers."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["plasma"](x)) for x in np.linspace(0.02, 0.85, count)] if count > 1 else [CURVES[1]]


def _area(box: Box) -> int:
    (top, bottom), (left, right) = box
    return (bottom - top) * (right - left)


def _extent(box: Box) -> str:
    """Height and width of a box."""
    (top, bottom), (left, right) = box
    return f"{bottom - top}×{right - left}"


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return new_figure(*size).subplots() if ax is None else ax
