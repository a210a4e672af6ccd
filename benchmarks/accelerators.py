"""What do the compilers of TPUs and of an H100 expect of exact maps, against plain JAX? Nothing is run.

Cycles of a TPU are those that its compiler expects and schedules by; ratios of two programs mean more than the numbers.
For a GPU, kernels, library calls and memory are counted; its compiler gives no times.

    make bench-tpu                                           # an environment with libtpu, and the jobs on a v5e
    python benchmarks/accelerators.py --chips v5e --jobs E
    python benchmarks/accelerators.py --chips h100 --jobs B,E
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import _estimates
import jax
import jax.numpy as jnp
import numpy as np
from _common import Report, parser
from _estimates import CHIPS, Estimate, estimate
from _jobs import Job, jobs
from _peers import _jax_chunk, _jax_map

import jaxrf

AIMS = {"A": 0.9, "B": 6.0, "C": 1.5, "E": 50.0, "F": 4.0, "G": 8.0}
"""The least ratios of cycles to plain JAX that the project holds itself to."""
CHUNK = 64
"""Units that plain JAX pulls back at a time."""
SEEDS = 16
"""Random initializations in one program."""
MEMORY = {"h100": "70GB"}
"""What a program may take; 14 GB on a TPU."""
Program = tuple[Callable[..., Any], tuple[Any, ...], int]
"""A function, the shapes of its arguments, and how many maps it makes."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A job on one chip."""

    job: Job
    chip: str
    precision: str

    @property
    def images(self) -> Any:
        return jax.ShapeDtypeStruct((self.job.images, *self.job.shape), jnp.float32)

    @property
    def field(self) -> Any:
        """The maps of the job, prepared for the chip."""
        job, units = self.job, self.job.units
        if isinstance(units, int):
            drawn = np.random.default_rng(0).choice(job.shape[0] * job.shape[1], units, replace=False)
            units = np.stack(np.unravel_index(drawn, job.shape[:2]), axis=1)
        return jaxrf.prepare(
            job.model, None, self.images, layer=job.layer, units=units, precision=self.precision,
            platform="gpu" if self.chip == "h100" else "tpu", memory=MEMORY.get(self.chip, "14GB"),
        )  # fmt: skip

    def ours(self) -> Program:
        """The program of jaxrf."""
        field, key, seeds = self.field, _key(), self.job.seeds
        maps = len(field.units) * self.job.images
        if seeds is None:
            return lambda *given: field(*given), (field.subject.abstract, self.images, key), maps
        some = min(seeds, SEEDS)

        def of_seeds(keys: jax.Array, images: jax.Array) -> Any:
            return jax.lax.map(lambda k: field(field.init(k), images, k), keys)

        return of_seeds, (jax.eval_shape(lambda k: jax.random.split(k, some), key), self.images), maps * some

    def naive(self) -> list[Program]:
        """What one writes first in plain JAX, in its forms."""
        job, f32, i32 = self.job, jnp.float32, jnp.int32
        one = jax.ShapeDtypeStruct((1, *job.shape), f32)
        abstract = jax.eval_shape(lambda k, x: job.peer.init(k, x), _key(), one)
        channels = jax.eval_shape(job.peer.apply, abstract, one).shape[-1]
        of_one = partial(_jax_map, job.peer)

        def shapes(*lead: int) -> tuple[Any, Any]:
            return jax.ShapeDtypeStruct((*lead, 2), i32), jax.ShapeDtypeStruct((*lead, channels), f32)

        if job.seeds is not None:
            some = min(job.seeds, SEEDS)

            def of_seed(images: jax.Array, units: jax.Array, key: jax.Array, signs: jax.Array) -> jax.Array:
                return jax.vmap(partial(of_one, job.peer.init(key, images[:1])))(images, units, signs)

            keys = jax.eval_shape(lambda k: jax.random.split(k, some), _key())
            units, signs = shapes(job.images)
            signs = jax.ShapeDtypeStruct((some, *signs.shape), f32)
            return [(jax.vmap(of_seed, (None, None, 0, 0)), (self.images, units, keys, signs), some * job.images)]
        if job.units == "center":
            every = jax.vmap(of_one, (None, 0, 0, 0))
            image = jax.ShapeDtypeStruct(job.shape, f32)
            return [
                (of_one, (abstract, image, *shapes()), 1),
                (every, (abstract, self.images, *shapes(job.images)), job.images),
            ]
        image = jax.ShapeDtypeStruct(job.shape, f32)
        return [(partial(_jax_chunk, job.peer), (abstract, image, *shapes(CHUNK)), CHUNK)]


def _key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))


def measure(asked: Asked) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns and details of one job on one chip."""
    found = _best(asked, [asked.ours()])
    plain = _best(asked, asked.naive())
    (ours, maps), (theirs, others) = found, plain
    memory = {"memory GB": ours.memory / 1e9, "naive GB": theirs.memory / 1e9}
    seconds = {"compile s": ours.seconds, "naive s": theirs.seconds}
    details = {"jaxrf": vars(ours) | {"maps": maps}, "naive": vars(theirs) | {"maps": others}}
    if asked.chip == "h100":
        return {
            **ours.counts,
            **{f"naive {name}": n for name, n in theirs.counts.items()},
            **memory,
            **seconds,
        }, details
    each = ours.cycles / maps, theirs.cycles / others
    share = ours.kinds.get("convolution", 0) / max(1, ours.cycles)
    columns = {"cycles a map": each[0], "naive": each[1], "× naive": each[1] / each[0], "aim": AIMS[asked.job.name[0]]}
    return {**columns, "in convolutions": share, **memory, **seconds}, details


def _best(asked: Asked, programs: list[Program]) -> tuple[Estimate, int]:
    """The program of fewest cycles a map."""
    with jax.default_matmul_precision(asked.precision):
        found = [(estimate(asked.chip, function, *shapes), maps) for function, shapes, maps in programs]
    return min(found, key=lambda one: one[0].cycles / one[1])


def main() -> None:
    """Compile the chosen jobs for the chosen chips."""
    arguments = parser(__doc__)
    arguments.add_argument("--jobs", default="E,B,G,F,C,A", help="letters or names of jobs of engine.py")
    arguments.add_argument("--chips", default="v5e", help=f"of {', '.join(CHIPS)} (default: v5e)")
    arguments.add_argument("--precision", default="default", help="of products: default, high, highest")
    options = arguments.parse_args()
    asked = [name.strip() for name in options.jobs.split(",")]
    known = jobs(options.small)
    chosen = [job for name in asked for job in known if name in (job.name, job.name[0]) and job.name[0] in AIMS]
    chips = [name.strip() for name in options.chips.split(",")]
    if not chosen:
        arguments.error(f"--jobs {options.jobs} names none of the jobs {', '.join(AIMS)}.")
    if unknown := [chip for chip in chips if chip not in CHIPS]:
        arguments.error(f"--chips {unknown[0]!r} is not known; there are {', '.join(CHIPS)}.")
    try:
        for chip in chips:
            _estimates.device(chip)
    except RuntimeError as error:
        arguments.error(str(error))
    many = len(chosen) * len(chips) > 1
    for job in chosen if many else ():  # each in a process of its own: a compiler keeps what it has taken
        for chip in chips:
            subprocess.run([sys.executable, *sys.argv, "--jobs", job.name, "--chips", chip], check=True)
    if many:
        return
    (job,), (chip,) = chosen, chips
    columns, details = measure(Asked(job, chip, options.precision))
    table = "H100, counted by the compiler" if chip == "h100" else "TPU, estimated by the compiler"
    Report("accelerators", options).add(table, f"{job.name}, {chip}, {options.precision}", columns, details)


if __name__ == "__main__":
    main()
