"""Size against depth as an SVG: points with bars over a number, or over the results in their order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jaxrf.report.curves import COLORS

if TYPE_CHECKING:
    from jaxrf.pages.cards import Card

WIDTH, HEIGHT = 460, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 10, 42
MOST_NAMES = 8
"""Names of results that have room below the axis."""


@dataclass(frozen=True)
class Point:
    """A mark with its bar, in pixels, and what it says when it is pointed at; a bar of no length where there is none."""

    x: float
    y: float
    low: float
    high: float
    says: str


@dataclass(frozen=True)
class Series:
    """Points of one color, joined in the order of x."""

    name: str
    color: str
    points: tuple[Point, ...]

    @property
    def line(self) -> str:
        """Where the line through the points goes."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True)
class Chart:
    """What the template draws.

    Attributes:
        title, label: what stands above, and below the x axis.
        series: the points.
        across, up: ticks of both axes, as pixels and texts.
    """

    title: str
    label: str
    series: tuple[Series, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def charts(cards: Sequence[Card], labels: Sequence[str]) -> list[Chart]:
    """The theoretical size, and each measure, over depth or what stands for it; none for a single result."""
    if len(cards) < 2:
        return []
    axis = _axis(cards)
    nothing = float("nan")
    made = [
        _chart("theoretical size (input positions)", cards, [(one.extent, nothing, nothing) for one in cards], axis)
    ]
    for label in labels:
        numbers = [(n.value, n.low, n.high) for n in (one.numbers[label] for one in cards)]
        if np.isfinite([value for value, *_ in numbers]).any():
            made.append(_chart(label, cards, numbers, axis))
    return made


def _axis(cards: Sequence[Card]) -> str | None:
    """The first axis on which results have different numbers; None where they are taken in their order."""
    for name in cards[0].place:
        values = [one.place.get(name) for one in cards]
        if all(type(value) in (int, float) for value in values) and len(set(values)) > 1:
            return name
    return None


def _chart(title: str, cards: Sequence[Card], numbers: Sequence[tuple[float, float, float]], axis: str | None) -> Chart:
    at = [float(one.place[axis]) for one in cards] if axis else [float(i) for i in range(len(cards))]
    found = [(x, *number, one) for x, number, one in zip(at, numbers, cards) if math.isfinite(number[0])]
    most = max(np.nanmax([(value, high) for _, value, _, high, _ in found]) * 1.06, 0.0) or 1.0
    first, last = min(at), max(at)
    margin = 0.04 * (last - first) or 1.0

    def right(x: float) -> float:
        return LEFT + (x - first + margin) / (last - first + 2 * margin) * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        return HEIGHT - BOTTOM - max(y, 0.0) / most * (HEIGHT - TOP - BOTTOM)

    curves: dict[str, list[Point]] = {}
    for x, value, low, high, one in sorted(found, key=lambda point: point[0]):
        least, greatest = (down(end) if math.isfinite(end) else down(value) for end in (low, high))
        of = ", ".join(f"{key} {value}" for key, value in one.place.items() if key != axis) if axis else ""
        curves.setdefault(of, []).append(Point(right(x), down(value), least, greatest, f"{one.name}: {value:.4g}"))
    series = [Series(name, _color(i), tuple(points)) for i, (name, points) in enumerate(curves.items())]
    values = sorted(set(at))
    if axis:
        across = [(right(x), f"{x:g}") for x in values[:: -(-len(values) // MOST_NAMES)]]
    else:
        across = [(right(x), one.name) for x, one in zip(at, cards)] if len(cards) <= MOST_NAMES else []
    up = [(down(y), f"{y:g}") for y in _ticks(most)]
    return Chart(title, axis or ("" if across else "results in their order"), tuple(series), tuple(across), tuple(up))


def _color(number: int) -> str:
    """Colors that are told apart; the last is that of the text, which is seen on any ground."""
    color = COLORS[number % len(COLORS)]
    return "currentColor" if color == "#000000" else color


def _ticks(most: float) -> list[float]:
    """Round numbers from zero.

    >>> _ticks(9.0), _ticks(0.33)
    ([0.0, 2.0, 4.0, 6.0, 8.0], [0.0, 0.1, 0.2, 0.3])
    """
    rough = most / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * size for factor in (1, 2, 5, 10)), key=lambda s: abs(s - rough))
    return [round(i * step, 12) for i in range(int(most / step) + 1)]
