"""Outputs of the Flax modules beside those of the reference runtimes.

    python -m examples.trained.compare

For each network whose package is in the cache the largest difference of its outputs on a few inputs, over the largest of the
reference's; what was not fetched, or lacks its runtime, is named.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from examples.trained.loading import fetched, folder_of, trained
from examples.trained.nets import networks, packages
from examples.trained.tables import CACHE
from jaxrf.base.compiler import jit
from jaxrf.errors import InputError

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Comparison:
    """Outputs of a module and of the reference runtime.

    Attributes:
        shapes: of the outputs, for all inputs.
        error: the largest absolute difference.
        largest: the largest absolute value of the reference.
        variables: how many numbers the network has.
    """

    shapes: list[tuple[int, ...]]
    error: float
    largest: float
    variables: int

    @property
    def relative(self) -> float:
        """The error over the largest value."""
        return self.error / self.largest


def compared(name: str, count: int = 2, cache: Path = CACHE) -> Comparison:
    """How far a network's outputs are from those of its reference runtime, on `count` inputs.

    Raises:
        InputError: the package was not fetched, the runtime is not installed, or outputs differ in number or shape.
    """
    model, variables = trained(name, cache)
    inputs = networks[name].inputs(count)
    with jax.default_matmul_precision("highest"):
        found = [np.asarray(one) for one in jax.tree.leaves(jit(model.apply)(variables, inputs))]
    needed = networks[name].reference(folder_of(name, cache), inputs)
    shapes = [one.shape for one in found]
    if shapes != [one.shape for one in needed]:
        raise InputError(f"{name} gives outputs of shapes {shapes}; its runtime {[one.shape for one in needed]}.")
    error = max(float(np.abs(one - other).max()) for one, other in zip(found, needed))
    largest = max(float(np.abs(one).max()) for one in needed)
    return Comparison(shapes, error, largest, sum(np.size(one) for one in jax.tree.leaves(variables)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all that are there; the status is 1 if one differs by more than is allowed."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.trained.compare", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", help="networks; default: all that were fetched")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"folder of the packages; default: {CACHE}")
    parser.add_argument("--inputs", type=int, default=2, help="how many inputs; default: 2")
    options = parser.parse_args(arguments)
    chosen = options.names or fetched(options.cache)
    print(
        "| network | package | licence | numbers | largest output | error | error / largest |\n|---|---|---|---:|---:|---:|---:|"
    )
    worst = 0.0
    for name in chosen:
        package = packages[networks[name].package]
        try:
            one = compared(name, options.inputs, options.cache)
        except InputError as error:
            print(f"| {name} | not compared: {error} |", flush=True)
            continue
        worst = max(worst, one.relative)
        print(
            f"| {name} | {package.name} {package.version} | {package.licence} | {one.variables:,} | {one.largest:.3g} "
            f"| {one.error:.1e} | {one.relative:.1e} |", flush=True,
        )  # fmt: skip
    left = [name for name in networks if name not in chosen]
    if left:
        print(f"\nNot compared: {', '.join(left)}.")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (InputError, LookupError) as error:
        raise SystemExit(f"compare: {error}") from None
