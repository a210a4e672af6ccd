"""What a sweep would do, before it does: its tasks, their work and memory, and how long it may take."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from jaxrf.errors import JaxrfError
from jaxrf.sweeps.blocks import Work
from jaxrf.sweeps.specification import Asked
from jaxrf.sweeps.task import Task, tasks
from jaxrf.sweeps.worker import Worker, open_task

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


def preview(specification: Asked) -> Iterator[Preview]:
    """Trace each task, and try some of its chunks. Nothing is written."""
    seeds, began = specification.seed_numbers, time.perf_counter()
    paces: list[tuple[float, float]] = []
    for task in tasks(specification):
        chunks = task.chunks(seeds)
        samples = chunks.levels * chunks.images
        try:
            worker = open_task(task, None, seed=chunks[0][0])
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
    list(worker.blocks([work]))
    count, began = 0, time.perf_counter()
    while not count or time.perf_counter() - began < TRIAL:
        list(worker.blocks([work]))
        count += work[1][1] - work[1][0]
    return (time.perf_counter() - began) / count
