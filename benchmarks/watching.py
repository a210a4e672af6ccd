"""What does it cost a training loop to watch two layers every hundred steps?

A ResNet-18 on images of 32², stochastic gradient descent. The cost of a watched map, with its record, is compared with
that of `every` steps of the loop, by CPU time of this process, in alternation. Weights of both loops are compared bit by bit,
and compilations after the first map are counted by `jax.monitoring`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import Report, parser

import jaxrf
from jaxrf import zoo

RATE = 0.01


def training(batch: int, width: int) -> tuple[Any, Any, jax.Array, Callable[[Any], Any]]:
    """A model, its weights, images, and a step of its training on them."""
    model = zoo.resnet18(width=width, num_classes=10)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(batch, 32, 32, 3)), jnp.float32)
    labels = jnp.asarray(rng.integers(10, size=batch))

    def loss(params: Any, rest: Any) -> jax.Array:
        scores = jax.nn.log_softmax(model.apply({**rest, "params": params}, images).reshape(batch, -1))
        return -jnp.take_along_axis(scores, labels[:, None], axis=1).mean()

    @jax.jit
    def step(variables: Any) -> Any:
        rest = {name: one for name, one in variables.items() if name != "params"}
        slope = jax.grad(loss)(variables["params"], rest)
        return {**rest, "params": jax.tree.map(lambda w, g: w - RATE * g, variables["params"], slope)}

    return model, model.init(jax.random.key(0), images[:1]), images, step


def main() -> None:
    """Train beside itself, with and without; compare; write."""
    options = parser(__doc__).parse_args()
    small = options.small
    batch, held, every, rounds = (4, 2, 4, 1) if small else (64, 8, 100, options.repeats)
    model, start, images, step = training(batch, 8 if small else 64)
    layers = ["layer1", "layer2"]
    compiled: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        watch = jaxrf.watch(model, start, images[:held], layer=layers, every=every, out=Path(folder) / "fields")
        plain = watched = jax.block_until_ready(step(start))
        watch(0, start)
        watch.flush()
        jax.monitoring.register_event_duration_secs_listener(
            lambda name, *_, **__: compiled.append(name) if "compil" in name else None
        )
        mapping, stepping, some = 0.0, 0.0, min(every, 4)
        for number in range(1, rounds + 1):
            for _ in range(some):
                spent, plain = cpu(lambda now=plain: step(now))
                stepping += spent
                watched = step(watched)
            mapping += cpu(lambda number=number, now=watched: (watch(number * every, now), watch.flush()))[0]
        recorded = len(watch.history().steps)
    same = all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(watched), strict=True))
    one, each = mapping / rounds, stepping / rounds / some
    columns = {"step, CPU ms": each * 1e3, "map of two layers and record, CPU ms": one * 1e3,
               f"overhead at every {every}, %": 100 * one / (every * each), "aim, %": 2.0}  # fmt: skip
    if compiled or not same:
        raise SystemExit(f"Compiled after the first map: {compiled}; the same weights: {same}.")
    details = {"rounds": rounds, "recorded": recorded, "compilations": len(compiled), "same bits": same}
    what = f"ResNet-18, batch {batch} of 32², {held} held images, {' and '.join(layers)}"
    Report("watching", options).add("Watching a training", what, columns, details)


def cpu(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call whose work is done when it is measured, and what it gave."""
    began = time.process_time()
    found = jax.block_until_ready(call())
    return time.process_time() - began, found


if __name__ == "__main__":
    main()
