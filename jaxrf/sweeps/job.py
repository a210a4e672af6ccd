"""A piece of work as a value: sent to whoever computes, answered with bytes; no place is read or written on the way.

A process keeps the tasks that it opened last, so that the next job of one traces and compiles nothing.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxrf.base.ranges import Ranges
from jaxrf.errors import StoreError
from jaxrf.sweeps.blocks import Chunks, Made
from jaxrf.sweeps.worker import Terms, Worker, open_task
from jaxrf.tasks.task import Task

KEPT = 8
"""Opened tasks that a process keeps."""
SECONDS, LONGEST = 1.0, 30.0
"""Of work in a job, so that writing does not count; and at most, where opening its task took as long. A kill loses that."""
LARGE = 2**22
"""Bytes at which a block ends."""


@dataclass(frozen=True, eq=False)
class Job:
    """Some chunks of a task.

    Attributes:
        start: a name of the start of the sweep that asks: what is kept is kept for that long.
        task: which.
        chunks: all of the task.
        numbers: those that are wanted, as far as there is time for them; none where the plan alone is.
        plan: how the task was begun, a block; None where it was not.
        terms: how it is to be run.
        patient: whether it goes on for as long as opening the task took, which another process would have to do again.
    """

    start: str
    task: Task
    chunks: Chunks
    numbers: Ranges
    plan: bytes | None
    terms: Terms
    patient: bool = False


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a job.

    Attributes:
        sums: of each chunk that was computed, from the first on, the number of its seed, its images, and the sum of
            their maps.
        blocks: keys and bytes.
        plan: how the task is run; None where it failed.
        computing: seconds for the chunks, the first one's left out where it was compiled for.
        paced: how many chunks those seconds are of.
        error, trace: what failed, in a line and with its traceback.
        refused: whether that concerns the whole sweep: the task must not go on here.
    """

    sums: list[tuple[int, int, float]] = field(default_factory=list)
    blocks: list[tuple[str, bytes]] = field(default_factory=list)
    plan: bytes | None = None
    computing: float = 0.0
    paced: int = 0
    error: str | None = None
    trace: str = ""
    refused: bool = False


def compute(job: Job, stop: Callable[[], bool] = lambda: False) -> Answer:
    """Do a job, or as much of it as there is time for: at least one chunk.

    Args:
        job: what to do.
        stop: asked after every chunk; when it is true, what is computed is the answer.
    """
    try:
        return _computed(job, stop)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        return Answer(error=what, trace=traceback.format_exc(), refused=isinstance(error, StoreError))


def _computed(job: Job, stop: Callable[[], bool]) -> Answer:
    began = now = time.perf_counter()
    worker = _opened(job)
    new, held, size, sums, blocks = not worker.opening, [], 0, [], []
    for made in worker.chunks(job.chunks[number] for number in job.numbers):
        now = time.perf_counter()
        if new and not sums:
            worker.opening, began = now - began, now
        held.append(made)
        size += made.maps.nbytes
        sums.append(_sum(made))
        over = stop() or now - began >= (max(SECONDS, min(worker.opening, LONGEST)) if job.patient else SECONDS)
        if over or size >= LARGE:
            blocks += worker.blocks(held)
            held, size = [], 0
        if over:
            break
    blocks += worker.blocks(held)
    return Answer(sums, blocks, worker.plan, computing=time.perf_counter() - began, paced=max(len(sums) - new, 0))


def _sum(made: Made) -> tuple[int, int, float]:
    seed, (first, stop) = made.work
    return -1 if seed is None else seed, stop - first, float(made.maps.sum(dtype=np.float64))


_lock = threading.Lock()
_kept: OrderedDict[Any, Worker] = OrderedDict()


def _opened(job: Job) -> Worker:
    """The task of a job, opened; devices that share a process open it once."""
    with _lock:
        found = _kept.get((job.start, job.task.id, job.plan))
        if found is None:
            found = open_task(job.task, job.plan, seed=job.chunks[0][0], terms=job.terms)
            _kept[job.start, job.task.id, found.plan] = found
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
        return found
