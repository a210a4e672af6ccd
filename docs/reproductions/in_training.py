"""Growth in training: how the fields of four small architectures change while they learn to tell clothes apart.

A plain stack, one with skips, one that sub-samples and one that is dilated, of equal depth and width, on real images.
`jaxrf.watch` stands in the loop and maps the middle unit of the class scores at ten steps, on the same test images.

    python docs/reproductions/in_training.py --path usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from _common import COLORS, Run, figure, mean_interval, plus_minus, show_map, start
from _data import Task, fewer_tests, photographs
from _training import loss_of, share_right
from architectures import Stack, kinds

import jaxrf
from jaxrf.watching.history import History

NAMES = ("plain", "skip", "sub-sampled", "dilated")
LAYER = "head"
MAPS = 10
MEASURES = {
    "sigma": ("sigma", {}, 2),
    "size_luo2016": ("Luo's size", {}, 1),
    "participation": ("participation", {}, 1),
    "area_ratio": ("area ratio of a half", {"share": 0.5}, 3),
}
"""Measures, what they are called in the table, their settings and digits."""


class Classifier(nn.Module):
    """A stack of layers and the scores of the classes at every position."""

    kinds: tuple[str, ...]
    width: int
    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(Stack(self.kinds, self.width, name="stack")(x))
        return nn.Conv(self.classes, (1, 1), name=LAYER)(x)


def watched(model: Classifier, task: Task, seed: int, every: int, held: int, out: Path) -> tuple[History, float]:
    """A training whose fields are recorded every so many steps, and its accuracy on the test images."""
    adam = optax.adam(optax.cosine_decay_schedule(3e-3, every * (MAPS - 1)))

    @jax.jit
    def step(variables: Any, state: Any, images: Any, labels: Any) -> tuple:
        slope = jax.grad(lambda v: loss_of(model, v, images, labels))(variables)
        change, state = adam.update(slope, state)
        return optax.apply_updates(variables, change), state

    variables = model.init(jax.random.key(seed), task.images[:1])
    state, order = adam.init(variables), np.random.default_rng(seed)
    images, options = task.test_images[:held], {"layer": LAYER, "average": "normalized"}
    with jaxrf.watch(model, variables, images, every=every, out=out, **options) as watch:
        for number in range(every * (MAPS - 1)):
            watch(number, variables)
            chosen = order.integers(len(task.images), size=32)
            variables, state = step(variables, state, task.images[chosen], task.labels[chosen])
        watch(every * (MAPS - 1), variables)
    return watch.history(), share_right(model, variables, task)


def main(run: Run) -> None:
    """Train all, tell what their fields do, and draw."""
    depth, width, seeds, every = run.sizes((3, 4, 2, 1), (6, 12, 3, 40), (12, 32, 8, 400))
    task = fewer_tests(photographs(run.options.path, run.options.small), run.sizes(16, 2000, 10000))
    rows, found = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name in run.sizes(NAMES[2:3], NAMES, NAMES):
            model = Classifier(kinds(depth)[name], width, task.classes)
            each = [
                watched(model, task, seed, every, run.sizes(4, 32, 128), Path(folder) / name / str(seed))
                for seed in range(seeds)
            ]
            found[name] = [history for history, _ in each]
            rows += told(name, found[name], [accuracy for _, accuracy in each])
        head = ("architecture", "", "before", "after", "difference over networks", "one network, over images")
        run.table(f"{seeds} networks each, {every * (MAPS - 1)} steps", head, rows)
        draw(run, found)


def told(name: str, histories: list[History], accuracies: list[float]) -> list[tuple[str, ...]]:
    """Rows of one architecture: its measures before and after, and the accuracy that it came to."""
    rows: list[tuple[str, ...]] = []
    for measure, (words, settings, digits) in MEASURES.items():
        ends = [[history.result(LAYER, history.steps[at]) for history in histories] for at in (0, -1)]
        each = [jaxrf.compare(after, before, measure=measure, **settings) for before, after in zip(*ends, strict=True)]
        before, after = (np.array([np.mean(getattr(one, side)) for one in each]) for side in ("b", "a"))
        change, one = mean_interval(after - before), each[0].difference
        first = plus_minus(float(one.value.mean()), float((one.high - one.low).mean()) / 2, digits)
        rows.append((
            "" if rows else name, words, f"{before.mean():.{digits}f}", f"{after.mean():.{digits}f}",
            plus_minus(*change, digits), first,
        ))  # fmt: skip
    return [*rows, ("", "test accuracy", "", plus_minus(*mean_interval(accuracies), 3), "", "")]


def draw(run: Run, found: dict[str, list[History]]) -> None:
    """A strip of the first network's maps for each architecture, and sigma of all over the steps."""
    shown = run.sizes((0, 1), (0, 1, 3, 6, 9), (0, 1, 3, 6, 9))
    made = figure(8.4, 1.35 * len(found))
    strips, curves = made.subfigures(1, 2, width_ratios=(1.7, 1))
    axes = strips.subplots(len(found), len(shown), squeeze=False)
    ax = curves.subplots()
    for place_of_row, (name, histories) in enumerate(found.items()):
        row, color = axes[place_of_row], COLORS[place_of_row]
        steps = histories[0].steps
        for place, number in zip(row, shown, strict=True):
            result = histories[0].result(LAYER, steps[number])
            title = f"step {steps[number]}" if place_of_row == 0 else ""
            show_map(place, _in_the_middle(result.mean[0], run.sizes(9, 25, 51)) ** 0.5, title)
        row[0].set_ylabel(name, fontsize=8)
        sigma = np.array([history.numbers(LAYER)["sigma"][0].mean((1, 2)) for history in histories])
        ax.plot(steps, sigma.T, color=color, linewidth=0.5, alpha=0.6)
        ax.plot(steps, sigma.mean(0), color=color, linewidth=1.8, label=name)
    ax.set_xlabel("step", fontsize=9)
    ax.set_title("sigma, input positions", fontsize=9)
    curves.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    run.save(made, "in_training")


def _in_the_middle(values: np.ndarray, side: int) -> np.ndarray:
    """The map in a frame of one size, so that maps of all architectures have one scale."""
    frame = np.zeros((side, side))
    own = [slice(max(n // 2 - side // 2, 0), n // 2 - side // 2 + side) for n in values.shape]
    part = values[tuple(own)]
    at = [(side - n) // 2 for n in part.shape]
    frame[at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]] = part
    return frame


def options(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--path", type=Path, help="folder of the files of Fashion-MNIST")


if __name__ == "__main__":
    start(main, __doc__, options)
