"""The table of fields layer by layer: its rows on disk, and as lines of the page. Knows nothing of networks."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

MEASURES = ("sigma", "participation")
TABLE = Path(__file__).with_name("by_layer.csv")
NUMBERS = ("untrained", "trained", "ratio", "low", "high")
"""Means over networks, and the ratio of trained to untrained with its interval of 95 %."""
Row = dict[str, Any]


def read(file: Path) -> list[Row]:
    """The rows of a table; none where there is no file."""
    if not file.is_file():
        return []
    with file.open(newline="") as stream:
        return [
            {k: float(v) if k in (*NUMBERS, "accuracy") else v for k, v in row.items()}
            for row in csv.DictReader(stream)
        ]


def save(file: Path, found: list[Row]) -> None:
    """All rows as a table, numbers with five digits."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, found[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()} for row in found)


def lines(found: list[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of a table of one measure: a line for each architecture, a column for each layer."""
    layers = list(dict.fromkeys(row["layer"] for row in found))
    made = []
    for data, name in dict.fromkeys((row["data"], row["architecture"]) for row in found):
        own = {row["layer"]: row for row in found if (row["data"], row["architecture"]) == (data, name)}
        accuracy = next(iter(own.values()))["accuracy"]
        cells = [_cell(own[layer]) if layer in own else "" for layer in layers]
        made.append((data, name, f"{accuracy:.2f}", *cells))
    return ("data", "architecture", "accuracy", *layers), made


def _cell(row: Row) -> str:
    """The change in per cent with its interval, bold where that does not hold zero."""
    low, high = (round(100 * (row[side] - 1)) for side in ("low", "high"))
    said = f"{100 * (row['ratio'] - 1):+.0f} % ({low:+d} to {high:+d})".replace("-", "−")
    return f"**{said}**" if row["low"] > 1 or row["high"] < 1 else said
