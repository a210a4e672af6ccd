"""What does a training loop cost that maps two layers every step?

A small CNN, stochastic gradient descent, images like digits. The step of the loop, one jitted function, also gives the
map of the center unit of two layers for all images of its batch: by a prepared field, and by a pull-back written by hand
for each layer. Maps and weights of all loops are compared before anything is timed.

Loops are called in turn. Their ratio is of CPU time, which other programs on the machine change less; wall times stand beside it.

The second table has the time of a single warm call of a field outside of any jit, and of its compiled program alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import Report, interleaved, parser
from flax import linen as nn

import jaxrf

LAYERS = ("c2", "c3")
CHANNEL = 1
RATE = 0.1
Maps = dict[str, jax.Array]


class Digits(nn.Module):
    """Four convolutions and a dense layer; with `until`, the output of a layer instead of the logits."""

    width: int = 16

    @nn.compact
    def __call__(self, x, until: str | None = None):
        for name, features, stride in (("c0", 1, 1), ("c1", 2, 2), ("c2", 2, 1), ("c3", 4, 2)):
            x = nn.Conv(features * self.width, (3, 3), strides=stride, name=name)(x)
            if name == until:
                return x
            x = nn.relu(x)
        return nn.Dense(10)(x.mean((1, 2)))


def data(steps: int, batch: int, extent: int) -> tuple[jax.Array, jax.Array]:
    """Images (step, batch, y, x, 1) of one blurred stroke each, and the tenth of the angle it lies in."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, np.pi, (steps, batch, 1, 1))
    y, x = np.meshgrid(*2 * (np.linspace(-1, 1, extent),), indexing="ij")
    across = x * np.sin(angle) - y * np.cos(angle) - rng.normal(0, 0.1, angle.shape)
    images = np.exp(-np.square(across / 0.2)) + rng.normal(0, 0.1, across.shape)
    return jnp.asarray(images[..., None], jnp.float32), jnp.asarray((angle * 10 / np.pi).astype(np.int32)[..., 0, 0])


def loss(model: nn.Module, variables: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy."""
    scores = nn.log_softmax(model.apply(variables, images))
    return -jnp.take_along_axis(scores, labels[:, None], axis=1).mean()


def written_out(model: nn.Module, layer: str, unit: tuple[int, ...], variables: Any, images: jax.Array) -> jax.Array:
    """(image, y, x): squared gradients of one unit, one pull-back for all images."""
    value, pull = jax.vjp(lambda x: model.apply(variables, x, until=layer), images)
    (gradient,) = pull(jnp.zeros_like(value).at[(slice(None), *unit, CHANNEL)].set(1))
    return jnp.square(gradient).sum(-1)


Loop = Callable[[], tuple[Any, list[Maps]]]


def loop(model: nn.Module, variables: Any, batches: Any, mapped: Callable[[Any, jax.Array], Maps]) -> Loop:
    """The training loop: its weights in the end, and the maps of all steps, of the weights before each."""

    @jax.jit
    def step(weights: Any, images: jax.Array, labels: jax.Array) -> tuple[Any, Maps]:
        gradient = jax.grad(partial(loss, model))(weights, images, labels)
        return jax.tree.map(lambda w, g: w - RATE * g, weights, gradient), mapped(weights, images)

    def run() -> tuple[Any, list[Maps]]:
        weights, found = variables, []
        for images, labels in batches:
            weights, maps = step(weights, images, labels)
            found.append(maps)
        return jax.block_until_ready((weights, found))

    return run


def whole(array: np.ndarray, origin: np.ndarray, extent: int) -> np.ndarray:
    """Maps (image, y, x) laid into the image."""
    lo, hi = np.maximum(origin, 0), np.minimum(origin + array.shape[1:], extent)
    placed = np.zeros((len(array), extent, extent), array.dtype)
    (y0, x0), (y1, x1), (dy, dx) = lo, hi, origin
    placed[:, y0:y1, x0:x1] = array[:, y0 - dy : y1 - dy, x0 - dx : x1 - dx]
    return placed


def compare(field: jaxrf.fields.field.Field, loops: dict[str, Loop], extent: int) -> float:
    """The largest difference between maps of all steps, of the peak; weights must be the same to rounding."""
    ends, found = zip(*(run() for run in loops.values()))
    for other in ends[1:]:
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), other, ends[0])
    worst = 0.0
    for mine, theirs in zip(found[list(loops).index("jaxrf")], found[list(loops).index("VJP")], strict=True):
        for name, right in theirs.items():
            difference = np.abs(whole(np.asarray(mine[name])[:, 0], field.origin[name][0], extent) - right)
            worst = max(worst, float(difference.max() / np.asarray(right).max()))
    return worst


def worked(work: dict[str, float], name: str, run: Callable[[], Any]) -> None:
    """One call, its CPU time added to what the others of this name took."""
    start = time.process_time()
    run()
    work[name] += time.process_time() - start


def train(small: bool, repeats: int, report: Report) -> None:
    """Both tables."""
    steps, batch, extent, width = (3, 4, 12, 2) if small else (20, 64, 28, 16)
    model, (images, labels) = Digits(width), data(steps, batch, extent)
    variables = model.init(jax.random.key(0), images[0])
    batches = list(zip(images, labels))
    field = jaxrf.prepare(model, variables, images[0], layer=list(LAYERS), channels=CHANNEL)
    units = {name: tuple(field.units[name][0].tolist()) for name in LAYERS}
    mapped = {
        "training": lambda weights, images: {},
        "jaxrf": lambda weights, images: {n: maps.array() for n, maps in field(weights, images).items()},
        "VJP": lambda weights, images: {n: written_out(model, n, units[n], weights, images) for n in LAYERS},
    }
    loops = {name: loop(model, variables, batches, maps) for name, maps in mapped.items()}
    error = compare(field, loops, extent)
    if error > 1e-3:
        raise SystemExit(f"The maps differ by {error:.1e} of the largest; no times are given.")
    work = dict.fromkeys(loops, 0.0)
    times = interleaved({name: partial(worked, work, name, run) for name, run in loops.items()}, repeats)
    wall = {name: statistics.median(spent) / steps * 1e3 for name, spent in times.items()}
    columns: dict[str, Any] = {f"{name}, CPU ms": work[name] / repeats / steps * 1e3 for name in loops}
    columns |= {f"{name}, ms": spent for name, spent in wall.items()}
    columns |= {"jaxrf / VJP": work["jaxrf"] / work["VJP"], "aim": 1.5}
    what = f"{batch} images {extent}², maps of {' and '.join(LAYERS)}"
    report.add("A step of training", what, columns, {"seconds": times, "error": error, "steps": steps})
    call(field, variables, images[0, :1], repeats, report)


def call(field: jaxrf.fields.field.Field, variables: Any, images: jax.Array, repeats: int, report: Report) -> None:
    """What a warm call adds to its compiled program."""
    key, number, leaves, calls = jax.random.key(0), jnp.int32(0), jax.tree.leaves(variables), 200

    def often(function: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(calls):
                jax.block_until_ready(function())

        run()
        return run

    candidates = {
        "call": often(lambda: field(variables, images, key)),
        "program": often(lambda: field._compiled(leaves, images, key, number)),
    }
    work = dict.fromkeys(candidates, 0.0)
    times = interleaved({name: partial(worked, work, name, run) for name, run in candidates.items()}, repeats)
    each = {name: spent / repeats / calls * 1e3 for name, spent in work.items()}
    columns: dict[str, Any] = {f"{name}, CPU ms": spent for name, spent in each.items()}
    columns |= {"overhead, CPU ms": each["call"] - each["program"], "aim, ms": 1.0}
    report.add("A warm call", f"{' and '.join(field.layers)}, one image", columns, {"seconds": times})


def main() -> None:
    """Compare, time, write."""
    options = parser(__doc__).parse_args()
    train(options.small, options.repeats, Report("training", options))


if __name__ == "__main__":
    main()
