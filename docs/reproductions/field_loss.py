"""Fields as a loss: sigma held at a target while a network learns, chosen for every layer before, or damped on one axis.

Six layers of 3x3 learn to tell clothes apart. A measure of the field of the middle unit, on a few images of each batch,
is a part of the loss; it is measured again afterwards on test images. Beside it stand the initialization with lower
center weights of `jaxrf.init`, and the filter damping of Koutini et al., which multiplies kernels by fixed factors.

    python docs/reproductions/field_loss.py --path usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _common import COLORS, Run, figure, mean_interval, plus_minus, start
from _data import Task, fewer_tests, halved, photographs
from _training import Net, loss_of, share_right

import jaxrf
from jaxrf import zoo

MAPPED = 8
"""How many images of a batch are mapped."""


@dataclass(frozen=True)
class Way:
    """What is added to the loss, by axis: `weight * (sigma / target - 1)^2`; and what rows of kernels are multiplied by."""

    target: tuple[float, float] = (1.0, 1.0)
    weight: tuple[float, float] = (0.0, 0.0)
    edge: float = 1.0


@dataclass(frozen=True, eq=False)
class Learned:
    """What came of one training.

    Attributes:
        sigma: (axis,) on test images.
        path: (step,) sigma of each step's images, the mean over axes.
        accuracy: share of right answers on the test images.
        loss: cross-entropy over the last tenth of the steps.
    """

    sigma: np.ndarray
    path: np.ndarray
    accuracy: float
    loss: float


class Learner:
    """A network with its field; one program for all ways."""

    def __init__(self, task: Task, depth: int, width: int, rate: float = 3e-3):
        self.model = Net(depth, width, task.classes)
        self.field = jaxrf.prepare(self.model, None, task.images[:MAPPED], layer=f"conv_{depth - 1}")
        self.rate = rate

    def widths(self, variables: Any, images: Any, key: Any) -> jax.Array:
        """Sigma (axis,) of the mean of the images' maps, each of which sums to one."""
        maps = self.field(variables, images, key).values
        mean = (maps / maps.sum((-2, -1), keepdims=True)).mean((0, 1))
        return jaxrf.measures.sigma(mean, center=self.field.center[0], origin=self.field.origin[0])

    def loss(self, variables: Any, way: Any, images: Any, labels: Any, key: Any) -> tuple[jax.Array, tuple]:
        """Cross-entropy and what the way adds; beside it the cross-entropy and sigma."""
        target, weight, edge = way
        used = damped(variables, edge)
        entropy, widths = loss_of(self.model, used, images, labels), self.widths(used, images[:MAPPED], key)
        return entropy + (weight * (widths / target - 1) ** 2).sum(), (entropy, widths)

    @partial(jax.jit, static_argnums=(0, 1))
    def step(self, steps: int, variables: Any, state: Any, way: Any, images: Any, labels: Any, key: Any) -> tuple:
        """One step of Adam."""
        (_, told), slope = jax.value_and_grad(self.loss, has_aux=True)(variables, way, images, labels, key)
        change, state = self._adam(steps).update(slope, state)
        return optax.apply_updates(variables, change), state, told

    @partial(jax.jit, static_argnums=(0, 1))
    def plain_step(self, steps: int, variables: Any, state: Any, images: Any, labels: Any) -> tuple:
        """The same without a field."""
        slope = jax.grad(lambda v: loss_of(self.model, v, images, labels))(variables)
        change, state = self._adam(steps).update(slope, state)
        return optax.apply_updates(variables, change), state

    def learn(self, task: Task, way: Way, seed: int, steps: int, batch: int = 32) -> Learned:
        """Train from the seed's weights on the seed's order of images, and measure."""
        variables = self.model.init(jax.random.key(seed), task.images[:1])
        state, order, told = self._adam(steps).init(variables), np.random.default_rng(seed), []
        given = jnp.array(way.target), jnp.array(way.weight), jnp.array(way.edge)
        for number in range(steps):
            chosen = order.integers(len(task.images), size=batch)
            images, labels = task.images[chosen], task.labels[chosen]
            key = jax.random.fold_in(jax.random.key(seed), number)
            variables, state, one = self.step(steps, variables, state, given, images, labels, key)
            told.append(one)
        entropy, path = np.array([a for a, _ in told]), np.array([b for _, b in told])
        used = damped(variables, way.edge)
        sigma = self.widths(used, task.test_images[:64], jax.random.key(1))
        last = slice(-max(steps // 10, 1), None)
        return Learned(np.asarray(sigma), path.mean(1), share_right(self.model, used, task), entropy[last].mean())

    def cost(self, task: Task, repeats: int, batch: int = 32) -> tuple[float, float]:
        """CPU milliseconds of a step without and with the field, in alternation; medians."""
        variables = self.model.init(jax.random.key(0), task.images[:1])
        state = self._adam(repeats).init(variables)
        images, labels = task.images[:batch], task.labels[:batch]
        way = jnp.ones(2), jnp.ones(2), jnp.array(1.0)
        calls = (
            lambda: self.plain_step(repeats, variables, state, images, labels),
            lambda: self.step(repeats, variables, state, way, images, labels, jax.random.key(0)),
        )
        times: list[list[float]] = [[], []]
        for call in calls:
            jax.block_until_ready(call())
        for _ in range(repeats):
            for call, found in zip(calls, times, strict=True):
                began = time.process_time()
                jax.block_until_ready(call())
                found.append(1e3 * (time.process_time() - began))
        return float(np.median(times[0])), float(np.median(times[1]))

    def _adam(self, steps: int) -> optax.GradientTransformation:
        return optax.adam(optax.cosine_decay_schedule(self.rate, steps))


def damped(variables: Any, edge: Any) -> Any:
    """Kernels of 3x3 whose first and last rows are multiplied by `edge`, as filter damping does along frequency."""
    rows = jnp.stack([edge, jnp.ones_like(edge), edge])[:, None, None, None]
    return jax.tree.map(lambda leaf: leaf * rows if leaf.shape[:2] == (3, 3) else leaf, variables)


def held(run: Run, learner: Learner, task: Task) -> None:
    """Sigma at a target in training: what it is afterwards, and what it does to the accuracy."""
    targets = run.sizes((1.5,), (1.2, 1.6, 2.4), (1.0, 1.2, 1.6, 2.0, 2.4, 2.8))
    ways = {"none": Way(), **{f"{target}": Way((target, target), (2.0, 2.0)) for target in targets}}
    seeds, steps = run.sizes(2, 3, 8), run.sizes(2, 300, 3000)
    found = {name: [learner.learn(task, way, seed, steps) for seed in range(seeds)] for name, way in ways.items()}
    made = figure(5.4, 3.0)
    ax = made.subplots()
    for (name, each), color in zip(found.items(), ("gray", *COLORS), strict=False):
        ax.plot(np.mean([one.path for one in each], 0), color=color, linewidth=0.8, label=f"target {name}")
        if name != "none":
            ax.axhline(float(name), color=color, linestyle=":", linewidth=0.8)
    ax.set(xlabel="step", ylabel="sigma of the last layer")
    made.legend(loc="outside upper center", ncols=4, fontsize=7, frameon=False)
    run.save(made, "field_loss")
    run.table(
        f"Sigma held at a target, {seeds} networks each", HEAD, [told(name, each) for name, each in found.items()]
    )


HEAD = ("target", "sigma y", "sigma x", "test accuracy", "training loss")


def told(name: str, each: list[Learned]) -> tuple[str, ...]:
    """A row: means over networks with their intervals."""
    columns = [[one.sigma[0] for one in each], [one.sigma[1] for one in each],
               [one.accuracy for one in each], [one.loss for one in each]]  # fmt: skip
    return name, *(plus_minus(*mean_interval(values), 3 if k > 1 else 2) for k, values in enumerate(columns))


def damping(run: Run, learner: Learner, task: Task) -> None:
    """One axis is damped: by fixed factors on rows of kernels, and by the loss, to the same sigma."""
    seeds, steps = run.sizes(2, 3, 8), run.sizes(2, 300, 3000)

    def all_seeds(way: Way) -> list[Learned]:
        return [learner.learn(task, way, seed, steps) for seed in range(seeds)]

    found = {"plain": all_seeds(Way()), "filter damping to 0.01": all_seeds(Way(edge=0.01)),
             "filter damping to 0.5": all_seeds(Way(edge=0.5))}  # fmt: skip
    goal = float(np.mean([one.sigma[0] for one in found["filter damping to 0.5"]]))
    found[f"loss, sigma y at {goal:.2f}"] = all_seeds(Way((goal, 1.0), (2.0, 0.0)))
    title = f"Damped along y, {len(task.images)} images to train on, {seeds} networks each"
    run.table(title, ("way", *HEAD[1:]), [told(name, each) for name, each in found.items()])


class Chosen:
    """Stacks of 3x3 whose layers have kernels with a profile each, of one number; and sigma of all of them.

    Position k of a kernel is scaled by `c + (1 - c) r(k)`, r being its distance from the middle over that of a corner,
    and all by one number that keeps the power: `jaxrf.init.center_lowered` with a `c` of each layer's own, also above 1.
    """

    def __init__(self, depth: int, width: int, skip: bool = False):
        side = 2 * depth + 1
        self.model, self.depth = zoo.conv_stack(depth=depth, width=width, skip=skip), depth
        self.images = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype(np.float32)
        names = [f"conv_{i}" for i in range(depth)]
        init = {"*/kernel": "he_normal"}
        self.field = jaxrf.prepare(
            self.model, None, self.images, layer=names, init=init, estimator="sign_averaged", crop=False
        )

    def shaped(self, variables: Any, centers: jax.Array) -> Any:
        """Weights with the profiles of these centers."""
        places = jnp.indices((3, 3)) - 1
        distance = jnp.sqrt((places**2).sum(0) / 2)[..., None, None]
        params = dict(variables["params"])
        for i in range(self.depth):
            profile = centers[i] + (1 - centers[i]) * distance
            profile = profile / jnp.sqrt((profile**2).mean())
            own = params[f"conv_{i}"]
            params[f"conv_{i}"] = {**own, "kernel": own["kernel"] * profile}
        return {**variables, "params": params}

    def maps(self, number: int, centers: Any) -> list[jax.Array]:
        """Maps (layer,) of the middle units of one network, each of which sums to one."""
        return self._maps(self.field.init(jax.random.key(number)), jnp.asarray(centers), jax.random.key(number))

    @partial(jax.jit, static_argnums=0)
    def _maps(self, variables: Any, centers: jax.Array, key: jax.Array) -> list[jax.Array]:
        found = self.field(self.shaped(variables, centers), self.images, key).values()
        return [one.values[0, 0] / one.values[0, 0].sum() for one in found]

    def sigmas(self, maps: list[Any]) -> Any:
        """Sigma (layer,) of a map of each layer, the mean over axes."""
        places = [(self.field.center[name][0], self.field.origin[name][0]) for name in self.field.layers]
        each = [jaxrf.measures.sigma(one, center=c, origin=o).mean() for one, (c, o) in zip(maps, places, strict=True)]
        return jnp.stack(each)

    def measured(self, centers: Any, networks: range) -> np.ndarray:
        """Sigma (layer,) of the mean over networks."""
        each = [[np.asarray(one, float) for one in self.maps(number, centers)] for number in networks]
        return np.asarray(self.sigmas([np.mean(maps, axis=0) for maps in zip(*each, strict=True)]))

    @partial(jax.jit, static_argnums=0)
    def _slope(self, logs: jax.Array, variables: Any, key: jax.Array, wanted: jax.Array) -> jax.Array:
        def loss(logs: jax.Array) -> jax.Array:
            return ((self.sigmas(self._maps(variables, jnp.exp(logs), key)) / wanted - 1) ** 2).sum()

        return jax.grad(loss)(logs)

    def find(self, wanted: np.ndarray, steps: int) -> np.ndarray:
        """Centers (layer,) with which sigma of every layer is the one that is wanted: Adam, a new network in each step."""
        adam, logs = optax.adam(optax.cosine_decay_schedule(0.1, steps)), jnp.zeros(self.depth)
        state = adam.init(logs)
        for number in range(steps):
            key = jax.random.key(number)
            slope = self._slope(logs, self.field.init(key), key, jnp.asarray(wanted))
            change, state = adam.update(slope, state)
            logs = jnp.asarray(optax.apply_updates(logs, change))
        return np.exp(np.asarray(logs))


def chosen(run: Run) -> None:
    """Sigma of every layer chosen before training, and checked on networks that were not used for it."""
    depth, width, steps = run.sizes((2, 4, 2), (8, 16, 150), (8, 32, 400))
    fresh = range(10_000, 10_000 + run.sizes(2, 32, 128))
    kinds = {"plain stack": False, "skips around layers": True}
    for name, skip in list(kinds.items())[run.sizes(1, 0, 0) :]:
        stack = Chosen(depth, width, skip)
        he, lowered = (stack.measured(np.full(depth, c), fresh) for c in (1.0, 0.25))
        wants = {"as center lowered": lowered, "growing evenly": np.linspace(he[0] * 0.7, he[-1] * 0.9, depth)}
        rows = [("He", "", *(f"{v:.2f}" for v in he)), ("center lowered", "", *(f"{v:.2f}" for v in lowered))]
        for want, goal in wants.items():
            centers = stack.find(goal, steps)
            got = stack.measured(centers, fresh)
            rows += [
                (f"wanted: {want}", "", *(f"{v:.2f}" for v in goal)),
                ("found", f"{100 * np.abs(got / goal - 1).max():.1f} %", *(f"{v:.2f}" for v in got)),
                ("center weights", "", *(f"{v:.2f}" for v in centers)),
            ]
        run.table(f"Sigma by layer, {name}", ("", "farthest off", *range(1, depth + 1)), rows)


def options(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--path", type=Path, help="folder of the files of Fashion-MNIST")


def main(run: Run) -> None:
    """All three uses, and what a step costs."""
    task = fewer_tests(halved(photographs(run.options.path, run.options.small)), 2000)
    depth, width = run.sizes((2, 4), (6, 16), (8, 32))
    learner = Learner(task, depth, width)
    held(run, learner, task)
    without, beside = learner.cost(task, run.sizes(2, 40, 100))
    row = (f"{without:.1f}", f"{beside:.1f}", f"{beside / without:.2f}")
    run.table(f"A step of 32 images, {MAPPED} of them mapped", ("without, CPU ms", "with, CPU ms", "ratio"), [row])
    some = Task(task.images[:1000], task.labels[:1000], task.test_images, task.test_labels, task.classes)
    damping(run, learner, some)
    chosen(run)


if __name__ == "__main__":
    start(main, __doc__, options)
