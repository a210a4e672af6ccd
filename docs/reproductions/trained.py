"""Trained against untrained: does training enlarge the effective field? It depends on what the task needs.

Two made segmentation tasks, one that needs the position itself and one that needs a ring at distance 5, or one of the
data sets on disk. Several networks are trained; each is compared with itself before training on the same test images,
and the differences are averaged over networks.

    python docs/reproductions/trained.py [--full]
    python docs/reproductions/trained.py --data camvid --path CamVid
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from _common import Run, figure, mean_interval, plus_minus, show_map, start
from _data import Task, made, tasks
from _training import Net, Trained, train
from matplotlib.axes import Axes

import jaxrf
from jaxrf.errors import InputError
from jaxrf.results.result import Result

MEASURES = {"sigma": {}, "size_luo2016": {}, "participation": {}, "energy_radius": {"share": 0.5}, "coverage": {}}


def options(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--data", choices=["made", *tasks], default="made", help="what to train on")
    parser.add_argument("--path", help="folder of the data set")


def chosen(run: Run) -> dict[str, Task]:
    """The tasks by name."""
    if run.options.data != "made":
        load, path = tasks[run.options.data], run.options.path
        if path is None and run.options.data != "fashion-mnist":
            raise InputError(f"{run.options.data} is not part of this project. Say with --path where it lies.")
        return {run.options.data: load(path) if path else load()}
    count = run.sizes({"train": 16, "test": 8}, {"train": 512, "test": 64}, {"train": 4096, "test": 256})
    return {
        "near: the position": made(reach=0, **count),
        "far: ring of radius 5": made(reach=5, **count),
    }


def fields(model: Net, network: Trained, task: Task, images: int) -> tuple[Result, Result]:
    """Maps of the middle unit's scores after and before training, on the same test images."""
    inputs = task.test_images[:images]
    after, before = (jaxrf.erf(model, v, inputs, average="normalized") for v in (network.after, network.before))
    return after, before


def main(run: Run) -> None:
    """Train, measure, compare, and draw."""
    depth, width, seeds = run.sizes(2, 8, 12), run.sizes(4, 12, 32), run.sizes(2, 4, 8)
    steps, images = run.sizes(4, 250, 3000), run.sizes(4, 48, 128)
    found = chosen(run)
    drawn = figure(7.6, 2.6 * len(found))
    axes = drawn.subplots(len(found), 4, squeeze=False)
    for row, (name, task) in zip(axes, found.items(), strict=True):
        model = Net(depth, width, task.classes)
        networks = [train(model, task, seed, steps) for seed in range(seeds)]
        pairs = [fields(model, network, task, images) for network in networks]
        draw(row, name, networks, pairs)
        run.table(
            f"{name}: {seeds} networks, {depth} layers of 3x3, {len(task.images)} images to train on",
            ("measure", "untrained", "trained", "difference over networks", "one network, over images"),
            [compared(measure, settings, pairs) for measure, settings in MEASURES.items()],
        )
    run.save(drawn, "trained" if run.options.data == "made" else f"trained_{run.options.data}")


def draw(row: Sequence[Axes], name: str, networks: list[Trained], pairs: list[tuple[Result, Result]]) -> None:
    """Mean maps before and after, their profiles, and the mean loss."""
    after, before = (np.mean([pair[k].mean[0] for pair in pairs], 0) for k in (0, 1))
    show_map(row[0], before, f"{name}\nuntrained")
    show_map(row[1], after, f"trained\naccuracy {np.mean([n.accuracy for n in networks]):.1%}")
    for map_, style in ((before, ":"), (after, "-")):
        line = map_.sum(0) / map_.sum()
        row[2].plot(np.arange(len(line)) - len(line) // 2, line, style, color="black")
    row[2].set_title("profile; dotted: untrained", fontsize=9)
    row[3].plot(np.mean([n.losses for n in networks], 0), color="black", linewidth=0.8)
    row[3].set_title("training loss", fontsize=9)


def compared(measure: str, settings: dict, pairs: list[tuple[Result, Result]]) -> tuple[str, ...]:
    """A line of the table: the paired difference over networks, and that of the first network over its images."""
    each = [jaxrf.compare(*pair, measure=measure, **settings) for pair in pairs]
    after, before = (float(np.mean([np.mean(getattr(c, side)) for c in each])) for side in ("a", "b"))
    over_networks = mean_interval([float(np.mean(c.difference.value)) for c in each])
    one = each[0].difference
    first = plus_minus(float(one.value.mean()), float((one.high - one.low).mean()) / 2)
    return measure, f"{before:.2f}", f"{after:.2f}", plus_minus(*over_networks), first


if __name__ == "__main__":
    start(main, __doc__, options)
