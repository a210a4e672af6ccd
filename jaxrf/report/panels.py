"""The parts of a figure of an ERF map: a plane with box and contours, profiles, the color bar, the legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrf.report.scales import DECADES, Scale, scales
from jaxrf.report.view import View, figure_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

CONTOUR_STYLES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.5, 1, 1.5)))
CONTOUR_COLOR = "white"
BOX_COLOR = "#4cc9f0"
# Along x, y, z: three colors of Okabe and Ito (2008) that stay apart for color-blind readers and in gray.
CURVE_COLORS = ("#0072b2", "#d55e00", "#009e73")


@dataclass(frozen=True, eq=False)
class Look:
    """How maps are drawn, the same for all panels of a figure.

    Attributes:
        scale: what colors mean.
        norm: from what is drawn to 0..1.
        shares: of the map, one contour each, in rising order.
        span: positions that are shown, half-open intervals (d, 2).
    """

    scale: Scale
    norm: Normalize
    shares: Sequence[float]
    span: np.ndarray

    @property
    def logarithmic(self) -> bool:
        """Whether profiles have a logarithmic axis."""
        return self.scale is scales["log"]


def plane(
    ax: Axes,
    shown: View,
    axes: tuple[int, int],
    gray: np.ndarray | None,
    look: Look,
) -> Any:
    """Draw the map on the plane of two axes, over the photo, with box, center and contours; returns its image."""
    (top, bottom), (left, right) = ((0, shown.input_shape[a]) for a in axes)
    if gray is not None:
        index = tuple(slice(None) if a in axes else int(shown.center[a]) for a in range(gray.ndim))
        ax.imshow(
            gray[index], cmap="gray", vmin=-0.1, vmax=1.6, extent=(left - 0.5, right - 0.5, bottom - 0.5, top - 0.5)
        )
    first = [shown.origin[a] - 0.5 for a in axes]
    last = [shown.origin[a] + shown.values.shape[a] - 0.5 for a in axes]
    image = ax.imshow(
        replace(shown, values=look.scale.drawn(shown)).slice(axes),
        cmap=colormap(shown.signed, over_photo=gray is not None),
        norm=look.norm,
        extent=(first[1], last[1], last[0], first[0]),
        interpolation="nearest",
    )
    if shown.measurable:
        _contours(ax, shown, axes, look.shares)
    _box(ax, shown, axes)
    if shown.centered:
        ax.plot(*shown.center[list(axes)][::-1], "+", color=BOX_COLOR, markersize=9, markeredgewidth=1.6, zorder=5)
    (low_y, high_y), (low_x, high_x) = look.span[list(axes)]
    pad = 0.02 * max(high_y - low_y, high_x - low_x)
    ax.set_xlim(low_x - 0.5 - pad, high_x - 0.5 + pad)
    ax.set_ylim(high_y - 0.5 + pad, low_y - 0.5 - pad)
    ax.set_facecolor("white" if gray is not None else "#ececec")
    ax.set_xlabel(f"{axis_name(shown, axes[1])} ({shown.label(axes[1])})")
    ax.set_ylabel(f"{axis_name(shown, axes[0])} ({shown.label(axes[0])})")
    in_units(ax, shown, [axes[1]])
    return image


def profile(ax: Axes, shown: View, axes: Sequence[int], look: Look) -> None:
    """Draw profiles through the center along `axes`: a band of one standard error, vertical lines at the box."""
    for axis in axes:
        value, error = shown.profile(axis)
        color = CURVE_COLORS[shown.values.ndim - 1 - axis]
        offset = shown.positions(axis) - shown.center[axis]
        floor = 10.0**-DECADES / 10 if look.logarithmic else -np.inf
        low, high = np.maximum(value - error, floor), np.maximum(value + error, floor)
        ax.fill_between(offset, low, high, color=color, alpha=0.25, linewidth=0, zorder=2)
        ax.plot(
            offset,
            np.maximum(value, floor),
            color=color,
            linewidth=1.1,
            label=f"along {axis_name(shown, axis)}",
            zorder=3,
        )
        label = f"theoretical box ({shown.theoretical})" if len(shown.input_shape) == 1 else None
        for edge in shown.box[axis] - 0.5 - shown.center[axis]:
            ax.axvline(edge, color=color, linewidth=1, linestyle=(0, (5, 3)), alpha=0.8, zorder=1, label=label)
            label = None
    away = look.span[list(axes)] - 0.5 - shown.center[list(axes)][:, None]
    pad = 0.02 * (away.max() - away.min())
    ax.set_xlim(away.min() - pad, away.max() + pad)
    if look.logarithmic and not shown.signed:
        ax.set_yscale("log")
        ax.set_ylim(10.0**-DECADES, 2)
    else:
        ax.axhline(0, color="black", linewidth=0.6, zorder=1)
        ax.set_ylim(-1.08 if shown.signed else -0.03, 1.08)
    ax.set_xlabel(f"offset from the {shown.middle} ({shown.where}s)")
    bars = len(look.shares) if len(shown.input_shape) == 1 else 0
    in_units(ax, shown, axes, above=1 + 0.05 * bars)
    ax.set_ylabel("mean score / peak")
    ax.spines[["top", "right"]].set_visible(False)


def in_units(ax: Axes, shown: View, axes: Sequence[int], above: float = 1.0) -> None:
    """A second scale above, in physical units, where these are known and positions are equally far apart along `axes`."""
    steps = {shown.scale.spacing[a] for a in axes} if shown.scale else set()
    if shown.scale is None or len(steps) > 1:
        return
    (step,) = steps
    second = ax.secondary_xaxis(above, functions=(lambda x: np.asarray(x) * step, lambda x: np.asarray(x) / step))
    second.set_xlabel(f"in {figure_text(shown.scale.unit) or 'units'}")


def finish_beside(ax: Axes, loc: Any, ncols: int = 1) -> None:
    """Give a profile that stands beside a plane its legend, and its scale on the free side."""
    ax.legend(loc=loc, ncols=ncols, handlelength=1.4, framealpha=0.85, edgecolor="none", borderaxespad=0.1)
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    ax.spines["left"].set_visible(False)
    ax.spines["right"].set_visible(True)


def intervals(ax: Axes, shown: View, shares: Sequence[float]) -> None:
    """Draw the smallest regions of a one-dimensional map as bars above the curve."""
    if not shown.measurable:
        return
    smooth, levels = shown.regions(shares)
    offset = shown.positions(0) - shown.center[0]
    for i, (share, level) in enumerate(zip(shares, levels, strict=True)):
        height = 1.02 + 0.035 * (len(shares) - i)
        inside = np.where(smooth >= level, height, np.nan)
        style = {"transform": ax.get_xaxis_transform(), "clip_on": False, "solid_capstyle": "butt"}
        ax.plot(
            offset,
            inside,
            color=str(0.15 + 0.5 * i / len(shares)),
            linewidth=3,
            label=f"{share:.0%} of the map",
            **style,
        )


def colorbar(figure: Figure, ax: Any, image: Any, label: str) -> None:
    """Draw the color bar of one plane, or of several, beside it."""
    extend = "max" if image.norm.vmax < 1 else "neither"
    bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.02, extend=extend)
    bar.set_label(label)
    bar.outline.set_linewidth(0.6)


def handles(shown: View, shares: Sequence[float]) -> list[Any]:
    """What the legend under the planes explains."""
    from matplotlib.lines import Line2D

    on_plane: dict[str, Any] = {"linewidth": 1.6}
    label = f"theoretical box ({shown.theoretical})"
    items = [Line2D([], [], color=BOX_COLOR, linestyle=(0, (5, 3)), label=label, **on_plane)]
    if shown.centered:
        cross: dict[str, Any] = {"marker": "+", "linestyle": "", "markersize": 9, "markeredgewidth": 1.6}
        items.append(Line2D([], [], color=BOX_COLOR, label="center of the unit", **cross))
    if shown.measurable:
        for share, style in zip(shares, CONTOUR_STYLES, strict=False):
            items.append(Line2D([], [], color="black", linestyle=style, label=f"{share:.0%} of the map", **on_plane))
    return items


def axis_name(shown: View, axis: int) -> str:
    """The last axis is x, then come y and z."""
    return "xyz"[len(shown.input_shape) - 1 - axis]


def _contours(ax: Axes, shown: View, axes: tuple[int, int], shares: Sequence[float]) -> None:
    import matplotlib.patheffects as effects

    smooth, levels = shown.regions(shares)
    flat = replace(shown, values=smooth).slice(axes)
    for level, style in zip(levels, CONTOUR_STYLES, strict=False):
        if flat.min() < level < flat.max():
            lines = ax.contour(
                shown.positions(axes[1]), shown.positions(axes[0]), flat, [level],
                colors=CONTOUR_COLOR, linestyles=[style], linewidths=1.3,
            )  # fmt: skip
            lines.set_path_effects([effects.Stroke(linewidth=2.3, foreground="black", alpha=0.7), effects.Normal()])


def _box(ax: Axes, shown: View, axes: tuple[int, int]) -> None:
    from matplotlib.patches import Rectangle

    (top, bottom), (left, right) = shown.box[list(axes)]
    corner, style = (left - 0.5, top - 0.5), {"edgecolor": BOX_COLOR, "linestyle": (0, (5, 3)), "linewidth": 1.5}
    ax.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, zorder=4, **style))


def colormap(signed: bool, over_photo: bool) -> Colormap:
    """Dark to bright; over a photo the dark end lets it through."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colors = colormaps["PuOr_r" if signed else "inferno"](np.linspace(0, 1, 256))
    if over_photo:
        strength = np.abs(np.linspace(-1, 1, 256)) if signed else np.linspace(0, 1, 256)
        colors[:, 3] = np.clip(strength / 0.5, 0, 1) * 0.9
    return ListedColormap(colors)
