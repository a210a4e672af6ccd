"""Ten rows of the atlas once more, by plain `jax.vjp`: `python docs/atlas/by_vjp.py`. Takes some minutes.

`python docs/atlas/by_vjp.py NETWORK LAYER --networks 768` adds a line with more networks.

Shares with the run only the zoo and the noise image: networks are drawn and probes taken anew, whole gradients computed, and
sigma and its jackknife error written out below. Writes `by_vjp.csv` beside itself, which the first page shows.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxrf
from jaxrf import zoo
from jaxrf.atlases.row import AtlasRow
from jaxrf.inputs.images import Noise
from jaxrf.zoo.listing import listing

FILE = Path(__file__).parent / "by_vjp.csv"
HEADER = ("network", "layer", "input", "sigma", "error", "networks", "vjp_sigma", "vjp_error", "deviation")


def chosen(rows: Sequence[AtlasRow], count: int, most: float = math.inf) -> list[AtlasRow]:
    """So many of the rows on noise that are done, evenly spread over the table, of networks with at most so many multiply-adds."""
    cost = {entry.name: entry.multiply_adds for entry in listing()}
    done = [row for row in rows if row.status == "done" and row.images == "noise" and cost.get(row.network, 0) <= most]
    return [done[len(done) * i // count] for i in range(min(count, len(done)))]


def maps(row: AtlasRow, networks: int) -> np.ndarray:
    """Squared gradients of the row's unit, summed over the input's channels: (network, *spatial)."""
    model, shape = zoo.models[row.network](), tuple(map(int, row.input.split("x")))
    image = jnp.asarray(Noise(1, 0).images(0, 1, shape, np.float32))
    unit = tuple(map(int, row.unit))

    @jax.jit
    def one(key: jax.Array) -> jax.Array:
        weights, probe = jax.random.split(key)
        variables = model.init(weights, image)

        def features(x: jax.Array) -> jax.Array:
            _, kept = model.apply(
                variables, x, mutable=["intermediates"],
                capture_intermediates=lambda module, name: "/".join(module.path) == row.layer and name == "__call__",
            )  # fmt: skip
            return jax.tree.leaves(kept)[0][0][unit]

        value, pull = jax.vjp(features, image)
        (gradient,) = pull(jax.random.rademacher(probe, value.shape, value.dtype))
        return (gradient[0] ** 2).sum(-1)

    return np.stack([np.asarray(one(jax.random.key(10_000 + n)), np.float64) for n in range(networks)])


def sigma(total: np.ndarray) -> float:
    """Standard deviation of a map about its own mean, the mean over the axes."""
    share, found = total / total.sum(), []
    for axis, side in enumerate(total.shape):
        along = share.sum(tuple(other for other in range(total.ndim) if other != axis))
        place = np.arange(side)
        found.append(np.sqrt((along * place**2).sum() - (along * place).sum() ** 2))
    return float(np.mean(found))


def compared(row: AtlasRow, networks: int) -> tuple[float, float, float]:
    """Sigma by `jax.vjp`, its standard error, and how many standard errors of both the row's one is away."""
    assert row.sigma is not None and row.sigma_error is not None  # as in every row that is done
    each = maps(row, networks)
    value = sigma(each.sum(0))
    left_out = np.array([sigma(each.sum(0) - one) for one in each])
    error = float(np.sqrt((networks - 1) / networks * ((left_out - left_out.mean()) ** 2).sum()))
    return value, error, (value - row.sigma) / float(np.hypot(error, row.sigma * row.sigma_error))


def line(row: AtlasRow, networks: int) -> list[str]:
    """A line of the file: the row's sigma with its error, and the same by `jax.vjp`."""
    value, error, away = compared(row, networks)
    stored = float(row.sigma or 0)  # as in every row that is done
    numbers = (f"{stored:.5g}", f"{stored * float(row.sigma_error or 0):.2g}", f"{networks}")
    return [row.network, row.layer, row.input, *numbers, f"{value:.5g}", f"{error:.2g}", f"{away:.2f}"]


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", nargs="*", help="network and layer of one row, whose line is added to the file")
    parser.add_argument("--most", type=float, default=2e9, help="multiply-adds of a network at most")
    parser.add_argument("--rows", type=int, default=10, help="how many rows")
    parser.add_argument("--networks", type=int, default=128, help="how many random networks for each")
    given, atlas = parser.parse_args(), jaxrf.atlas()
    rows = [atlas.find(*given.row)] if given.row else chosen(atlas.rows, given.rows, given.most)
    with FILE.open("a" if given.row else "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not given.row:
            writer.writerow(HEADER)
        for row in rows:
            writer.writerow(line(row, given.networks))


if __name__ == "__main__":
    main()
