"""Accuracy on ImageNet, as published, over theoretical and effective size: a figure, and rank correlations.

`accuracies.csv` holds what was published, each with its source. No number of a page is typed by hand.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from _rows import (
    COLOR,
    FOLDER,
    MARK,
    family,
    flat_size,
    interval,
    larger,
    panels,
    rank_correlation,
    read,
    side,
    table,
    usual,
)
from matplotlib.figure import Figure

from jaxrf.atlases.atlas import Atlas
from jaxrf.atlases.row import AtlasRow

ACCURACIES = FOLDER / "accuracies.csv"
DRAWS = 4000
"""Sets of networks that the intervals are made of."""
TICKS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
GROUPS = {"all": ("plain", "strong"), "trained plainly": ("plain",), "trained with strong augmentation": ("strong",)}


@dataclass(frozen=True)
class Point:
    """A network whose accuracy was published, and the row of its last stage.

    Attributes:
        row: of the atlas.
        top1: per cent.
        training: "plain" or "strong".
        source: of the accuracy.
    """

    row: AtlasRow
    top1: float
    training: str
    source: str

    @property
    def theoretical(self) -> float:
        """The theoretical size, not cut at the input's borders."""
        return self.row.mean_size

    @property
    def inside(self) -> float:
        """The theoretical size as far as the input goes."""
        return min(self.row.mean_size, side(self.row))

    @property
    def error(self) -> float:
        """Half the relative interval of the effective size."""
        return 1.96 * (self.row.sigma_error or 0.0)

    @property
    def effective(self) -> float:
        """The effective size."""
        return flat_size(self.row)


SIZES: dict[str, Callable[[Point], float]] = {
    "theoretical size": lambda point: point.theoretical,
    "theoretical size, at most the input": lambda point: point.inside,
    "effective size": lambda point: point.effective,
}


def points(atlas: Atlas) -> list[Point]:
    """The networks that have both an accuracy and a known last stage, in the order of the file."""
    last = {row.network: row for row in usual(atlas) if row.stage == row.stages}
    lines = [line for line in read(ACCURACIES) if line["network"] in last]
    return [Point(last[line["network"]], float(line["top1"]), line["training"], line["source"]) for line in lines]


def correlations(found: Sequence[Point], draws: int = DRAWS) -> list[tuple[float, float, float]]:
    """Rank correlation of accuracy with each of `SIZES`, and of it with the last less that with the first: value, low, high.

    Intervals of 95 % from sets of networks drawn with replacement; in each set effective sizes are drawn anew within their
    errors. So they hold for other networks of this kind, as far as networks can be taken to be drawn at all.
    """
    rng, top1 = np.random.default_rng(0), np.array([one.top1 for one in found])
    sizes = {name: np.array([size(one) for one in found]) for name, size in SIZES.items()}
    errors = np.array([one.row.sigma_error or 0.0 for one in found])
    sets = []
    for draw in range(draws + 1):
        chosen = rng.integers(len(found), size=len(found)) if draw else np.arange(len(found))
        noise = 1 + errors * rng.standard_normal(len(found)) if draw else np.ones(len(found))
        drawn = {**sizes, "effective size": sizes["effective size"] * noise}
        own = [rank_correlation(values[chosen], top1[chosen]) for values in drawn.values()]
        sets.append([*own, own[-1] - own[0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes that are all alike have no correlation in any set
        low, high = np.nanquantile(sets[1:], (0.025, 0.975), axis=0)
    return [(float(value), float(lo), float(hi)) for value, lo, hi in zip(sets[0], low, high)]


def figure(found: Sequence[Point]) -> Figure:
    """Accuracy over theoretical and over effective size, a point for each network, filled where training was strong."""
    drawn, axes = panels(2, 3.8)
    for ax, size, label in zip(axes, ("theoretical", "effective"), ("theoretical size", "effective size, √12 σ")):
        for one in found:
            color, at = COLOR[family(one.row.network)], getattr(one, size)
            reach = [[at * one.error], [at * one.error]] if size == "effective" else None
            ax.errorbar(
                at, one.top1, xerr=reach, fmt="o" if one.training == "strong" else "s", color=color, markersize=5,
                markerfacecolor=color if one.training == "strong" else "none", elinewidth=0.8,
            )  # fmt: skip
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ax.set_xticks(ticks := [n for n in TICKS if low < n < high], map(str, ticks))
        ax.minorticks_off()
        ax.set_xlabel(f"{label} of the last stage (input positions)")
    axes[0].set_ylabel("ImageNet top-1, as published (%)")
    names = dict.fromkeys(family(one.row.network) for one in found)
    marks = [axes[0].plot([], [], "o", color=COLOR[name], label=name)[0] for name in names]
    marks += [axes[0].plot([], [], mark, color="0.3", markerfacecolor=fill, label=f"{how} training")[0]
              for mark, fill, how in (("s", "none", "plain"), ("o", "0.3", "strong"))]  # fmt: skip
    drawn.legend(handles=marks, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return drawn


def page(atlas: Atlas) -> str:
    """The page of accuracies."""
    found = points(atlas)
    lines = []
    for name, trainings in GROUPS.items():
        own = [one for one in found if one.training in trainings]
        if len(own) < 8:
            continue
        numbers = [
            "all alike" if math.isnan(value) else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"
            for value, low, high in correlations(own)
        ]
        lines.append([name, f"{len(own)}", *numbers])
    header = ("networks", "n", *SIZES, "effective less theoretical")
    ranked = table(header, lines, "|---|---:|---|---|---|---|")
    rows = [[f"`{one.row.network}`", f"`{one.row.layer}`", f"{one.top1:.4g}", one.training,
             f"{one.theoretical:g}{'*' * larger(one.row)}", interval(one.row, "sigma", 12**0.5),
             f"{100 * (one.row.sigma_error or 0):.1f} %", one.source]
            for one in sorted(found, key=lambda one: -one.top1)]  # fmt: skip
    header = ("network", "last stage", "top-1", "training", "theoretical size", "effective size", "its error", "source of the accuracy")  # fmt: skip
    every = table(header, rows, "|---|---|---:|---|---:|---|---:|---|")
    return MARK + PAGE.format(ranked=ranked, every=every, draws=DRAWS)


PAGE = """\
# Accuracy over size

Accuracy of one crop on ImageNet, as published, against the size of the field of the center unit behind the last stage, with
random weights, on noise of the input that the accuracy was measured at. The effective size is √12 sigma, the side of a
flat map with this sigma.

![Accuracy over theoretical and effective size](accuracy.svg)

## Rank correlations

Spearman's rank correlation of accuracy with size. Intervals of 95 % are from {draws} sets of networks drawn with replacement,
with effective sizes drawn within their errors. The last column is the difference of the third and the first, with the
interval of the difference itself.

{ranked}
What cannot be read from this: that a larger field makes a network better. Fields here are those before training. Newer networks have larger
theoretical fields, and newer ways to train them as well, so that rows of the table with one way of training alone tell more
than the first; and within these, deeper networks of a family have both larger fields and more parameters.
Networks of a family are alike, so that intervals that take networks as drawn one by one are too short.

"plain" is training with crops and flips, "strong" with mixing of images, random augmentations and hundreds of epochs, as the
source tells it.

## Networks

"*" marks theoretical fields that are larger than the input, where the effective one is cut as well.

{every}
Not here are networks without a published accuracy on ImageNet at the input of the atlas, and those that stand in the zoo
twice.
"""
