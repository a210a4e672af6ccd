"""The table of `score.py`: its rows, read and written, and the rank correlations that they give."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

TABLE = Path(__file__).parent / "score.csv"
PROXIES = {
    "sigma": "sigma of one sign-averaged draw",
    "size": "Luo's size of it",
    "theoretical": "theoretical size",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
    "layers": "layers",
}
"""Numbers of an untrained network by columns of the table, and what they are."""
WITHIN = {"parameters", "multiply_adds"}
"""What the partial correlations hold constant."""
Correlations = dict[str, dict[str, tuple[float, float, float]]]


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a table that was written; those that are missing are measured."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        words = {"kernels", "strides", "dilations"}
        return [{k: v if k in words else float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def add(path: Path, row: dict[str, Any]) -> None:
    """Write one more row, below the names of the columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def rank_correlation(x: np.ndarray, y: np.ndarray, given: np.ndarray | None = None) -> float:
    """Spearman's rank correlation; with `given` (columns, n), the one that is left when ranks are freed of theirs.

    Ranks that do not vary, or of which nothing is left, correlate with nothing: 0.
    """
    ranks = [stats.rankdata(x), stats.rankdata(y)]
    if given is not None:
        others = np.stack([np.ones(len(x)), *(stats.rankdata(one) for one in given)], axis=1)
        ranks = [one - others @ np.linalg.lstsq(others, one, rcond=None)[0] for one in ranks]
    return float(np.corrcoef(*ranks)[0, 1]) if min(one.std() for one in ranks) > 1e-9 else 0.0


def correlations(rows: list[dict[str, Any]], draws: int = 2000) -> Correlations:
    """By proxy: the rank correlation with the accuracy and its 95 % interval, plain and beyond the size of the network.

    Intervals are percentiles of a bootstrap over networks.
    """
    columns = {name: np.array([row[name] for row in rows]) for name in (*PROXIES, "accuracy")}
    random = np.random.default_rng(0)
    places = [np.arange(len(rows)), *random.integers(len(rows), size=(draws, len(rows)))]
    found: Correlations = {}
    for name in PROXIES:
        kinds = {"plain": []} if name in WITHIN else {"plain": [], "beyond": sorted(WITHIN)}
        found[name] = {}
        for kind, held in kinds.items():
            each = [
                rank_correlation(columns[name][at], columns["accuracy"][at],
                                 np.stack([columns[one][at] for one in held]) if held else None)
                for at in places
            ]  # fmt: skip
            low, high = np.percentile(each[1:], [2.5, 97.5])
            found[name][kind] = each[0], float(low), float(high)
    return found


def lines(found: Correlations) -> list[tuple[str, str, str]]:
    """Rows of the printed table."""

    def shown(kinds: dict[str, tuple[float, float, float]], kind: str) -> str:
        if kind not in kinds:
            return ""
        value, low, high = (f"{number:.2f}".replace("-", "−") for number in kinds[kind])
        return f"{value} ({low} to {high})"

    return [(PROXIES[name], shown(kinds, "plain"), shown(kinds, "beyond")) for name, kinds in found.items()]
