"""A field as a score without training: does the field of an untrained network say how well it will learn?

Random small networks for images of 14 x 14: three to six convolutions, each with a kernel, stride and dilation of its
own. Of each one the sign-averaged map of a single draw is measured, and then it is trained for some seconds. Rank
correlations with its test accuracy stand beside those of its size. Rows that the table has are not measured again.

    python docs/reproductions/score.py --path usr/share/datasets/fashion-mnist
    python docs/reproductions/score.py --read        # the correlations alone, from the table that lies beside this script
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from _common import COLORS, Run, figure, start
from _data import Task, fewer_tests, halved, photographs
from _scores import PROXIES, TABLE, add, correlations, lines, read
from _training import loss_of, share_right

import jaxrf
from jaxrf.errors import InputError


@dataclass(frozen=True)
class Layer:
    """One convolution, followed by a ReLU."""

    kernel: int
    stride: int
    dilation: int


class Drawn(nn.Module):
    """Convolutions of one width, and scores of the classes at every position."""

    layers: tuple[Layer, ...]
    width: int
    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, one in enumerate(self.layers):
            x = nn.Conv(
                self.width, (one.kernel,) * 2, one.stride, kernel_dilation=one.dilation, name=f"conv_{i}"
            )(x)  # fmt: skip
            x = nn.relu(x)
        return nn.Conv(self.classes, (1, 1), name="head")(x)

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Of one image."""
        (side, _, inputs), count = shape, 0
        for one in self.layers:
            side = -(-side // one.stride)
            count += side**2 * one.kernel**2 * inputs * self.width
            inputs = self.width
        return count + side**2 * inputs * self.classes


def drawn(number: int, classes: int) -> Drawn:
    """Network of that number: its own draw of depth, width and layers; two layers at most have a stride."""
    draw = np.random.default_rng((2026, number))
    layers = []
    for _ in range(draw.integers(3, 7)):
        kernel = int(draw.choice([1, 3, 5], p=[0.3, 0.6, 0.1]))
        strided = sum(one.stride > 1 for one in layers) < 2 and draw.random() < 0.2
        dilation = 1 if strided or kernel == 1 else int(draw.choice([1, 2], p=[0.75, 0.25]))
        layers.append(Layer(kernel, 2 if strided else 1, dilation))
    return Drawn(tuple(layers), int(draw.choice([8, 12, 16])), classes)


def measured(number: int, task: Task, steps: int) -> dict[str, Any]:
    """One row of the table: what is known without training, and the accuracy after it."""
    model, shape = drawn(number, task.classes), task.images.shape[1:]
    last = f"conv_{len(model.layers) - 1}"
    noise = np.random.default_rng((number, 1)).normal(size=(1, *shape)).astype(np.float32)
    variables = he_normal(model, number, noise)
    field = jaxrf.prepare(model, None, noise, layer=last, estimator="sign_averaged")
    result = field.result(field(variables, noise, field.key()))
    return {
        "network": number,
        "layers": len(model.layers),
        "width": model.width,
        "kernels": " ".join(str(one.kernel) for one in model.layers),
        "strides": " ".join(str(one.stride) for one in model.layers),
        "dilations": " ".join(str(one.dilation) for one in model.layers),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables)),
        "multiply_adds": model.multiply_adds(shape),
        "theoretical": result.theoretical.size[0],
        "sigma": round(float(result.measure("sigma").mean()), 4),
        "size": round(float(result.measure("size_luo2016")[0]), 4),
        "accuracy": round(accuracy(model, variables, task, number, steps), 4),
    }


def he_normal(model: Drawn, seed: int, images: np.ndarray) -> Any:
    """Weights of He's variance and biases of zero, drawn by NumPy: JAX would compile a program for each network."""
    draw = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)

    def one(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 0.0
        return (scale * draw.normal(size=leaf.shape)).astype(leaf.dtype)

    return jax.tree.map(one, shapes)


def accuracy(model: Drawn, variables: Any, task: Task, seed: int, steps: int, batch: int = 32) -> float:
    """Share of right answers on the test images after `steps` of Adam, the rate falling to zero on a cosine."""
    adam = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

    @jax.jit
    def step(variables: Any, state: Any, images: Any, labels: Any) -> tuple:
        slope = jax.grad(lambda v: loss_of(model, v, images, labels))(variables)
        change, state = adam.update(slope, state)
        return optax.apply_updates(variables, change), state

    state, order = adam.init(variables), np.random.default_rng(seed)
    for _ in range(steps):
        chosen = order.integers(len(task.images), size=batch)
        variables, state = step(variables, state, task.images[chosen], task.labels[chosen])
    return share_right(model, variables, task, batch=1000)


def draw(run: Run, rows: list[dict[str, Any]]) -> None:
    """Accuracy against sigma, Luo's size and parameters."""
    made = figure(8.4, 2.9)
    for ax, name in zip(made.subplots(1, 3, sharey=True), ("sigma", "size", "parameters"), strict=True):
        ax.plot([row[name] for row in rows], [row["accuracy"] for row in rows], "o", color=COLORS[0], markersize=3)
        ax.set_xlabel(PROXIES[name], fontsize=9)
        if name == "parameters":
            ax.set_xscale("log")
        else:
            ax.set_ylabel("test accuracy" if name == "sigma" else "")
    run.save(made, "score")


def options(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--path", type=Path, help="folder of the files of Fashion-MNIST")
    parser.add_argument("--read", action="store_true", help="train nothing; read the table")
    parser.add_argument("--table", type=Path, help="the table; rows that it lacks are added")


def main(run: Run) -> None:
    """Measure and train what the table lacks; correlate; draw."""
    table: Path = run.options.table or (run.out / TABLE.name if run.options.small else TABLE)
    count, steps = run.sizes(4, 200, 1000), run.sizes(2, 150, 2000)
    if not run.options.read:
        task = fewer_tests(halved(photographs(run.options.path, run.options.small)), 1000)
        there = {row["network"] for row in read(table)}
        for number in range(count):
            if number not in there:
                add(table, measured(number, task, steps))
                jaxrf.clear_cache()  # no network comes twice
    rows = read(table)
    if len(rows) < 4:
        raise InputError(f"{table} has {len(rows)} networks; a correlation needs some more. Run without --read.")
    head = ("number of the untrained network", "rank correlation with accuracy", "beyond parameters and multiply-adds")
    run.table(f"{len(rows)} random networks", head, lines(correlations(rows, run.sizes(50, 2000, 2000))))
    draw(run, rows)


if __name__ == "__main__":
    start(main, __doc__, options)
