"""Trained against untrained, layer by layer: where in a network do fields grow or shrink while it learns?

Four architectures of equal depth and width on Fashion-MNIST and on the digits of scikit-learn. Several networks of each
are trained, and every layer of each is compared with itself before training, on the same test images. Architectures that
the table has are not trained again.

    python docs/reproductions/by_layer.py --path usr/share/datasets/fashion-mnist
    python docs/reproductions/by_layer.py --read        # the tables alone, from the one that lies beside this script
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _common import COLORS, Run, figure, mean_interval, start
from _data import Task, digits, fewer_tests, halved, photographs
from _layers import MEASURES, NUMBERS, TABLE, Row, lines, read, save
from _training import Trained, train
from architectures import kinds
from in_training import NAMES, Classifier

import jaxrf
from jaxrf.errors import InputError


def measured(model: Classifier, network: Trained, images: np.ndarray, layers: list[str]) -> dict[str, np.ndarray]:
    """By measure the logarithm of each layer's number, (untrained and trained, layer)."""
    sides = [
        jaxrf.erf(model, variables, images, layer=layers, average="normalized", crop=False)
        for variables in (network.before, network.after)
    ]
    return {
        measure: np.log([[result.measure(measure).mean() for result in side.values()] for side in sides])
        for measure in MEASURES
    }


def rows(data: str, name: str, task: Task, run: Run) -> list[Row]:
    """A row for each layer and measure: means over networks, and the ratio of trained to untrained with its interval."""
    depth, width, seeds = run.sizes((2, 4, 2), (4, 12, 4), (6, 32, 12))
    model = Classifier(kinds(depth)[name], width, task.classes)
    table = jaxrf.trf(model, task.images.shape[1:])
    layers = [row.name for row in table if row.name not in ("stack", "output")]
    steps, images = run.sizes(2, 300, 8000), task.test_images[: run.sizes(4, 12, 128)]
    networks = [train(model, task, seed, steps, batch=32, rate=3e-3) for seed in range(seeds)]
    each = [measured(model, network, images, layers) for network in networks]
    found = []
    for measure in MEASURES:
        logs = np.array([one[measure] for one in each])
        for layer, (before, after) in zip(layers, logs.transpose(2, 1, 0), strict=True):
            ratio, half = mean_interval(after - before)
            numbers = (before.mean(), after.mean(), ratio, ratio - half, ratio + half)
            found.append({
                "data": data, "architecture": name, "layer": layer.removeprefix("stack/"), "measure": measure,
                "theoretical": table[layer].size[0],
                **dict(zip(NUMBERS, np.exp(numbers).tolist(), strict=True)),
                "networks": seeds, "accuracy": float(np.mean([network.accuracy for network in networks])),
            })  # fmt: skip
    return found


def main(run: Run) -> None:
    """Train what the table lacks, measure every layer, tell and draw."""
    other = run.out / TABLE.name
    file = run.sizes(other, TABLE, other)
    found = read(file)
    there = {(row["data"], row["architecture"]) for row in found}
    for data, load in {} if run.options.read else tasks(run):
        for name in run.sizes(NAMES[:1], NAMES, NAMES):
            if (data, name) not in there:
                found += rows(data, name, load(), run)
                save(file, found)
                jaxrf.clear_cache()  # no network comes twice
    if not found:
        raise InputError(f"{file} has no rows. Run without --read.")
    for measure in MEASURES:
        run.table(f"{measure}, trained over untrained", *lines([row for row in found if row["measure"] == measure]))
    draw(run, found)


def tasks(run: Run) -> list[tuple[str, Callable[[], Task]]]:
    """What is learned, and what loads it."""
    tests = run.sizes(16, 1000, 10000)
    return [
        ("digits", lambda: digits(run.options.small)),
        ("Fashion-MNIST", lambda: fewer_tests(halved(photographs(run.options.path, run.options.small)), tests)),
    ]


def draw(run: Run, found: list[Row]) -> None:
    """Sigma of trained over that of untrained networks, layer by layer; bars are intervals over networks."""
    found = [row for row in found if row["measure"] == "sigma"]
    tasks = list(dict.fromkeys(row["data"] for row in found))
    made = figure(8.4, 3.0)
    for ax, data in zip(made.subplots(1, len(tasks), sharey=True, squeeze=False)[0], tasks, strict=True):
        for number, name in enumerate(dict.fromkeys(row["architecture"] for row in found)):
            own = [row for row in found if (row["data"], row["architecture"]) == (data, name)]
            place = np.arange(len(own)) + 0.12 * (number - 1.5)
            ratio, low, high = (np.array([row[key] for row in own]) for key in ("ratio", "low", "high"))
            ax.errorbar(
                place, ratio, [ratio - low, high - ratio], fmt="o", color=COLORS[number], markersize=3, label=name
            )  # fmt: skip
            ax.set_xticks(np.arange(len(own)), [row["layer"] for row in own], fontsize=8)
        ax.axhline(1, color="black", linewidth=0.6)
        ax.set_title(f"{data}: sigma, trained over untrained", fontsize=9)
    made.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    run.save(made, "by_layer")


def options(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--path", type=Path, help="folder of the files of Fashion-MNIST")
    parser.add_argument("--read", action="store_true", help="train nothing; read the table")


if __name__ == "__main__":
    start(main, __doc__, options)
