"""What a sweep would do, before it does: its tasks, their work and memory, and how long it may take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from jaxrf.errors import JaxrfError
from jaxrf.sweeps.blocks import Work
from jaxrf.sweeps.specification import Asked
from jaxrf.sweeps.task import Task, tasks
from jaxrf.sweeps.worker import Worker, open_task


@dataclass(frozen=True)
class Preview:
    """What a task would take.

    Attributes:
        task: which.
        chunks: how many; fewer where `until` stops earlier.
        samples: pairs of a seed and an image.
        flops: of all samples: the cones of the units, without the forward pass.
        memory: bytes at a time.
        seconds: of all samples on this machine, without compilation; from one chunk of the first task, and in
            proportion to the FLOPs for the others.
        problem: why it cannot be run; then the numbers are 0.
    """

    task: Task
    chunks: int
    samples: int
    flops: float = 0.0
    memory: int = 0
    seconds: float = 0.0
    problem: str | None = None


def preview(specification: Asked) -> Iterator[Preview]:
    """Trace each task, and run a chunk of the first one that works, twice. Nothing is written."""
    pace, seeds = None, specification.seed_numbers
    for task in tasks(specification):
        chunks = task.chunks(seeds)
        samples = chunks.levels * chunks.images
        try:
            worker = open_task(task, None, seed=chunks[0][0])
            flops = float(worker.run.prepared.plan.cost.flops) * worker.run.prepared.plan.units
            pace = pace or _pace(worker, chunks[0], flops)
            memory = int(worker.run.prepared.plan.memory)
            yield Preview(task, len(chunks), samples, flops * samples, memory, pace * flops * samples)
        except JaxrfError as error:
            yield Preview(task, len(chunks), samples, problem=str(error))


def _pace(worker: Worker, work: Work, flops: float) -> float:
    """Seconds per FLOP, from a chunk that runs for the second time."""
    list(worker.blocks([work]))
    began = time.perf_counter()
    list(worker.blocks([work]))
    first, stop = work[1]
    return (time.perf_counter() - began) / max(flops * (stop - first), 1.0)
