"""How does the cost of maps grow: with units, image size, depth, images, seeds and devices?

Each table goes through one of them and holds the rest; times are of whole compiled runs, medians of interleaved rounds.
Devices are virtual ones of this CPU, each number of them in a process of its own: they share the cores, so that the
table shows what spreading costs, not what it gains.

    python benchmarks/scaling.py --tables units,images
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from _common import Report, chosen_tables, interleaved, parser, seconds, with_tables

from jaxrf import grid, zoo
from jaxrf.fields.opening import open_call
from jaxrf.inputs.images import as_images
from jaxrf.planning.options import Options

CHILD = "--child-of-devices"


@dataclass(frozen=True, eq=False)
class Case:
    """One map: a network, how many images of which side, a request, how many seeds."""

    model: Any
    side: int
    request: Options
    images: int = 1
    seeds: int | None = None


Table = dict[str, Case]


def units(small: bool) -> Table:
    """Units of `layer2` of a ResNet-50 (all of them in the last row)."""
    model, side = _resnet(small, 2)
    last = (side // 8) ** 2
    counts = [n for n in (1, 4, 16, 64, 196) if n < last] + [last]
    places = {n: grid(*_square(n)) if n < last else "all" for n in counts}
    return {f"{n} units": Case(model, side, Options(units=places[n], layer="layer2")) for n in counts}


def image_size(small: bool) -> Table:
    """Sixteen units of `layer2` of a ResNet-50 about the middle, on larger and larger images."""
    model, side = _resnet(small, 2)
    found = {}
    for times in (1, 2) if small else (1, 2, 4):
        middle = times * side // 16
        places = np.stack(np.meshgrid(*[np.arange(middle - 2, middle + 2)] * 2), -1).reshape(-1, 2)
        found[f"{times * side}²"] = Case(model, times * side, Options(units=places, layer="layer2"))
    return found


def depth(small: bool) -> Table:
    """Sixty-four units of stacks of 3x3 convolutions: the cone of a unit grows with the cube of the depth."""
    depths, side = ((2, 4), 16) if small else ((5, 10, 20, 40), 128)
    request = Options(units=grid(2, 2) if small else grid(8, 8))
    return {f"{n} layers": Case(zoo.conv_stack(depth=n, width=4 if small else 32), side, request) for n in depths}


def images(small: bool) -> Table:
    """The center unit of a ResNet-50 on several images."""
    model, side = _resnet(small, 1 if small else 4)
    return {f"{n} images": Case(model, side, Options(), images=n) for n in ((1, 2) if small else (1, 2, 4, 8, 16))}


def seeds(small: bool) -> Table:
    """The center unit of a stack of 20 layers with 32 channels, four images, random weights."""
    model, side = (zoo.conv_stack(depth=3, width=4), 12) if small else (zoo.conv_stack(depth=20), 64)
    counts = (1, 2) if small else (1, 4, 16, 64)
    return {f"{n} seeds": Case(model, side, Options(), images=2 if small else 4, seeds=n) for n in counts}


def _resnet(small: bool, stages: int) -> tuple[Any, int]:
    return zoo.resnet50(stages=stages, width=4 if small else 64), 48 if small else 224


def _square(count: int) -> tuple[int, int]:
    side = round(count**0.5)
    return side, side


TABLES: dict[str, Callable[[bool], Table]] = {
    "units": units, "image size": image_size, "depth": depth, "images": images, "seeds": seeds,
}  # fmt: skip


class Run:
    """A prepared case; calling it makes its maps."""

    def __init__(self, case: Case):
        pixels = np.random.default_rng(0).normal(size=(case.images, case.side, case.side, 3)).astype(np.float32)
        variables = jax.jit(case.model.init)(jax.random.key(0), pixels[:1]) if case.seeds is None else None
        options = replace(case.request, seeds=case.seeds)
        self.opened = open_call(case.model, variables, as_images(pixels, None), options)
        (self.run,) = self.opened.runs.values()
        self.count = len(self.run.prepared.units) * case.images * len(self.opened.seeds)
        self.first = seconds(self)

    def __call__(self) -> None:
        self.run.result(self.opened.images, self.opened.seeds)

    def row(self, times: list[float]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Columns and details."""
        median = statistics.median(times)
        columns = {
            "seconds": median,
            "ms per map": 1e3 * median / self.count,
            "cone GFLOP per map": self.run.prepared.plan.cost.flops / 1e9,
            "first run s": self.first,
        }
        return columns, {"times": times, "plan": str(self.run.prepared.plan).splitlines()}


def measure(report: Report, name: str, small: bool, repeats: int) -> None:
    """All rows of one table, in interleaved rounds."""
    runs = {row: Run(case) for row, case in TABLES[name](small).items()}
    for row, times in interleaved(runs, repeats).items():
        report.add(name, row, *runs[row].row(times))


def device_case(small: bool) -> Case:
    """All units of a stack, which are spread over the devices of this process."""
    devices = jax.devices()
    model = zoo.conv_stack(depth=3 if small else 10, width=4 if small else 32)
    return Case(model, 16 if small else 64, Options(units="all", devices=devices if len(devices) > 1 else None))


def devices(report: Report, small: bool, repeats: int) -> None:
    """One process per number of virtual devices; they run one after the other, so rounds are not interleaved."""
    for count in (1, 2) if small else (1, 2, 4, 8):
        command = [sys.executable, __file__, CHILD, "--repeats", str(repeats), *(["--small"] if small else [])]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(count)}
        output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        report.add("devices", f"{count} devices", *json.loads(output.splitlines()[-1]))


def main() -> None:
    """Run the chosen tables."""
    names = [*TABLES, "devices"]
    arguments = with_tables(parser(__doc__), names)
    arguments.add_argument(CHILD, dest="child", action="store_true", help="print one row of the table of devices")
    options = arguments.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    if options.child:
        run = Run(device_case(options.small))
        print(json.dumps(run.row(interleaved({"": run}, options.repeats)[""])))
        return
    report = Report("scaling", options)
    for name in chosen_tables(arguments, options, names):
        if name == "devices":
            devices(report, options.small, options.repeats)
        else:
            measure(report, name, options.small, options.repeats)


if __name__ == "__main__":
    main()
