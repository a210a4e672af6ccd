"""One unit's map as what an SVG needs: a small picture, a box, a center and contours, all in input positions."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxrf.report.grid import half_of
from jaxrf.report.panels import colormap
from jaxrf.report.scales import DECADES, norm_of, scales
from jaxrf.report.view import View

MOST, MANY = (128, 64), 60
"""Pixels along each side of a picture, and of one among more than so many, so that a page stays under 5 MB; a larger map is
averaged over blocks."""
SHARES = (0.5, 0.95)


@dataclass(frozen=True)
class Drawing:
    """A map, or the profile of one spatial axis, ready for an SVG.

    Attributes:
        picture: a PNG as a `data:` address; empty where there is no map to show, or one spatial axis.
        place: x, y, width and height of the picture.
        box: x, y, width and height of the theoretical box.
        center: x and y of the middle of the panel.
        centered: whether the unit has its center there.
        half: half of the side of a square about the middle that holds what is worth seeing.
        contours: paths around 50 % and 95 % of the map.
        curve: the profile of a map of one axis, as x and height from 0 to 1.
        says: what the picture is of, in words.
    """

    picture: str
    place: tuple[float, ...]
    box: tuple[float, ...]
    center: tuple[float, float]
    centered: bool
    half: float
    contours: tuple[str, ...]
    curve: str
    says: str


def drawing(shown: View, count: int = 1) -> Drawing:
    """The drawing of a view, one of `count`; of three spatial axes, the plane of the last two through the center."""
    most = MOST[count > MANY]
    axes = (shown.values.ndim - 2, shown.values.ndim - 1)
    flat = len(shown.input_shape) == 1
    box = shown.box[[0, 0]] if flat else shown.box[list(axes)]
    origin, center = (np.array([v[0], v[0]]) if flat else v[list(axes)] for v in (shown.origin, shown.center))
    values = shown.values[None] if flat else replace(shown, values=_drawn(shown)).slice(axes)
    finite = 0 < shown.peak < np.inf and bool(np.isfinite(shown.values).all())
    # Where the frame of the figures is not defined, the box is what is worth seeing.
    half = half_of(shown, "field") if len(shown.input_shape) == 2 else float(np.ptp(box, axis=1).max()) / 2 * 1.1
    return Drawing(
        _picture(values, shown, most) if finite and not flat else "",
        _rectangle(np.stack([origin, origin + values.shape], 1)),
        _rectangle(box),
        (float(center[1]) + 0.5, float(center[0]) + 0.5),
        shown.centered,
        max(half, 0.5),
        _contours(shown, axes, most) if finite and not flat and shown.measurable else (),
        _curve(shown) if finite and flat else "",
        f"{shown.title}; theoretical size {shown.theoretical}",
    )


def _drawn(shown: View) -> np.ndarray:
    return scales["log"].drawn(shown)


def _rectangle(spans: np.ndarray) -> tuple[float, ...]:
    (top, bottom), (left, right) = spans.tolist()
    return left, top, right - left, bottom - top


def _picture(values: np.ndarray, shown: View, most: int) -> str:
    """The map as a PNG of a palette, on the color scale of the figures."""
    from PIL import Image

    levels = norm_of(scales["log"], [shown])(_smaller(values, most))
    picture = Image.fromarray(np.uint8(np.clip(np.ma.filled(levels, 0.0), 0, 1) * 255))
    palette = np.uint8(colormap(shown.signed, over_photo=False)(np.arange(256))[:, :3] * 255)
    picture.putpalette(palette.ravel().tolist())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _smaller(values: np.ndarray, most: int) -> np.ndarray:
    """Means over blocks, where a side has more than `most` positions; the last block repeats the edge."""
    steps = [-(-n // most) for n in values.shape]
    padded = np.pad(values, [(0, -n % step) for n, step in zip(values.shape, steps)], mode="edge")
    (rows, columns), (high, wide) = padded.shape, steps
    return padded.reshape(rows // high, high, columns // wide, wide).mean((1, 3))


def _contours(shown: View, axes: tuple[int, int], most: int) -> tuple[str, ...]:
    from contourpy import contour_generator

    smooth, levels = shown.regions(SHARES)
    found = contour_generator(
        shown.positions(axes[1]) + 0.5, shown.positions(axes[0]) + 0.5, replace(shown, values=smooth).slice(axes)
    )
    return tuple("".join(_path(line, 2 * most) for line in found.lines(level)) for level in levels)


def _path(line: Any, most: int) -> str:
    """A line as a path of about `most` points, its last one among them."""
    step = -(-len(line) // most)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*line[:-1:step], *line[-1:]])
    return f"M{points}"


def _curve(shown: View) -> str:
    """The profile of one axis: heights from 0 to 1 over the decades that the figures show, or linear where signed."""
    value = shown.profile(0)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.clip(1 + np.log10(np.maximum(value, 0)) / DECADES, 0, 1)
    heights = (value + 1) / 2 if shown.signed else logs
    return " ".join(f"{x + 0.5:g},{y:.3f}" for x, y in zip(shown.positions(0), heights))
