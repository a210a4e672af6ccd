"""Run a sweep to its end, whatever happens on the way; it can be stopped at any moment and started again.

Yields its progress; prints nothing. What is done is known from the place alone, never from memory.
Workers get values and give bytes; this process alone reads and writes the place.
"""

from __future__ import annotations

import threading
import time
import uuid
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxrf.errors import EngineError, InputError, StoreError
from jaxrf.results.stacked import Outcome, outcome
from jaxrf.store.blocks import Block
from jaxrf.sweeps import record
from jaxrf.sweeps.blocks import Chunks, Cover, by_task
from jaxrf.sweeps.course import Course, share, windows
from jaxrf.sweeps.engines import Engine, engine
from jaxrf.sweeps.folder import Folder
from jaxrf.sweeps.job import Answer, Job
from jaxrf.sweeps.merge import Merger
from jaxrf.sweeps.progress import Progress
from jaxrf.sweeps.ranges import Ranges
from jaxrf.sweeps.specification import Asked
from jaxrf.sweeps.task import Task, tasks
from jaxrf.sweeps.writing import write_results

WRITES = 16
"""Blocks that may wait to be written while others are computed."""
WRITERS = 4
"""Threads that write: each mostly waits for the disk."""
LOSSES = 5
"""Jobs of a task that may be lost with their workers before the sweep gives up."""
TICK = 0.1
"""Seconds between two questions whether to stop."""


def run(
    specification: Asked,
    place: str | Path,
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
        executor: who computes, instead.
        shard: number of this process and of all, where several share the place and nothing else; each does its share.
        stop: asked after every chunk; when it is true, what is computed is written, and the run ends.
        strict: whether a photo that cannot be read is an error instead of being left out and counted.
        mix_devices: whether blocks of another kind of device may be added to a task.
        command: words that started it, for the record.

    Yields:
        `Progress`, the last one with how it ended. Nothing in a process that only serves another one's sweep.

    Raises:
        InputError: the shard is out of range; no such engine.
        StoreError: the place is another's, or cannot be reached. Nothing written is damaged; start again.
        EngineError: those who compute are gone. Nothing written is lost; start again.

    Example:
        >>> from jaxrf.sweeps import Specification
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
    folder, every = Folder.at(place), tasks(specification)
    chunks = {task.id: task.chunks(specification.seed_numbers) for task in every}
    total = sum(map(len, chunks.values()))
    if record.is_done(folder, specification, chunks):
        yield Progress("", total, total, state="done")
        return
    began = time.time()
    with engine(on, executor) as computing:
        if computing is None:
            return
        record.claim(folder, specification, every)
        sweep = _Sweep(specification, every, folder, shard, computing, stop, strict, mix_devices)
        sweep.progress = Progress("", 0, total)
        yield from sweep.compute(sweep.own())
        while not stop():
            results, damaged, missing = sweep.merge()
            if damaged:
                yield sweep.tell(*(f"{key} was damaged; it was set aside and is made anew" for key in damaged))
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


@dataclass(eq=False)
class _Sweep:
    """The state of one start of a sweep."""

    specification: Asked
    tasks: list[Task]
    folder: Folder
    shard: tuple[int, int]
    engine: Engine
    stop: Callable[[], bool]
    strict: bool
    mix: bool
    progress: Progress = field(init=False)
    start: str = field(default_factory=lambda: uuid.uuid4().hex)
    failed: set[str] = field(default_factory=set)
    known: dict[str, Cover] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    stale: set[str] = field(default_factory=set)
    taken: dict[str, int] = field(default_factory=dict)
    paced: int = 0
    seconds: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event)

    def chunks(self, task: Task) -> Chunks:
        """All chunks of a task."""
        return task.chunks(self.specification.seed_numbers)

    def present(self) -> dict[str, Cover]:
        """What is there, by the ids of the tasks."""
        known, self.known = self.known, {}
        return known or self.folder.present({task.id: self.chunks(task) for task in self.tasks})

    def tell(self, *messages: str, **changes: Any) -> Progress:
        """The progress, changed, with messages that are told once."""
        self.progress = replace(self.progress, **changes)
        told, self.messages = (*self.messages, *messages), []
        return replace(self.progress, messages=told)

    def end(self, state: str) -> Progress:
        """How it ended."""
        return self.tell(state=state, failed=len(self.failed))

    def own(self) -> list[tuple[Task, list[Ranges]]]:
        """This shard's share of what is not there, task by task."""
        self.known = self.present()
        wanted = []
        for number, task in enumerate(self.tasks):
            mine = share(windows(self.chunks(task), self.specification.rule), self.shard, number, len(self.tasks))
            missing = [self.known[task.id].missing(window.start, window.stop) for window in mine]
            if any(missing):
                wanted.append((task, [some for some in missing if some]))
        self.progress = replace(self.progress, done=sum(len(cover) for cover in self.known.values()))
        return wanted

    def lost(self, damaged: Sequence[str]) -> list[tuple[Task, list[Ranges]]]:
        """What was set aside, task by task; of a plan alone, no chunks."""
        found = by_task(damaged)
        ids = {key.split("/")[1] for key in damaged}
        return [
            (task, [Cover(self.chunks(task), found.get(task.id)).there[:]]) for task in self.tasks if task.id in ids
        ]

    def compute(self, wanted: list[tuple[Task, list[Ranges]]]) -> Iterator[Progress]:
        """Have chunks computed, and write them."""
        yield self.tell()
        if not wanted:
            return
        self.known, self.stale = {}, {*self.folder.failures()}
        waiting = deque(wanted)
        out: dict[Future[Answer], tuple[Course, Job]] = {}
        begun: list[Course] = []
        with ThreadPoolExecutor(WRITERS, "jaxrf-writer") as writer:
            try:
                while True:
                    self._fill(begun, waiting, out)
                    if not out:
                        break
                    for future in wait(out, TICK, FIRST_COMPLETED).done:
                        yield from self._received(future, *out.pop(future), writer)
                    if self.stop():
                        for future in out:
                            future.cancel()  # those that are being computed go on to their end
                for course in begun:
                    _written(course, 0)
            finally:
                self.ended.set()
                for future in out:
                    future.cancel()
        self.ended.clear()

    def _fill(self, begun: list[Course], waiting: deque[tuple[Task, list[Ranges]]], out: dict[Any, Any]) -> None:
        """Keep those who compute busy: each with a task of its own while there are enough."""
        if self.stop():
            return
        width = self.engine.width()
        while len(out) < (width + 1 if self.engine.local else 2 * width):
            ready = [course for course in begun if course.ready()]
            for course in [course for course in begun if course.over]:
                begun.remove(course)
                self.progress = replace(self.progress, total=self.progress.total - course.left)
            course = min(ready, key=lambda one: one.flying, default=None)
            if waiting and (course is None or course.flying) and len(begun) < width:
                course = self._begin(*waiting.popleft())
                begun.append(course)
            if course is None:
                return
            if course.ready():
                plenty = not self.engine.local and len(waiting) + len(begun) > width
                job = course.job(self.start, width, self.engine.local, plenty, self.strict, self.mix)
                out[self._submitted(job)] = course, job

    def _begin(self, task: Task, missing: list[Ranges]) -> Course:
        plan = self.folder.plan_bytes(task)
        course = Course(task, self.chunks(task), deque(missing), lambda: self._look(task), plan)
        self.progress = replace(self.progress, task=task.label)
        return course

    def _submitted(self, job: Job) -> Future[Answer]:
        try:
            return self.engine.submit(job, lambda: self.ended.is_set() or self.stop())
        except Exception as error:
            raise _gone(error) from error

    def _received(self, future: Future[Answer], course: Course, job: Job, writer: Any) -> Iterator[Progress]:
        course.flying -= 1
        if future.cancelled() and self.stop():
            return
        try:
            answer = future.result()
        except (Exception, CancelledError) as error:  # the worker died, or its answer was lost
            course.lost += 1
            if course.lost > LOSSES or isinstance(error, BrokenExecutor):
                raise _gone(error) from error
            course.back(job.numbers, empty=True)
            return
        if answer.refused:
            raise StoreError(str(answer.error).partition(": ")[2])
        if answer.error is not None:
            yield self._fails(course, answer)
            return
        if course.task.id in self.stale:
            self.stale.remove(course.task.id)
            self.folder.forget_failure(course.task)
        if course.plan is None:
            assert answer.plan is not None  # as in every answer without an error
            course.plan = self.folder.add_plan(course.task, answer.plan)
            if course.plan != answer.plan:  # another process began the task at the same moment, in another way
                course.back(job.numbers)
                return
        course.back(job.numbers[answer.done :])
        course.learn(answer)
        course.writes += [writer.submit(self.folder.add_block, key, data) for key, data in answer.blocks]
        _written(course, WRITES)
        yield self._advanced(course, answer)

    def _advanced(self, course: Course, answer: Answer) -> Progress:
        self.paced, self.seconds = self.paced + answer.paced, self.seconds + answer.computing
        rate = self.engine.width() * self.paced / self.seconds if self.paced and self.seconds else None
        return self.tell(
            task=course.task.label, done=self.progress.done + answer.done, rate=rate,
            computed=self.progress.computed + answer.done, error=course.spread.relative,
        )  # fmt: skip

    def _fails(self, course: Course, answer: Answer) -> Progress:
        course.over = True
        _written(course, 0)
        self.failed.add(course.task.id)
        self.folder.note_failure(course.task, {"error": answer.error, "traceback": answer.trace})
        return self.tell(f"{course.task.label} failed with {answer.error}", failed=len(self.failed))

    def _look(self, task: Task) -> Ranges | None:
        """None if the rule stops at what is there; what must be made anew before it can look; or nothing."""
        plan = self.folder.plan(task) if self.specification.rule else None
        if plan is None or task.id in self.failed:
            return Ranges([])
        merger = self._merged(task, plan, self.folder.present({task.id: self.chunks(task)})[task.id])
        self.messages += [f"{key} was damaged; it was set aside and is made anew" for key in merger.damaged]
        if merger.damaged:
            return Cover(self.chunks(task), by_task(merger.damaged).get(task.id)).there[:]
        return None if merger.stopped else Ranges([])

    def _merged(self, task: Task, plan: Block, cover: Cover) -> Merger:
        """The sums of what is there up to the first gap: a rule may stop at nothing else."""
        chunks, missing = self.chunks(task), cover.missing()
        gapless = missing[0] if missing else len(chunks)
        merger = Merger(self.folder, task.id, plan, chunks, self.specification.rule)
        merger.take(cover, 0, gapless)
        if gapless % chunks.pieces == 0:
            merger.finish()
        return merger

    def merge(self) -> tuple[dict[str, Outcome], list[str], bool]:
        """Outcomes of all tasks that did not fail, keys of damaged blocks and plans, and whether some are missing."""
        present, failures, ready = self.present(), self.folder.failures(), []
        for task in self.tasks:
            cover = present[task.id]
            complete = len(cover) == len(self.chunks(task))
            if task.id in self.failed or (task.id in failures and not complete):
                self.failed.add(task.id)
            elif not cover or (self.specification.rule is None and not complete):
                return {}, [], True
            else:
                ready.append((task, complete))
        outcomes, damaged = {}, []
        for task, complete in ready:
            plan = self.folder.plan(task)
            if plan is None:
                damaged.append(f"plans/{task.id}")
                continue
            merger = self._merged(task, plan, present[task.id])
            damaged += merger.damaged
            if not merger.damaged and not (merger.stopped or complete):
                return {}, [], True
            self.taken[task.id] = merger.taken
            if merger.taken:
                outcomes[task.id] = outcome(merger.result(), self.specification.readings)
        return outcomes, damaged, False


def _written(course: Course, most: int) -> None:
    """Wait until at most so many blocks of a task are under way."""
    while len(course.writes) > most or (course.writes and course.writes[0].done()):
        course.writes.pop(0).result()


def _gone(error: BaseException) -> EngineError:
    return EngineError(
        f"Those who compute are gone: {type(error).__name__}: {error}. What was written is sound; see that the workers "
        "run and have enough memory, then run the same command again."
    )
