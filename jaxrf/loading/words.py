"""Shapes, units and plain values as people write them.

Each function takes a text and returns plain Python; `InputError` says what the text should look like.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from jaxrf.errors import InputError


def shape(text: str) -> tuple[int, ...]:
    """Sizes joined by x.

    >>> shape("224x224x3")
    (224, 224, 3)
    """
    try:
        sizes = tuple(int(part) for part in text.lower().split("x") if len(part) < 20 or int("not a size"))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise InputError(f"{text!r} is not a shape. Write positive sizes joined by x, without the batch: 224x224x3.")
    return sizes


def position(text: str) -> tuple[int, ...]:
    """A position: integers joined by commas.

    >>> position("3,-1")
    (3, -1)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} is not a position. Write integers joined by commas: 3,3.") from None


@dataclass(frozen=True)
class GridSpec:
    """As many units as `counts` say, evenly spaced along each axis."""

    counts: tuple[int, ...]


def units(text: str) -> str | GridSpec | list[tuple[int, ...]]:
    """Which units: a word, an even grid, or positions.

    >>> units("center"), units("grid:8x8"), units("3,3;5,5")
    ('center', GridSpec(counts=(8, 8)), [(3, 3), (5, 5)])
    """
    if text in ("center", "all"):
        return text
    try:
        if text.startswith("grid:"):
            return GridSpec(shape(text.removeprefix("grid:")))
        positions = [position(part) for part in text.split(";")]
    except InputError:
        raise InputError(f"{text!r} names no units. Write center, all, grid:8x8, or positions as 3,3;5,5.") from None
    if len({len(one) for one in positions}) > 1:
        raise InputError(f"The positions in {text!r} differ in their number of axes. Give each the same: 3,3;5,5.")
    return positions


def literal(text: str) -> Any:
    """`text` as the Python value that it spells, and as itself where it spells none.

    >>> literal("(1, 2)"), literal("None"), literal("same")
    ((1, 2), None, 'same')
    """
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
