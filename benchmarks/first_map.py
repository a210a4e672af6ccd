"""How long does the first map take, and with what, against the first call of a jitted pull-back of one unit in plain JAX?

Everything is measured in processes that have just begun: in one the first call of `jaxrf.erf`, in one the same without
its certificate, in one the parts (`jaxrf.prepare`, lowering, compilation, a run), in three the compilation of what is left
without rewrites of convolutions, without looks at the range of cotangents, and without both, and in one plain JAX. Imports and the
weights come before the clock. Rounds go through all of them in turn. Beside the seconds on the wall stand those of the
processors, which count what two threads do at once twice, and other programs not at all.

    python benchmarks/first_map.py --jobs "ResNet-50"
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import Report, parser

import jaxrf.adapters
import jaxrf.engine.range
import jaxrf.lowering.choice
import jaxrf.planning.programs
from jaxrf import zoo
from jaxrf.base.compiler import compiler_options
from jaxrf.lowering.table import Table

Seconds = dict[str, tuple[float, float]]
"""By name: on the wall, and of the processors."""
PARTS = ("tracing", "analysis", "lowering", "compilation", "run")


@dataclass(frozen=True)
class Job:
    """A map: of some units of a layer of `model`; `peer` is the network up to that layer, `unit` one of the units."""

    model: Any
    peer: Any
    shape: tuple[int, ...]
    unit: tuple[int, int]
    layer: str | None = None
    units: str = "center"

    @property
    def options(self) -> dict[str, Any]:
        return {"layer": self.layer, "units": self.units}


def jobs(small: bool) -> dict[str, Job]:
    """All jobs, at their full or at tiny sizes."""
    width, side = (8, 32) if small else (64, 224)
    stages = {"stages": 2} if small else {}
    convnext = zoo.convnext_tiny(layer_scale=1.0, **({"stages": 1} if small else {}))
    unet, large = (zoo.unet(depth=1, width=4), 16) if small else (zoo.unet(depth=4, width=16), 256)
    resnet, lower = zoo.resnet50(width=width, **stages), zoo.resnet50(width=width, stages=2)
    return {
        "ResNet-50 layer2": Job(resnet, lower, (side, side, 3), (1, 2), "layer2", "all"),
        "ConvNeXt-T": Job(convnext, convnext, (side, side, 3), (3, 3)),
        "U-Net": Job(unet, unet, (large, large, 1), (7, 8)),
    }


class Clock:
    """Seconds of parts, added up by their name."""

    def __init__(self) -> None:
        self.seconds: Seconds = {}

    @contextmanager
    def part(self, name: str):
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        before = self.seconds.get(name, (0.0, 0.0))
        self.seconds[name] = before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose calls count as a part."""

        def call(*args: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*args, **options)

        return call


def plain(job: Job, variables: Any, image: jax.Array, clock: Clock) -> None:
    """The gradient of one unit, as one writes it."""
    variables = jax.jit(job.peer.init)(jax.random.key(0), image)
    shape = jax.eval_shape(job.peer.apply, variables, image).shape
    ct = np.zeros(shape, np.float32)
    ct[0, *job.unit] = np.random.default_rng(0).choice([-1, 1], shape[-1])

    @jax.jit
    def gradient(variables: Any, image: jax.Array, ct: jax.Array) -> jax.Array:
        return jax.vjp(lambda x: job.peer.apply(variables, x), image)[1](ct)[0]

    with clock.part("plain"):
        np.asarray(gradient(variables, image, ct))


def erf(job: Job, variables: Any, image: jax.Array, clock: Clock) -> None:
    """All that a user waits for."""
    with clock.part("erf"):
        jaxrf.erf(job.model, variables, image, **job.options)


def uncertified(job: Job, variables: Any, image: jax.Array, clock: Clock) -> None:
    """The same without the comparison of the forward pass with that of the model."""
    with clock.part("uncertified"):
        jaxrf.erf(job.model, variables, image, certify=False, **job.options)


def parts(job: Job, variables: Any, image: jax.Array, clock: Clock) -> None:
    """The same program step by step."""
    jaxrf.adapters.adapt = clock.timed("tracing", jaxrf.adapters.adapt)  # before anything has imported it by name
    jaxrf.planning.programs.trace = clock.timed("tracing", jaxrf.planning.programs.trace)
    with clock.part("preparation"):
        field = jaxrf.prepare(job.model, variables, image, **job.options)
    with clock.part("lowering"):
        lowered = jax.jit(field).lower(variables, image, jax.random.key(0))
    with clock.part("compilation"):
        compiled = lowered.compile(compiler_options())
    jax.block_until_ready(compiled(variables, image, jax.random.key(0)))
    with clock.part("run"):
        jax.block_until_ready(compiled(variables, image, jax.random.key(0)))
    whole, tracing = clock.seconds.pop("preparation"), clock.seconds["tracing"]
    clock.seconds["analysis"] = whole[0] - tracing[0], whole[1] - tracing[1]


def compiled(job: Job, variables: Any, image: jax.Array, clock: Clock, *, without: tuple[str, ...]) -> None:
    """Compilation of the same program, and of one without a part of it, whose numbers are then slower to come by or less safe."""
    if "rewrites" in without:
        jaxrf.lowering.choice.TABLE = Table(jaxrf.lowering.choice.TABLE.lines[-1:])  # what is left: XLA's own
    if "looks" in without:
        jaxrf.engine.range.Scaled.looked_at = lambda self, *_: self
    field = jaxrf.prepare(job.model, variables, image, **job.options)
    lowered = jax.jit(field).lower(variables, image, jax.random.key(0))
    with clock.part(f"without {', '.join(without)}"):
        lowered.compile(compiler_options())


WITHOUT = (("rewrites",), ("looks",), ("rewrites", "looks"))
KINDS: dict[str, Callable[..., None]] = {"plain": plain, "erf": erf, "uncertified": uncertified, "parts": parts}
KINDS |= {f"without {', '.join(some)}": partial(compiled, without=some) for some in WITHOUT}


def measure_one(job: Job, kind: str) -> Seconds:
    """Seconds of one kind of work, in this process."""
    image = jnp.asarray(np.random.default_rng(0).normal(size=(1, *job.shape)), jnp.float32)
    variables = None if kind == "plain" else jax.jit(job.model.init)(jax.random.key(0), image)
    clock = Clock()
    KINDS[kind](job, jax.block_until_ready(variables), image, clock)
    return clock.seconds


def in_a_process(name: str, kind: str, small: bool) -> Seconds:
    """Seconds of one kind of work, in a process of its own."""
    command = [sys.executable, __file__, "--one", name, kind, *(["--small"] if small else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}, {kind}: {done.stderr}")
    return {part: tuple(found) for part, found in json.loads(done.stdout.splitlines()[-1]).items()}


def add_row(report: Report, name: str, rounds: list[Seconds]) -> None:
    """Medians of all rounds; the ratio is of them."""

    def median(part: str, of: int) -> float:
        return statistics.median(one[part][of] for one in rounds)

    for of, title in enumerate(("First map, seconds on the wall", "First map, seconds of processors")):
        first, peer = median("erf", of), median("plain", of)
        columns = {"jaxrf": first, "plain JAX, one unit": peer, "ratio": first / peer}
        columns |= {part: median(part, of) for part in PARTS}
        columns["certificate"] = first - median("uncertified", of)
        report.add(title, name, columns, {"rounds": [{k: v[of] for k, v in one.items()} for one in rounds]})
    columns = {"all": median("compilation", 1)}
    columns |= {kind: median(kind, 1) for kind in KINDS if kind.startswith("without")}
    report.add(
        "Compilation, seconds of processors", name, {**columns, "plain JAX, all of its call": median("plain", 1)}, {}
    )


def main() -> None:
    """Measure the jobs that are asked for."""
    options = parser(__doc__)
    options.add_argument("--jobs", help="beginnings of the names of jobs, with commas (default: all)")
    options.add_argument("--one", nargs=2, metavar=("JOB", "KIND"), help="print seconds of this process, as JSON")
    given = options.parse_args()
    every = jobs(given.small)
    if given.one:
        print(json.dumps(measure_one(every[given.one[0]], given.one[1])))
        return
    report = Report("first_map", given)
    for name in every:
        if given.jobs and not any(name.startswith(one) for one in given.jobs.split(",")):
            continue
        rounds: list[Seconds] = []
        for _ in range(given.repeats):
            rounds.append({})
            for kind in KINDS:
                rounds[-1] |= in_a_process(name, kind, given.small)
        add_row(report, name, rounds)


if __name__ == "__main__":
    main()
