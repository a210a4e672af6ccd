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
from typing import Any

import jax
from _chips import chosen_chips, with_chips
from _common import Report, parser
from _jobs import jobs
from _programs import Asked, Program

from jaxrf.base.chips import platform_of
from jaxrf.base.estimates import Estimate, estimate

AIMS = {"A": 0.9, "B": 6.0, "C": 1.5, "E": 50.0, "F": 4.0, "G": 8.0}
"""The least ratios of cycles to plain JAX that the project holds itself to."""


def measure(chip: str, asked: Asked) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns and details of one job on one chip."""
    found = _best(chip, asked, [asked.ours()])
    plain = _best(chip, asked, asked.naive())
    (ours, maps), (theirs, others) = found, plain
    memory = {"memory GB": ours.memory / 1e9, "naive GB": theirs.memory / 1e9}
    seconds = {"compile s": ours.seconds, "naive s": theirs.seconds}
    details = {"jaxrf": vars(ours) | {"maps": maps}, "naive": vars(theirs) | {"maps": others}}
    if chip == "h100":
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


def _best(chip: str, asked: Asked, programs: list[Program]) -> tuple[Estimate, int]:
    """The program of fewest cycles a map."""
    with jax.default_matmul_precision(asked.precision):
        found = [(estimate(chip, function, *shapes), maps) for function, shapes, maps in programs]
    return min(found, key=lambda one: one[0].cycles / one[1])


def main() -> None:
    """Compile the chosen jobs for the chosen chips."""
    arguments = with_chips(parser(__doc__))
    arguments.add_argument("--jobs", default="E,B,G,F,C,A", help="letters or names of jobs of engine.py")
    arguments.add_argument("--precision", default="default", help="of products: default, high, highest")
    options = arguments.parse_args()
    asked = [name.strip() for name in options.jobs.split(",")]
    known = jobs(options.small)
    chosen = [job for name in asked for job in known if name in (job.name, job.name[0]) and job.name[0] in AIMS]
    if not chosen:
        arguments.error(f"--jobs {options.jobs} names none of the jobs {', '.join(AIMS)}.")
    chips = chosen_chips(arguments, options)
    many = len(chosen) * len(chips) > 1
    for job in chosen if many else ():  # each in a process of its own: a compiler keeps what it has taken
        for chip in chips:
            subprocess.run([sys.executable, *sys.argv, "--jobs", job.name, "--chips", chip], check=True)
    if many:
        return
    (job,), (chip,) = chosen, chips
    columns, details = measure(chip, Asked(job, platform_of(chip), options.precision))
    table = "H100, counted by the compiler" if chip == "h100" else "TPU, estimated by the compiler"
    Report("accelerators", options).add(table, f"{job.name}, {chip}, {options.precision}", columns, details)


if __name__ == "__main__":
    main()
