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

from jaxrf.errors import StoreError
from jaxrf.sweeps.blocks import Chunks, Made
from jaxrf.sweeps.ranges import Ranges
from jaxrf.sweeps.task import Task
from jaxrf.sweeps.worker import Worker, open_task

KEPT = 8
"""Opened tasks that a process keeps."""
LONGEST = 30.0
"""Seconds that a job may compute, where opening its task took as long: what a lost worker loses at most."""


@dataclass(frozen=True, eq=False)
class Job:
    """Some chunks of a task.

    Attributes:
        start: a name of the start of the sweep that asks: what is kept is kept for that long.
        task: which.
        chunks: all of the task.
        numbers: those that are wanted; none where the plan alone is.
        plan: how the task was begun, a block; None where it was not.
        seconds: after which no further chunk is begun.
        patient: whether it goes on for as long as opening the task took, which another process would have to do again.
        strict: whether a photo that cannot be read is an error.
        mix: whether another kind of device than that of the plan may go on.
    """

    start: str
    task: Task
    chunks: Chunks
    numbers: Ranges
    plan: bytes | None
    seconds: float
    patient: bool = False
    strict: bool = False
    mix: bool = False


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a job.

    Attributes:
        done: how many of its chunks, from the first on.
        blocks: keys and bytes.
        plan: how the task is run; None where it failed.
        sums: of each chunk the number of its seed, its images, and the sum of their maps.
        opening: seconds that opening took; 0 where the task was open.
        computing: seconds for the chunks, the first one's left out where it was compiled for.
        paced: how many chunks those seconds are of.
        error, trace: what failed, in a line and with its traceback.
        refused: whether that concerns the whole sweep: the task must not go on here.
    """

    done: int = 0
    blocks: list[tuple[str, bytes]] = field(default_factory=list)
    plan: bytes | None = None
    sums: list[tuple[int, int, float]] = field(default_factory=list)
    opening: float = 0.0
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
        began = time.perf_counter()
        worker, opened = _opened(job)
        clock = _Clock(job, time.perf_counter() - began if opened else 0.0)
        blocks, sums = [], []
        wanted = (job.chunks[number] for number in job.numbers)
        for block in worker.blocks(wanted, lambda: clock.over() or stop()):
            sums += [_sum(made) for made in block.chunks]
            blocks.append((block.key, block.to_bytes()))
        return Answer(len(sums), blocks, worker.plan, sums, *clock.told(len(sums)))
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        return Answer(error=what, trace=traceback.format_exc(), refused=isinstance(error, StoreError))


@dataclass(eq=False)
class _Clock:
    """The time that a job takes; what it takes to its first chunk counts as opening where the task was opened for it."""

    job: Job
    opening: float

    def __post_init__(self):
        self.began, self.first = time.perf_counter(), 0.0

    def over(self) -> bool:
        now = time.perf_counter()
        if not self.first:
            self.first = now
            self.opening += now - self.began if self.opening else 0.0
        limit = min(max(self.job.seconds, self.opening), LONGEST) if self.job.patient else self.job.seconds
        return now - (self.first if self.opening else self.began) >= limit

    def told(self, chunks: int) -> tuple[float, float, int]:
        """Seconds of opening, seconds of computing, and how many chunks the latter are of."""
        apart = self.opening > 0 and chunks > 0
        return self.opening, time.perf_counter() - (self.first if apart else self.began), chunks - apart


def _sum(made: Made) -> tuple[int, int, float]:
    seed, (first, stop) = made.work
    return -1 if seed is None else seed, stop - first, float(made.arrays["maps"].sum(dtype=np.float64))


_lock = threading.Lock()
_kept: OrderedDict[Any, Worker] = OrderedDict()


def _opened(job: Job) -> tuple[Worker, bool]:
    """The task of a job, opened; and whether that was done now."""
    with _lock:  # devices that share a process open a task once
        found = _kept.get((job.start, job.task.id, job.plan))
        if found is not None:
            return found, False
        worker = open_task(job.task, job.plan, seed=job.chunks[0][0], strict=job.strict, mix=job.mix)
        _kept[job.start, job.task.id, worker.plan] = worker
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
        return worker, True
