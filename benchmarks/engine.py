"""How fast are exact ERF maps, against plain JAX and PyTorch on the same network, images, units and cotangents?

Maps are compared before anything is timed. A time is of one map: of one unit, image and seed.
PyTorch is measured in its fastest form, found in a trial; so is the plain JAX that users write first
(`jax.vmap` of `jax.vjp` over units, `jax.grad` per image), and beside it the fastest other form.

Each job has a process of its own: where its memory lies does not depend on the jobs before it.

    python benchmarks/engine.py --jobs B,E
    python benchmarks/engine.py --jobs D --double    # compare in double precision, to rounding; nothing is timed
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import (
    Gemm,
    Report,
    forward_flops,
    interleaved,
    is_there,
    parser,
    relative_errors,
    seconds,
    whole_maps,
)
from _jobs import Job, Mine, jobs
from _peers import Forms, Samples, Torch, TorchSeeds, jax_forms, jax_seed_forms

from jaxrf.fields.run import root_key as random_key

COLUMNS = ("jaxrf", "PyTorch", "naive JAX", "other JAX")
LIMITS = {np.float32: (5e-3, 5e-2), np.float64: (1e-10, 1e-8)}
"""Largest relative error of maps: in the median of at least `FEW` of them, and of a single one.

In float32, forward passes that add in another order flip ReLUs at rounding level:
plain JAX and PyTorch differ by 2e-3 in maps of a random ResNet-50, and by 1e-6 where nothing flips.
"""
FEW = 8


@dataclass(eq=False)
class Peer:
    """Another way to the same maps.

    Attributes:
        name: column of the table.
        forms: ways to write it.
        count: how many maps each form makes.
        comparable: makes the maps that are compared with jaxrf's; the first form if None.
        form: the form that is measured, once it is chosen.
        trial: seconds of the first call and of one after it, per form.
    """

    name: str
    forms: Forms
    count: int
    comparable: Callable[[], np.ndarray] | None = None
    form: str = ""
    trial: dict[str, tuple[float, float]] = field(default_factory=dict)

    def choose(self) -> None:
        """Run all forms, and keep the one that is fastest once it is compiled."""
        self.trial = {name: (seconds(form), seconds(form)) for name, form in self.forms.items()}
        self.form = min(self.trial, key=lambda name: self.trial[name][1])

    def run(self) -> np.ndarray:
        """Maps in the chosen form, the first one unless another was chosen."""
        return self.forms[self.form or next(iter(self.forms))]()

    def maps(self) -> np.ndarray:
        """Maps to compare."""
        return (self.comparable or self.run)()


def peers(mine: Mine, samples: Samples) -> list[Peer]:
    """Plain JAX twice, and PyTorch where it is installed."""
    job = mine.asked
    if job.seeds is not None:
        return _seed_peers(mine, samples)
    named, other = jax_forms(job.peer, mine.variables, samples, job.sizes)
    forms = {"naive JAX": named, "other JAX": other}
    if is_there("torch"):
        forms["PyTorch"] = Torch(job.torch, mine.variables, samples, job.sizes).forms()
    return [Peer(name, found, len(samples)) for name, found in forms.items() if found]


def _seed_peers(mine: Mine, samples: Samples) -> list[Peer]:
    job = mine.asked
    keys = jnp.stack([random_key(seed) for seed in mine.seeds])
    every = Samples(samples.images, samples.image, samples.units, mine.cotangents()[:, :, 0])
    named, other = jax_seed_forms(job.peer, keys, every, job.sizes)
    found = [Peer("naive JAX", named, mine.count), Peer("other JAX", other, mine.count)]
    if is_there("torch"):
        draw = jax.jit(job.peer.init)
        torch = TorchSeeds(job.torch, lambda seed: draw(keys[seed], samples.images[:1]), every)
        found.append(Peer("PyTorch", torch.forms(), mine.count, torch.comparable))
    return found


def compare(mine: Mine, maps: np.ndarray, others: list[Peer], chosen: np.ndarray) -> dict[str, tuple[float, float]]:
    """Median and largest relative error of jaxrf's maps (seed, image, unit, *window) against each peer's.

    Raises:
        AssertionError: they differ by more than rounding explains.
    """
    units = maps.shape[2]
    ours = maps.reshape(-1, *maps.shape[3:])
    origin = np.tile(mine.layer.where(units)[0], (len(ours) // units, 1))
    if mine.asked.seeds is None:
        ours, origin = ours[chosen], origin[chosen]
    ours = whole_maps(ours, origin, mine.asked.shape[:2])
    found, (typical, worst_of_all) = {}, LIMITS[mine.dtype]
    for peer in others:
        errors = relative_errors(ours, peer.maps().reshape(ours.shape))
        median, worst = float(np.median(errors)), float(errors.max())
        print(f"  relative error of maps against {peer.name}: {median:.1e} in the median, at most {worst:.1e}")
        alike = worst < worst_of_all and (len(ours) < FEW or median < typical)
        assert alike, f"{mine.asked.name}: maps differ from those of {peer.name}"
        found[peer.name] = median, worst
    return found


def measure(job: Job, repeats: int, gemm: Gemm) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns and details of one job."""
    mine = Mine(job)
    start = time.perf_counter()
    maps = mine.maps()
    first = time.perf_counter() - start
    samples, chosen = mine.samples()
    others = peers(mine, samples)
    for peer in others:
        peer.choose()
    errors = compare(mine, maps, others, chosen)
    times = interleaved({"jaxrf": mine.run, "GEMM": gemm, **{peer.name: peer.run for peer in others}}, repeats)
    medians = {name: statistics.median(found) for name, found in times.items()}
    counts = {"jaxrf": mine.count, **{peer.name: peer.count for peer in others}}
    each = {name: medians[name] / count for name, count in counts.items()}
    rate = gemm.flops / medians["GEMM"]
    columns, flops = _columns(job, mine, each, rate)
    columns["first run s"] = mine.prepared + first
    details = {
        "maps": mine.count,
        "windows": list(mine.layer.pullback.map_shape),
        "plan": str(mine.layer.plan).splitlines(),
        **flops,
        "GEMM GFLOP/s": rate / 1e9,
        "seconds": times,
        "prepare s": mine.prepared,
        "compile s": max(0.0, first - medians["jaxrf"]),
        "relative errors": errors,
        "forms": {peer.name: {"used": peer.form, "maps": peer.count, "trial s": peer.trial} for peer in others},
    }
    return columns, details


def verify(job: Job) -> None:
    """Compare the maps of one job in double precision, in which no ReLU flips by rounding."""
    mine = Mine(job, np.float64)
    maps = mine.maps()
    samples, chosen = mine.samples()
    print(job.name)
    compare(mine, maps, peers(mine, samples), chosen)


def _columns(job: Job, mine: Mine, each: dict[str, float], rate: float) -> tuple[dict[str, Any], dict[str, float]]:
    """What the table shows, and FLOPs per map."""
    pull = mine.layer.pullback
    forward = forward_flops(pull.program, pull.windows) / len(mine.layer.units)
    flops = {
        "cone GFLOP": mine.layer.plan.cost.flops / 1e9,
        "forward GFLOP": forward / 1e9,
        "full pull-back GFLOP": mine.layer.plan.cost.full_flops / 1e9,
    }
    needed = flops["cone GFLOP"] + flops["forward GFLOP"]
    ratio = {name: seconds / each["jaxrf"] for name, seconds in each.items()}
    columns = {
        "question": job.question,
        **{f"{name} ms": 1e3 * each[name] if name in each else None for name in COLUMNS},
        "× PyTorch": ratio.get("PyTorch"),
        "aim": job.floors[0],
        "× naive JAX": ratio["naive JAX"],
        "aim ": job.floors[1],
        "GFLOP": needed,
        "GFLOP/s": needed / each["jaxrf"],
        "of GEMM": needed * 1e9 / each["jaxrf"] / rate,
    }
    return columns, flops


def main() -> None:
    """Run the chosen jobs."""
    arguments = parser(__doc__)
    arguments.add_argument("--jobs", default="A,B,C,D,E,F,G", help="letters or names of the jobs to run (default: all)")
    arguments.add_argument(
        "--double", action="store_true", help="compare maps in double precision, and measure nothing"
    )
    options = arguments.parse_args()
    asked = {name.strip() for name in options.jobs.split(",")}
    chosen = [job for job in jobs(options.small) if {job.name, job.name[0]} & asked]
    if not chosen:
        arguments.error(f"--jobs {options.jobs} names none of the jobs A to G.")
    if len(chosen) > 1:
        for job in chosen:
            subprocess.run([sys.executable, *sys.argv, "--jobs", job.name], check=True)
        return
    jax.config.update("jax_default_matmul_precision", "highest")
    if not is_there("torch"):
        print("PyTorch is not installed (extra `bench`); it is left out.")
    (job,) = chosen
    if options.double:
        jax.config.update("jax_enable_x64", True)
        verify(job)
    else:
        columns, details = measure(job, options.repeats, Gemm(options.small))
        Report("engine", options).add("Maps", job.name, columns, details)


if __name__ == "__main__":
    main()
