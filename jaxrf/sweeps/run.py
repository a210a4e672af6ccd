"""Run a sweep to its end, whatever happens on the way; it can be stopped at any moment and started again.

Yields its progress; prints nothing. What is done is known from the place alone, never from memory.
Workers get values and give bytes; this process alone reads and writes the place.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from jaxrf.base import executors
from jaxrf.base.provenance import moment
from jaxrf.base.ranges import Ranges
from jaxrf.errors import InputError, StoreError
from jaxrf.results.stacked import Outcome, outcome
from jaxrf.statistics.running import Spread
from jaxrf.store.location import to_json
from jaxrf.sweeps import record
from jaxrf.sweeps.blocks import Chunks, Cover, by_task, plan_key
from jaxrf.sweeps.course import Course, share, windows
from jaxrf.sweeps.folder import Folder, failure_key
from jaxrf.sweeps.job import Answer, Job, compute
from jaxrf.sweeps.merge import Merger
from jaxrf.sweeps.progress import Progress
from jaxrf.sweeps.results import is_done
from jaxrf.sweeps.worker import Terms
from jaxrf.sweeps.writing import write_results
from jaxrf.tasks.held import Sweepable
from jaxrf.tasks.task import Task

WRITERS, WRITES, WAITING = 4, 16, 2**26
"""Threads that write, each of which mostly waits for the disk; and blocks, and bytes, that may wait for them."""
LOSSES = 5
"""Jobs of a task that may be lost with their workers before the sweep gives up."""


def run(
    specification: Sweepable,
    place: str | os.PathLike[str],
    *,
    on: str | Executor | None = None,
    shard: tuple[int, int] = (0, 1),
    stop: Callable[[], bool] = lambda: False,
    command: Sequence[str] = (),
    **terms: Any,
) -> Iterator[Progress]:
    """Run what is left of a sweep.

    Args:
        specification: what to do.
        place: a folder, or a URL.
        on: who computes, as `jaxrf.base.executors.executor` takes it.
        shard: number of this process and of all, where several share the place and nothing else; each does its share.
        stop: asked after every chunk; when it is true, what is computed is written, and the run ends.
        command: words that started it, for the record.
        terms: strict, mix_devices and memory, as of `Terms`.

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
    allowed, began = Terms(**terms), time.time()
    folder, tasks = Folder.at(place), specification.tasks()
    asked = record.of(specification, tasks)
    chunks = {task.id: Chunks.of(task, specification.seed_numbers) for task in tasks}
    progress = Progress("", 0, sum(map(len, chunks.values())))
    if is_done(folder, asked):
        yield replace(progress, done=progress.total, state="done")
        return
    with executors.executor(on) as executor:
        if executor is None:
            return
        record.claim(folder, asked)
        sweep = _Sweep(specification, tasks, chunks, folder, shard, executor, stop, allowed, progress)
        yield from sweep.compute()
        if not stop():
            yield from sweep.compute(adding_up=True)
            sweep.failed |= folder.failures().keys() & {task.id for task in sweep.left()}  # elsewhere
        state = "stopped" if stop() else "waiting" if sweep.left() else "failed" if sweep.failed else "done"
        if state in ("failed", "done"):
            folder.check_there()
            about = {"command": list(command), "began": moment(began)}
            write_results(folder, specification, tasks, sweep.outcomes, **about)
        if state == "done":
            record.note_done(folder)
        yield sweep.tell(state=state)


@dataclass(eq=False)
class _Sweep:
    """The state of one start of a sweep."""

    specification: Sweepable
    tasks: list[Task]
    chunks: dict[str, Chunks]
    folder: Folder
    shard: tuple[int, int]
    executor: Executor
    stop: Callable[[], bool]
    terms: Terms
    progress: Progress
    start: str = field(default_factory=lambda: uuid.uuid4().hex)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    paced: int = 0
    seconds: float = 0.0

    def __post_init__(self):
        self.local = isinstance(self.executor, ThreadPoolExecutor)
        self.numbers = {task.id: number for number, task in enumerate(self.tasks)}

    def tell(self, *messages: str, **changes: Any) -> Progress:
        """The progress, changed, with messages that are told once."""
        self.progress = replace(self.progress, failed=len(self.failed), **changes)
        told, self.messages = (*self.messages, *messages), []
        return replace(self.progress, messages=told)

    def left(self) -> list[Task]:
        """Tasks that are neither done nor failed in this start."""
        return [task for task in self.tasks if task.id not in self.outcomes and task.id not in self.failed]

    def compute(self, adding_up: bool = False) -> Iterator[Progress]:
        """Have the chunks of this share computed, and write them.

        Or add up what is there of each task, and have computed what is damaged of it: where nothing is missing, but by a rule.
        """
        self.present, self.adding_up = self.folder.present(self.chunks), adding_up
        self.waiting, self.begun = deque(self.left()), list[Course]()
        if adding_up and not self.specification.rule:
            elsewhere = self.folder.failures()
            if any(self.present[task.id].missing() for task in self.waiting if task.id not in elsewhere):
                return
        self.writes = deque[Future[None]]()
        yield self.tell(done=sum(map(len, self.present.values())))
        with ThreadPoolExecutor(WRITERS, "jaxrf-writer") as self.writer:
            for job, course, answer in executors.answers(self.executor, compute, self._next, self.stop):
                course.flying -= 1
                yield from self._received(job, course, answer)
            self._settle()

    def _next(self, flying: int) -> tuple[Job, Course] | None:
        """A job for those who compute, until there are enough of them: each a task of its own while that is possible."""
        width = executors.width(self.executor)
        slots = width + 1 if self.local else 2 * width
        while flying < slots and not self.stop():
            course = min((one for one in self.begun if one.ready()), key=lambda one: one.flying, default=None)
            self.begun = [one for one in self.begun if not one.over]
            if self.waiting and (course is None or course.flying) and len(self.begun) < width:
                course = self._begin(self.waiting.popleft())
                self.begun.append(course)
            if course is None:
                return None
            if course.ready():
                plenty = course.plan is not None or len(self.waiting) + len(self.begun) > width
                terms = replace(self.terms, sharing=executors.sharing(self.executor))
                task, numbers = course.task, course.take(slots)
                patient = plenty and not self.local
                job = Job(self.start, task, self.chunks[task.id], numbers, course.plan, terms, patient)
                return job, course
        return None

    def _begin(self, task: Task) -> Course:
        chunks = self.chunks[task.id]
        course = Course(task, Spread(chunks.images, by_seed=chunks.levels > 1))
        course.parts = self._parts(course)
        return course

    def _parts(self, course: Course) -> Iterator[Ranges]:
        """The chunks of a task that are to be computed here, part by part; of a lost plan, none.

        A rule looks at what is there before each part, and at last all is added up. What is damaged then is made anew.
        """
        task, rule = course.task, self.specification.rule
        chunks, cover = self.chunks[task.id], self.present[task.id]
        own = share(windows(chunks, rule), self.shard, self.numbers[task.id], len(self.tasks))
        while True:
            missing = [some for window in own if (some := cover.missing(window.start, window.stop))]
            complete = not cover.missing()
            looks = cover and (rule or (complete and self.adding_up))
            if not looks and not missing:
                return
            plan = self.folder.plan(task.id)
            course.plan, damaged = plan and plan[0], [] if plan else [plan_key(task.id)]
            if looks:
                merger = plan and Merger(self.folder, task.id, plan[1], cover, rule).take(gaps=False)
                damaged = merger.damaged if merger else damaged
                if merger and not damaged and (merger.stopped or complete):
                    self.outcomes[task.id] = outcome(merger.result(), self.specification.readings)
                    self.progress = replace(self.progress, total=self.progress.total - sum(map(len, missing)))
                    return
                if damaged:
                    self.messages += [f"{key} was damaged; it was set aside and is made anew" for key in damaged]
                    missing = [Cover(chunks, by_task(damaged).get(task.id)).there[:]]
                    self.progress = replace(self.progress, done=self.progress.done - len(missing[0]))
            for key in damaged:
                self.folder.mend(key)
            if not missing:
                return
            yield missing[0]
            self._settle()
            cover = self.folder.present({task.id: chunks})[task.id]

    def _settle(self, most: int = 0) -> None:
        """Wait until at most so many blocks are still to be written."""
        while len(self.writes) > most or (self.writes and self.writes[0].done()):
            self.writes.popleft().result()

    def _received(self, job: Job, course: Course, answer: Answer | BaseException) -> Iterator[Progress]:
        if isinstance(answer, BaseException):  # the worker died, or its answer was lost
            course.lost += 1
            if course.lost > LOSSES:
                raise executors.gone(answer)
            course.left.append(job.numbers)
            return
        if answer.refused:
            raise StoreError(str(answer.error).partition(": ")[2])
        if answer.error is not None:
            yield self._fails(job, course, answer)
            return
        if not course.begun:
            self.folder.remove(failure_key(course.task.id))  # of an earlier start
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
        for key, data in answer.blocks:
            self._settle(min(WRITES, WAITING // len(data)))
            self.writes.append(self.writer.submit(self.folder.add_block, key, data))
        self.paced, self.seconds = self.paced + answer.paced, self.seconds + answer.computing
        rate = executors.width(self.executor) * self.paced / self.seconds if self.paced and self.seconds else None
        yield self.tell(
            task=course.task.label, done=self.progress.done + done, rate=rate,
            computed=self.progress.computed + done, error=course.spread.relative,
        )  # fmt: skip

    def _fails(self, job: Job, course: Course, answer: Answer) -> Progress:
        course.over = True
        self._settle()
        task, left = course.task, len(job.numbers) + sum(map(len, course.left))
        self.failed.add(task.id)
        facts = {**task.describe(), "error": answer.error, "traceback": answer.trace}
        self.folder.put(failure_key(task.id), to_json(facts))
        total = self.progress.total - left
        return self.tell(f"{task.label} failed with {answer.error}", total=total)
