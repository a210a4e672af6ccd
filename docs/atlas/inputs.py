"""What the input does: photos beside noise, and a smaller input beside the usual one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from _rows import FAMILIES, MARK, family, known, larger, side, table, times

from jaxrf.atlases.atlas import Atlas
from jaxrf.atlases.row import AtlasRow

Pair = tuple[AtlasRow, AtlasRow]


def on_photos(atlas: Atlas) -> Iterator[Pair]:
    """Rows on noise, each with that on photos."""
    found = {(row.network, row.layer, row.input): row for row in known(atlas.select(images="photos"))}
    for row in known(atlas.select(images="noise")):
        if other := found.get((row.network, row.layer, row.input)):
            yield row, other


def on_smaller(atlas: Atlas) -> Iterator[Pair]:
    """Rows on noise of the larger input, each with that on a smaller one."""
    rows = known(atlas.select(images="noise"))
    for row in rows:
        for other in rows:
            if (row.network, row.layer) == (other.network, other.layer) and side(other) < side(row):
                yield row, other


def quotient(pair: Pair) -> tuple[float, float]:
    """Sigma of the second over that of the first, and its relative standard error.

    Noise and photos share their random networks, whose part of the error is then counted twice; the error is too large.
    """
    first, second = pair
    assert first.sigma and second.sigma  # as in every row that is known
    return second.sigma / first.sigma, math.hypot(first.sigma_error or 0.0, second.sigma_error or 0.0)


def page(atlas: Atlas) -> str:
    """The page of inputs."""
    photos, smaller = list(on_photos(atlas)), list(on_smaller(atlas))
    fit = [pair for pair in smaller if not larger(pair[1])]
    return MARK + PAGE.format(
        photos=_families(photos), pairs=_pairs(photos), smaller=_families(smaller), fit=_families(fit),
        every=_pairs(smaller),
    )  # fmt: skip


def _families(pairs: Iterable[Pair]) -> str:
    found: dict[str, list[tuple[float, float]]] = {}
    for pair in pairs:
        found.setdefault(family(pair[0].network), []).append(quotient(pair))
    lines = []
    for name in FAMILIES:
        if name in found:
            value, error = np.array(found[name]).T
            apart = int((np.abs(np.log(value)) > 1.96 * error).sum())
            lines.append([name, f"{len(value)}", f"{np.median(value):.3f}", f"{value.min():.3f} to {value.max():.3f}", f"{apart}"])  # fmt: skip
    header = ("family", "rows", "median of the quotients", "from, to", "apart from 1")
    return table(header, lines, "|---|---:|---:|---|---:|")


def _pairs(pairs: Iterable[Pair]) -> str:
    lines = []
    for first, second in pairs:
        value, error = quotient((first, second))
        ends = f"[{value * math.exp(-1.96 * error):.3f}, {value * math.exp(1.96 * error):.3f}]"
        lines.append([f"`{first.network}` `{first.layer}`", times(first.input), times(second.input),
                      f"{first.sigma:.4g}", f"{second.sigma:.4g}", f"{value:.3f} {ends}"])  # fmt: skip
    header = ("row", "input", "input of the other", "sigma", "of the other", "quotient")
    return table(header, lines, "|---|---|---|---:|---:|---|")


PAGE = """\
# Photos beside noise, and a smaller input

With random weights. A quotient is "apart from 1" where its logarithm is more than 1.96 standard errors away from none; of
twenty quotients that are 1, one is apart by chance.

## Photos over noise

Sigma on four photos over that on noise, of the same layer on the same input.

{photos}
## A smaller input over the usual one

Sigma on the smaller input over that on the larger one, on noise.

{smaller}
Where the theoretical field fits into the smaller input, and the unit is not near its border, both should be alike:

{fit}
## Every row on photos

{pairs}
## Every row on two inputs

{every}"""
