"""What a sweep would do, before it does: its tasks, their work and memory, and how long it may take."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxrf.errors import JaxrfError

if TYPE_CHECKING:
    from jaxrf.sweeps.blocks import Work
    from jaxrf.sweeps.worker import Worker
    from jaxrf.tasks import Specification
    from jaxrf.tasks.task import Task

TRIAL, TRYING = 0.2, 60.0
"""Seconds that one task is tried, and that tasks are tried in all."""


@dataclass(frozen=True)
class Preview:
    """What a task would take.

    Attributes:
        task: which.
        chunks: how many; fewer where `until` stops earlier.
        samples: pairs of a seed and an image.
        flops: of all samples: the cones of the units, without the forward pass.
        memory: bytes at a time.
        seconds: of all samples on this machine, without compilation: from a fifth of a second of the task itself; after
            a minute of that, in proportion to the FLOPs of the nearest task that was tried.
        problem: why it cannot be run; then the numbers are 0.
    """

    task: Task
    chunks: int
    samples: int
    flops: float = 0.0
    memory: int = 0
    seconds: float = 0.0
    problem: str | None = None


def preview(specification: Specification, memory: str | None = None) -> Iterator[Preview]:
    """Trace each task, and try some of its chunks. Nothing is written.

    Args:
        specification: what is to be done.
        memory: that the only one who computes may take.
    """
    from jaxrf.sweeps.blocks import Chunks
    from jaxrf.sweeps.worker import Terms, open_task

    seeds, began = specification.seed_numbers, time.perf_counter()
    paces: list[tuple[float, float]] = []
    for task in specification.tasks():
        chunks = Chunks.of(task, seeds)
        samples = chunks.levels * chunks.images
        try:
            worker = open_task(task, None, seed=chunks[0][0], terms=Terms(memory=memory))
            plan = worker.run.prepared.plan
            flops = float(plan.cost.flops) * plan.units
            if not paces or time.perf_counter() - began < TRYING:
                paces.append((flops, _seconds(worker, chunks[0])))
            near, seconds = min(paces, key=lambda pace: abs(math.log((pace[0] + 1) / (flops + 1))))
            seconds *= samples * (flops + 1) / (near + 1)
            yield Preview(task, len(chunks), samples, flops * samples, int(plan.memory), seconds)
        except JaxrfError as error:
            yield Preview(task, len(chunks), samples, problem=str(error))


def _seconds(worker: Worker, work: Work) -> float:
    """Seconds per sample, once compiled."""
    list(worker.chunks([work]))
    count, began = 0, time.perf_counter()
    while not count or time.perf_counter() - began < TRIAL:
        list(worker.chunks([work]))
        count += work[1][1] - work[1][0]
    return (time.perf_counter() - began) / count


def as_json(specification: Specification, found: Sequence[Preview]) -> str:
    """Return what programs read."""
    tasks = [
        {**one.task.describe(), "chunks": one.chunks, "samples": one.samples, "flops": one.flops,
         "memory": one.memory, "seconds": one.seconds, "problem": one.problem}
        for one in found
    ]  # fmt: skip
    return json.dumps({"specification": specification.to_dict(), "tasks": tasks}, indent=2)


def as_text(found: Sequence[Preview]) -> str:
    """A line for each task, what cannot be run, and the sum."""
    from jaxrf.engine.plan import human

    lines = [f"{'task':<20}  {'chunks':>7}  {'samples':>8}  {'GFLOP':>9}  {'memory':>9}  {'time':>7}  where"]
    for one in found:
        numbers = f"{one.flops / 1e9:>9.3g}  {human(one.memory):>9}  {clock(one.seconds):>7}"
        shown = f"{'cannot be run':>29}" if one.problem else numbers
        lines.append(f"{one.task.id:<20}  {one.chunks:>7}  {one.samples:>8}  {shown}  {one.task.label}")
    lines += [f"{one.task.label}: {one.problem}" for one in found if one.problem]
    seconds = sum(one.seconds for one in found)
    return "\n".join([*lines, f"{len(found)} tasks, about {clock(seconds)} on this machine alone, without compilation"])


def clock(seconds: float) -> str:
    """Seconds, as people say them.

    >>> clock(5), clock(300), clock(9000)
    ('5 s', '5 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"
