"""Run a sweep to its end, whatever happens on the way; it can be stopped at any moment and started again.

Yields its progress; prints nothing. What is done is known from the place alone, never from memory.
Workers get values and give bytes; this process alone reads and writes the place.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from jaxrf.base import executors
from jaxrf.base.ranges import Ranges
from jaxrf.errors import EngineError, InputError, StoreError
from jaxrf.results.stacked import Outcome, outcome
from jaxrf.statistics.running import Spread
from jaxrf.store.blocks import Block
from jaxrf.store.location import to_json
from jaxrf.sweeps import record
from jaxrf.sweeps.blocks import Chunks, Cover, by_task, plan_key
from jaxrf.sweeps.course import Course, share, windows
from jaxrf.sweeps.folder import Folder, failure_key
from jaxrf.sweeps.job import Answer, Job, compute
from jaxrf.sweeps.merge import Merger
from jaxrf.sweeps.progress import Progress
from jaxrf.sweeps.writing import write_results
from jaxrf.tasks.specification import Asked
from jaxrf.tasks.task import Task, tasks

WRITERS, WRITES = 4, 16
"""Threads that write, each of which mostly waits for the disk; and blocks that may wait for them."""
LOSSES = 5
"""Jobs of a task that may be lost with their workers before the sweep gives up."""
TICK = 0.1
"""Seconds between two questions whether to stop."""


def run(
    specification: Asked,
    place: str | os.PathLike[str],
    *,
    on: str | None = None,
    executor: Executor | None = None,
    shard: tuple[int, int] = (0, 1),
    stop: Callable[[], bool] = lambda: False,
    strict: bool = False,
    mix_devices: bool = False,
    command: Sequence[str] = (),
) -> Iterator[Progress]:
    """Run what is left of a sweep.

    Args:
        specification: what to do.
        place: a folder, or a URL `gs://`, `s3://`, `memory://`.
        on: who computes: `processes:4`, `dask://host:port`, `mpi`; None for this process's devices.
        executor: who computes, instead; it is left open.
        shard: number of this process and of all, where several share the place and nothing else; each does its share.
        stop: asked after every chunk; when it is true, what is computed is written, and the run ends.
        strict: whether a photo that cannot be read is an error instead of being left out and counted.
        mix_devices: whether blocks of another kind of device may be added to a task.
        command: words that started it, for the record.

    Yields:
        `Progress`, the last one with how it ended. Nothing in a process that only serves another one's sweep.

    Raises:
        InputError: the shard is out of range; no such engine; the executor is none.
        StoreError: the place is another's, or cannot be reached. Nothing written is damaged; start again.
        EngineError: those who compute are gone. Nothing written is lost; start again.

    Example:
        >>> from jaxrf.tasks import Specification
        >>> plan = Specification(model={"source": "zoo:conv_stack", "depth": [1, 2], "width": 2}, input="8x9x3", seeds=2)
        >>> *_, last = run(plan, "memory://example")
        >>> last.state, last.computed
        ('done', 4)
        >>> *_, again = run(plan, "memory://example")
        >>> again.state, again.computed
        ('done', 0)
    """
    index, count = shard
    if not 0 <= index < count:
        raise InputError(f"The shard {index}/{count} is out of range. Shards are 0/{count} to {count - 1}/{count}.")
    if executor is not None and not hasattr(executor, "submit"):
        raise InputError(
            f"executor={executor!r} has no submit. Give a concurrent.futures.Executor, or name one by on=."
        )
    folder, every = Folder.at(place), tasks(specification)
    chunks = {task.id: Chunks.of(task, specification.seed_numbers) for task in every}
    progress = Progress("", 0, sum(map(len, chunks.values())))
    if record.is_done(folder, specification, chunks):
        yield replace(progress, done=progress.total, state="done")
        return
    began = time.time()
    with nullcontext(executor) if executor is not None else executors.executor(on) as computing:
        if computing is None:
            return
        record.claim(folder, specification, every)
        sweep = _Sweep(specification, every, chunks, folder, shard, computing, stop, strict, mix_devices, progress)
        yield from sweep.compute(sweep.own())
        while not stop():
            results, damaged, missing = sweep.merge()
            if damaged:
                yield from sweep.compute(sweep.lost(damaged))
            elif missing:
                yield sweep.end("waiting")
                return
            else:
                folder.check_there()
                write_results(folder, specification, every, results, command=command, began=began)
                if not sweep.failed:
                    record.note_done(folder, sweep.taken)
                yield sweep.end("failed" if sweep.failed else "done")
                return
        yield sweep.end("stopped")


Wanted = tuple[Task, list[Ranges]]
"""Numbers of those chunks of a task that are to be computed; a rule looks between two parts."""


@dataclass(eq=False)
class _Sweep:
    """The state of one start of a sweep."""

    specification: Asked
    tasks: list[Task]
    chunks: dict[str, Chunks]
    folder: Folder
    shard: tuple[int, int]
    executor: Executor
    stop: Callable[[], bool]
    strict: bool
    mix: bool
    progress: Progress
    start: str = field(default_factory=lambda: uuid.uuid4().hex)
    failed: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    paced: int = 0
    seconds: float = 0.0

    def __post_init__(self):
        self.local = isinstance(self.executor, ThreadPoolExecutor)

    def tell(self, *messages: str, **changes: Any) -> Progress:
        """The progress, changed, with messages that are told once."""
        self.progress = replace(self.progress, **changes)
        told, self.messages = (*self.messages, *messages), []
        return replace(self.progress, messages=told)

    def end(self, state: str) -> Progress:
        """How it ended."""
        return self.tell(state=state, failed=len(self.failed))

    def own(self) -> list[Wanted]:
        """This shard's share of what is not there, task by task."""
        present, wanted = self.folder.present(self.chunks), []
        for number, task in enumerate(self.tasks):
            own = windows(self.chunks[task.id], self.specification.rule)
            mine = share(own, self.shard, number, len(self.tasks))
            missing = [present[task.id].missing(window.start, window.stop) for window in mine]
            if any(missing):
                wanted.append((task, [some for some in missing if some]))
        self.progress = replace(self.progress, done=sum(map(len, present.values())))
        return wanted

    def lost(self, damaged: Sequence[str]) -> list[Wanted]:
        """What was set aside, task by task; of a plan alone, no chunks."""
        self.messages += [f"{key} was damaged; it was set aside and is made anew" for key in damaged]
        blocks, ids = by_task(damaged), {key.split("/")[1] for key in damaged}
        found = [
            (task, Cover(self.chunks[task.id], blocks.get(task.id)).there[:]) for task in self.tasks if task.id in ids
        ]
        self.progress = replace(self.progress, done=self.progress.done - sum(len(numbers) for _, numbers in found))
        return [(task, [numbers]) for task, numbers in found]

    def compute(self, wanted: list[Wanted]) -> Iterator[Progress]:
        """Have chunks computed, and write them."""
        yield self.tell()
        self.waiting, self.begun = deque(wanted), []
        self.writes, self.ended = deque[Future[None]](), threading.Event()
        out: dict[Future[Answer], tuple[Course, Job]] = {}
        with ThreadPoolExecutor(WRITERS, "jaxrf-writer") as self.writer:
            try:
                while True:
                    while not self.stop() and (found := self._next(len(out))):
                        out[self._submitted(found[1])] = found
                    if not out:
                        break
                    for future in wait(out, TICK, FIRST_COMPLETED).done:
                        yield from self._received(future, *out.pop(future))
                    if self.stop():
                        for future in out:
                            future.cancel()  # those that are being computed go on to their end
                self._settle()
            finally:
                self.ended.set()
                for future in out:
                    future.cancel()

    def _next(self, flying: int) -> tuple[Course, Job] | None:
        """A job for those who compute, until there are enough of them: each a task of its own while that is possible."""
        width = executors.width(self.executor)
        slots = width + 1 if self.local else 2 * width
        while flying < slots:
            course = min((one for one in self.begun if one.ready()), key=lambda one: one.flying, default=None)
            self.begun = [one for one in self.begun if not one.over]
            if self.waiting and (course is None or course.flying) and len(self.begun) < width:
                course = self._begin(*self.waiting.popleft())
                self.begun.append(course)
            if course is None:
                return None
            if course.ready():
                plenty = course.plan is not None or len(self.waiting) + len(self.begun) > width
                task, numbers = course.task, course.take(slots)
                return course, Job(
                    self.start, task, self.chunks[task.id], numbers, course.plan, plenty and not self.local,
                    self.strict, self.mix,
                )  # fmt: skip
        return None

    def _begin(self, task: Task, missing: list[Ranges]) -> Course:
        plan, own = self.folder.plan(task.id), self.chunks[task.id]
        self.progress = replace(self.progress, task=task.label)
        self.folder.location.remove(failure_key(task.id))  # of an earlier start
        spread = Spread(own.images, by_seed=own.levels > 1)
        return Course(task, plan and plan[0], self._parts(task, missing), spread)

    def _parts(self, task: Task, missing: list[Ranges]) -> Iterator[Ranges]:
        """The parts of a task, up to where its rule stops, which looks at what is there before each of them."""
        for number, part in enumerate(missing):
            while self.specification.rule is not None:
                self._settle()
                plan = self.folder.plan(task.id)
                if plan is None:
                    break
                merger = self._merged(task, plan[1], self.folder.present({task.id: self.chunks[task.id]})[task.id])
                if merger.stopped:
                    left = sum(map(len, missing[number:]))
                    self.progress = replace(self.progress, total=self.progress.total - left)
                    return
                if not merger.damaged:
                    break
                yield self.lost(merger.damaged)[0][1][0]
            yield part

    def _settle(self, most: int = 0) -> None:
        """Wait until at most so many blocks are still to be written."""
        while len(self.writes) > most or (self.writes and self.writes[0].done()):
            self.writes.popleft().result()

    def _submitted(self, job: Job) -> Future[Answer]:
        try:
            if self.local:
                return self.executor.submit(compute, job, lambda: self.ended.is_set() or self.stop())
            return self.executor.submit(compute, job)
        except Exception as error:
            raise _gone(error) from error

    def _received(self, future: Future[Answer], course: Course, job: Job) -> Iterator[Progress]:
        course.flying -= 1
        if future.cancelled() and self.stop():
            return
        try:
            answer = future.result()
        except (Exception, CancelledError) as error:  # the worker died, or its answer was lost
            course.lost += 1
            if course.lost > LOSSES or isinstance(error, BrokenExecutor):
                raise _gone(error) from error
            course.left.append(job.numbers)
            return
        if answer.refused:
            raise StoreError(str(answer.error).partition(": ")[2])
        if answer.error is not None:
            yield self._fails(course, job, answer)
            return
        course.begun, done = True, len(answer.sums)
        if course.plan is None:
            assert answer.plan is not None  # as in every answer without an error
            course.plan = self.folder.add_plan(course.task.id, answer.plan)
            if course.plan != answer.plan:  # another process began the task at the same moment, in another way
                course.left.append(job.numbers)
                return
        if rest := job.numbers[done:]:
            course.left.append(rest)
        course.spread.add(answer.sums)
        self.writes += [self.writer.submit(self.folder.add_block, key, data) for key, data in answer.blocks]
        self._settle(WRITES)
        self.paced, self.seconds = self.paced + answer.paced, self.seconds + answer.computing
        rate = executors.width(self.executor) * self.paced / self.seconds if self.paced and self.seconds else None
        yield self.tell(
            task=course.task.label, done=self.progress.done + done, rate=rate,
            computed=self.progress.computed + done, error=course.spread.relative,
        )  # fmt: skip

    def _fails(self, course: Course, job: Job, answer: Answer) -> Progress:
        course.over = True
        self._settle()
        task, left = course.task, len(job.numbers) + sum(map(len, course.left))
        self.failed.add(task.id)
        facts = {**task.describe(), "error": answer.error, "traceback": answer.trace}
        self.folder.location.put(failure_key(task.id), to_json(facts))
        total = self.progress.total - left
        return self.tell(f"{task.label} failed with {answer.error}", total=total, failed=len(self.failed))

    def _merged(self, task: Task, plan: Block, cover: Cover) -> Merger:
        """The sums of what is there up to the first gap: a rule may stop at nothing else."""
        return Merger(self.folder, task.id, plan, cover, self.specification.rule).take(gaps=False)

    def merge(self) -> tuple[dict[str, Outcome], list[str], bool]:
        """Outcomes of all tasks that did not fail, keys of damaged blocks and plans, and whether some are missing."""
        present, failures, ready = self.folder.present(self.chunks), self.folder.failures(), []
        for task in self.tasks:
            cover = present[task.id]
            complete = not cover.missing()
            if task.id in self.failed or (task.id in failures and not complete):
                self.failed.add(task.id)
            elif not cover or (self.specification.rule is None and not complete):
                return {}, [], True
            else:
                ready.append((task, complete))
        outcomes, damaged = {}, []
        for task, complete in ready:
            plan = self.folder.plan(task.id)
            if plan is None:
                damaged.append(plan_key(task.id))
                continue
            merger = self._merged(task, plan[1], present[task.id])
            damaged += merger.damaged
            if not merger.damaged and not (merger.stopped or complete):
                return {}, [], True
            self.taken[task.id] = merger.taken
            if merger.taken:
                outcomes[task.id] = outcome(merger.result(), self.specification.readings)
        return outcomes, damaged, False


def _gone(error: BaseException) -> EngineError:
    return EngineError(
        f"Those who compute are gone: {type(error).__name__}: {error}. What was written is sound; see that the workers "
        "run and have enough memory, then run the same command again."
    )
