"""What the pages of the atlas share: readings of rows, families, text of tables, figures."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrf.atlases.atlas import Atlas
from jaxrf.atlases.row import AtlasRow
from jaxrf.report.canvas import new_figure
from jaxrf.report.curves import COLORS

FOLDER = Path(__file__).parent
MARK = "<!-- Written by docs/atlas/pages.py from the atlas. Change that. -->\n\n"
FAMILIES = {
    "plain stacks": r"conv_stack|alexnet|vgg|esrgan|unet",
    "residual": r"resnet|resnext|wide_|densenet|hrnet|deeplab|regnet",
    "inception": r"inception_(v|resnet)",
    "depthwise": r"mobilenet|efficientnet",
    "large kernels": r"convnext|replknet|slak|van_|inception_next",
    "attention and mixing": r"deit|vit_|swin|maxvit|mixer|poolformer",
    "signals": r"tcn|wavenet",
}
"""Families of networks, by what their names begin with; their order is that of colors."""
COLOR = dict(zip(FAMILIES, COLORS, strict=True))


def family(network: str) -> str:
    """The family of a network."""
    return next(name for name, pattern in FAMILIES.items() if re.match(pattern, network))


def known(rows: Iterable[AtlasRow]) -> list[AtlasRow]:
    """The rows whose sigma has an interval."""
    return [row for row in rows if row.status in ("done", "capped") and row.sigma_low is not None]


def usual(atlas: Atlas) -> list[AtlasRow]:
    """The known rows on noise, of each network those on its largest input that has any."""
    found = []
    for network in atlas.networks:
        own = known(atlas[network].select(images="noise"))
        largest = max((side(row) for row in own), default=0)
        found += [row for row in own if side(row) == largest]
    return found


def side(row: AtlasRow) -> int:
    """The first side of a row's input."""
    return int(row.input.split("x")[0])


def flat_size(row: AtlasRow) -> float:
    """The effective size: the side of a flat map with this sigma, which is that of the theoretical field if it is flat."""
    assert row.sigma is not None  # as in every row that is known
    return math.sqrt(12) * row.sigma


def ratio(row: AtlasRow) -> float:
    """Effective over theoretical size; so 1 where the field is flat."""
    return flat_size(row) / row.mean_size


def larger(row: AtlasRow) -> bool:
    """Whether the theoretical field is larger than the input."""
    return any(size > int(side) for size, side in zip(row.size, row.input.split("x")))


def interval(row: AtlasRow, name: str, scale: float = 1.0) -> str:
    """A measure with the ends of its interval; the value alone where it has none."""
    value, low, high = (getattr(row, key) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return ""
    ends = "" if low is None or high is None else f" [{scale * low:.4g}, {scale * high:.4g}]"
    return f"{scale * value:.4g}{ends}"


def read(file: Path) -> list[dict[str, str]]:
    """The lines of a CSV, without its comments."""
    lines = file.read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def times(text: str) -> str:
    """A shape with the sign of multiplication."""
    return text.replace("x", "×")


def table(header: Sequence[str], lines: Iterable[Sequence[str]], rule: str) -> str:
    """A table in Markdown."""
    rows = [f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(cells)} |" for cells in lines)]
    return "\n".join(rows) + "\n"


def panels(count: int, height: float = 3.6) -> tuple[Figure, Sequence[Axes]]:
    """A figure of panels in a row."""
    figure = new_figure(4.2 * count, height)
    axes = figure.subplots(1, count, squeeze=False)[0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 0 on, the mean rank where values are equal.

    >>> ranks([3.0, 1.0, 3.0]).tolist()
    [1.5, 0.0, 1.5]
    """
    found = np.asarray(values, float)
    below = (found[:, None] > found[None, :]).sum(1)
    equal = (found[:, None] == found[None, :]).sum(1)
    return below + (equal - 1) / 2


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's; NaN where one of both does not vary."""
    a, b = ranks(x), ranks(y)
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / spread) if spread else math.nan
