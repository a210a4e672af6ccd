"""Is `memory=` kept: how much more memory does a process take at most during a call of `jaxrf.erf` than before it?

Each case runs in a process of its own. What is there before the call is the model, its variables and the images; JAX is
loaded, and a map of a tiny network has been made. The first call traces, plans and compiles too; the second one runs alone.

    python benchmarks/memory.py --cases stack,resnet
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _common import Report, parser

import jaxrf
from jaxrf import zoo

STATUS = Path("/proc/self/status")
MB = 2**20


@dataclass(frozen=True)
class Case:
    """A call of `jaxrf.erf`.

    Attributes:
        model: makes it.
        shape: of one image.
        images: how many.
        memory: the limit in MB.
        options: of the call.
        drawn: whether weights are drawn by the call, instead of being given.
    """

    model: Callable[[], Any]
    shape: tuple[int, ...]
    images: int
    memory: int
    options: Mapping[str, Any] = field(default_factory=dict)
    drawn: bool = False


def _stack(**options: Any) -> Callable[[], Any]:
    return lambda: zoo.conv_stack(**options)


CASES = {
    "stack, all units": Case(_stack(depth=6, width=32), (96, 96, 3), 4, 300, {"units": "all"}),
    "stack, all units, certified": Case(
        _stack(depth=6, width=32), (96, 96, 3), 4, 300, {"units": "all", "certify": True}
    ),
    "stack, 256 px, pooled": Case(
        _stack(depth=4, width=8), (256, 256, 3), 8, 150, {"units": "all", "pool_units": True}
    ),
    "stack, 16 networks": Case(_stack(depth=4, width=32), (64, 64, 3), 2, 180, {"units": "all", "seeds": 16}, True),
    "stack, volume": Case(_stack(depth=3, width=8, rank=3), (20, 20, 20, 1), 2, 380, {"units": "all"}),
    "U-Net": Case(lambda: zoo.unet(), (128, 128, 3), 2, 350, {"units": jaxrf.grid(8, 8)}),
    "MobileNet-V2": Case(zoo.mobilenet_v2, (224, 224, 3), 4, 1000, {"units": jaxrf.grid(7, 7)}),
    "ResNet-50, output": Case(zoo.resnet_v1_50, (224, 224, 3), 4, 900, {"units": "center"}),
    "ResNet-50, output, certified": Case(zoo.resnet_v1_50, (224, 224, 3), 4, 900, {"certify": True}),
    "ResNet-50, layer2": Case(zoo.resnet50, (224, 224, 3), 2, 1350, {"layer": "layer2", "units": "all"}),
}
"""Limits lie below what the plan would take without one, or close to it."""


def peak(case: Case) -> dict[str, float]:
    """Megabytes that this process took at most beyond what it had, in a first and a second call."""
    warnings.simplefilter("ignore")
    jaxrf.erf(zoo.conv_stack(depth=1, width=2), inputs=jaxrf.noise(1), input_shape=(8, 9, 3))
    model = case.model()
    images = np.random.default_rng(0).normal(size=(case.images, *case.shape)).astype(np.float32)
    variables = None if case.drawn else jax.jit(model.init)(jax.random.key(0), images[:1])
    jax.block_until_ready(variables)
    options = {"certify": False, "memory": case.memory * MB, **case.options}
    plan = jaxrf.plan(model, variables, images, **{k: v for k, v in options.items() if k not in ("seeds", "certify")})
    jaxrf.clear_cache()
    found = {"limit": case.memory, "planned": plan.memory / MB}
    for call in ("first", "second"):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now: proc(5)
        before = _megabytes("VmRSS")
        jaxrf.erf(model, variables, images, **options)
        found[call] = _megabytes("VmHWM") - before
    return found


def _megabytes(name: str) -> float:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Run the chosen cases, each in a process of its own."""
    arguments = parser(__doc__)
    arguments.add_argument("--cases", default="", help="those whose names hold one of these words (default: all)")
    arguments.add_argument("--child", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(peak(CASES[options.child])))
        return
    report, words = Report("memory", options), options.cases.split(",")
    for name in [name for name in CASES if any(word in name for word in words)][: 1 if options.small else None]:
        child = [sys.executable, __file__, "--child", name]
        output = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        most = max(found["first"], found["second"]) / found["limit"]
        report.add("memory", name, {**{f"{key} MB": value for key, value in found.items()}, "of the limit": most})


if __name__ == "__main__":
    main()
