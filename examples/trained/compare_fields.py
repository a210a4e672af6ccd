"""Effective fields of trained networks beside those of the same networks at random.

    python -m examples.trained.compare_fields
    python -m examples.trained.compare_fields --draw

For each network whose package is in the cache: the center unit of several layers, mapped with the trained weights on a few
inputs, and with random initializations of the same module on the same inputs. Each map is divided by its sum before maps
are averaged. Writes a table of measures (CSV), a row for each layer and measure; networks that stand in it are kept. `--draw`
makes figure and section of the page out of the table alone.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import stats

import jaxrf
from examples.trained.loading import fetched, trained
from examples.trained.nets import networks
from examples.trained.tables import CACHE
from jaxrf.base.compiler import jit
from jaxrf.errors import InputError
from jaxrf.fields.field import Maps

TABLE = Path(__file__).parent.parent.parent / "docs" / "trained.csv"
FIGURE = TABLE.parent / "images" / "trained.png"
PAGE = TABLE.parent / "trained.md"
MARKS = ("<!-- written by compare_fields --draw -->", "<!-- to here -->")
MEASURES: dict[str, dict[str, Any]] = {"sigma": {}, "area_ratio": {"share": 0.5}}
"""Measures and their options: those that noise in the map does not bias, since means are over different numbers of maps."""
STEPPED = ("area_ratio",)
"""Those that move in steps, whose ratio has no interval."""
COLUMNS = (
    "network", "layer", "input", "theoretical", "measure",
    "trained", "trained_low", "trained_high", "untrained", "untrained_low", "untrained_high",
    "ratio", "ratio_low", "ratio_high", "images", "seeds",
)  # fmt: skip

Row = dict[str, str]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval of 95 %, its standard error, and how many independent samples that rests on."""

    value: float
    low: float
    high: float
    stderr: float
    samples: int


def estimate(result: Any, measure: str) -> Estimate:
    """A measure of the first unit's map, averaged over axes where it has one for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There are .* independent samples")
        found = result.interval(measure, over="images", **MEASURES[measure])
    value, low, high, stderr = (
        float(np.mean(np.asarray(part)[0])) for part in (found.value, found.low, found.high, found.stderr)
    )
    return Estimate(value, low, high, stderr, result.count)


def ratio(a: Estimate, b: Estimate) -> tuple[float, float, float]:
    """`a / b` with its interval of 95 %, of two independent estimates.

    Errors of logarithms add by their squares; Student's t has the degrees of freedom of the one with fewer samples.

    >>> [round(one, 2) for one in ratio(Estimate(4, 3, 5, 0.4, 9), Estimate(2, 1, 3, 0.0, 9))]
    [2.0, 1.59, 2.52]
    """
    spread = np.hypot(a.stderr / a.value, b.stderr / b.value)
    factor = float(np.exp(stats.t.ppf(0.975, min(a.samples, b.samples) - 1) * spread))
    value = a.value / b.value
    return value, value / factor, value * factor


def measured(name: str, images: int, seeds: int, cache: Path) -> list[Row]:
    """The rows of one network."""
    model, variables = trained(name, cache)
    inputs, stages = networks[name].inputs(images), list(networks[name].stages)
    # Without crops all layers share one program, and trained and random weights do.
    field = jaxrf.prepare(model, variables, inputs, layer=stages, average="normalized", crop=False)
    with_weights = field.result(field(variables, inputs, field.key()))
    draw = jit(field.init, quick=True)
    each = [means(field(draw(jax.random.key(seed)), inputs, field.key(seed))) for seed in range(seeds)]
    at_random = field.result({stage: together([one[stage] for one in each]) for stage in stages})
    return [
        row_of(name, stage, measure, with_weights[stage], at_random[stage], (images, seeds))
        for stage in stages
        for measure in MEASURES
    ]


def means(maps: Mapping[str, Maps]) -> dict[str, np.ndarray]:
    """For each layer the mean over images of maps that sum to one, (unit, *map).

    Raises:
        InputError: a map is zero everywhere, or not finite.
    """
    found = {}
    for stage, one in maps.items():
        values = np.asarray(one.values, np.float64)
        totals = values.sum(tuple(range(2, values.ndim)), keepdims=True)
        if not (totals > 0).all():
            raise InputError(f"A map of {stage!r} is zero or not finite with random weights. Map another layer.")
        found[stage] = (values / totals).mean(0)
    return found


def together(networks_means: Sequence[np.ndarray]) -> Maps:
    """Maps of several networks as those of one call, so that a result's samples are networks."""
    values = np.stack(networks_means)
    shape = values.shape[:2]
    return Maps(values, np.zeros(shape, np.int32), np.zeros(shape))


def row_of(name: str, stage: str, measure: str, one: Any, other: Any, counts: tuple[int, int]) -> Row:
    """A row: a measure of a layer's map with trained weights and with random ones."""
    a, b = estimate(one, measure), estimate(other, measure)
    of_both = (a.value / b.value, np.nan, np.nan) if measure in STEPPED else ratio(a, b)
    numbers = (a.value, a.low, a.high, b.value, b.low, b.high, *of_both)
    size = "x".join(map(str, one.theoretical.size))
    extent = "x".join(map(str, one.input_shape))
    return dict(zip(COLUMNS, (name, stage, extent, size, measure, *(f"{n:.5g}" for n in numbers), *map(str, counts))))


def read(table: Path = TABLE) -> list[Row]:
    """The rows of a table; none where there is no file."""
    if not table.is_file():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def write(rows: Iterable[Row], table: Path) -> None:
    """Write a table, its networks in the order of their names."""
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["network"]))


def lines(rows: Sequence[Row], measure: str = "sigma") -> list[str]:
    """A measure's rows as lines of Markdown: network, layer, theoretical size, trained, untrained, ratio."""
    return [
        f"| {row['network']} | {row['layer']} | {row['theoretical']} | {_with_ends(row, 'trained')} | "
        f"{_with_ends(row, 'untrained')} | {_with_ends(row, 'ratio')} |"
        for row in rows
        if row["measure"] == measure
    ]


def _with_ends(row: Row, column: str) -> str:
    """A number and its interval, with three figures."""
    value, low, high = (float(row[f"{column}{end}"]) for end in ("", "_low", "_high"))
    return f"{value:.3g}" + (f" ({low:.3g} to {high:.3g})" if np.isfinite(low) else "")


def verdict(row: Row) -> str:
    """What a row says: "grows", "shrinks", or "open" where the interval of the ratio holds 1."""
    low, high = float(row["ratio_low"]), float(row["ratio_high"])
    return "grows" if low > 1 else "shrinks" if high < 1 else "open"


def section(rows: Sequence[Row]) -> str:
    """The page's table of sigma, and how many layers say what."""
    sigma = [row for row in rows if row["measure"] == "sigma"]
    said = [verdict(row) for row in sigma]
    counts = ", ".join(f"{word} in {said.count(word)}" for word in ("grows", "shrinks"))
    last = {row["network"]: verdict(row) for row in sigma}
    ends = "; ".join(
        f"{words}: {', '.join(f'`{name}`' for name, one in last.items() if one == word) or 'none'}"
        for word, words in (("grows", "grown"), ("shrinks", "shrunk"), ("open", "not told apart"))
    )
    head = "| network | layer | theoretical | trained | untrained | ratio |\n|---|---|---|---:|---:|---:|"
    return (
        f"Of {len(sigma)} layers of {len(last)} networks sigma {counts}, and in {said.count('open')} the interval of the "
        f"ratio holds 1. At the deepest layer that was mapped, {ends}.\n\n" + "\n".join([head, *lines(rows)])
    )


def publish(rows: Sequence[Row], page: Path = PAGE) -> None:
    """Put the section into the page, between its two marks.

    Raises:
        InputError: the page lacks a mark.
    """
    text = page.read_text()
    if any(text.count(mark) != 1 for mark in MARKS):
        raise InputError(f"{page} needs the lines {' and '.join(MARKS)} once each. Put them where the table is to be.")
    before, _, rest = text.partition(MARKS[0])
    page.write_text(f"{before}{MARKS[0]}\n\n{section(rows)}\n\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")


def draw(rows: Sequence[Row], file: Path, measure: str = "sigma") -> None:
    """A panel for each network: the measure over its layers, trained and untrained, with intervals."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["network"] for row in rows))
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(2.6 * across, 2.3 * down + 0.3), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False)
    for ax in axes.flat[len(names) :]:
        ax.axis("off")
    for ax, name in zip(axes.flat, names):
        own = [row for row in rows if row["network"] == name and row["measure"] == measure]
        for column, color, moved in (("untrained", "0.45", -0.06), ("trained", "C3", 0.06)):
            value, low, high = (
                np.array([float(row[f"{column}{end}"]) for row in own]) for end in ("", "_low", "_high")
            )
            bars = np.nan_to_num(np.maximum([value - low, high - value], 0))
            ax.errorbar(
                np.arange(len(own)) + moved, value, bars, color=color, marker=".", capsize=2, lw=1, label=column
            )
        ax.set_yscale("log")
        ax.set_xticks(range(len(own)), [row["layer"] for row in own], rotation=35, ha="right", fontsize=6)
        ax.tick_params("y", which="both", labelsize=6)
        ax.set_title(f"{name}, {own[0]['input']}", fontsize=8)
    axes[0, 0].set_ylabel(f"{measure}, input positions", fontsize=7)
    figure.legend(
        *axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is there and not yet in the table, or draw the table."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.trained.compare_fields", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "names", nargs="*", help="networks, measured anew; default: the fetched ones that the table lacks"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"folder of the packages; default: {CACHE}")
    parser.add_argument("--images", type=int, default=8, help="how many inputs; default: 8")
    parser.add_argument("--seeds", type=int, default=6, help="how many random initializations; default: 6")
    parser.add_argument("--table", type=Path, default=TABLE, help="the table; default: docs/trained.csv")
    parser.add_argument(
        "--draw",
        type=Path,
        nargs="?",
        const=FIGURE,
        help="draw the table, and write it into the page, unless another file is named",
    )
    options = parser.parse_args(arguments)
    rows = read(options.table)
    if options.draw is None:
        there = {row["network"] for row in rows}
        for name in options.names or [name for name in fetched(options.cache) if name not in there]:
            start = time.process_time()
            found = measured(name, options.images, options.seeds, options.cache)
            rows = [row for row in rows if row["network"] != name] + found
            write(rows, options.table)
            print(*lines(found), f"{name}: {time.process_time() - start:.0f} s of CPU", sep="\n", flush=True)
    elif rows:
        draw(rows, options.draw)
        if options.draw == FIGURE:
            publish(rows)


if __name__ == "__main__":
    try:
        main()
    except (InputError, LookupError) as error:
        raise SystemExit(f"compare_fields: {error}") from None
