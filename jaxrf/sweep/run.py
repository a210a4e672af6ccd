"""Run a sweep to its end, whatever happens on the way; it can be stopped after any chunk and started again.

Yields its progress; prints nothing. What is done is known from the place alone, never from memory.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from jaxrf.errors import InputError, StoreError
from jaxrf.statistics import Until
from jaxrf.sweep.blocks import Chunks, Cover, Work, by_task
from jaxrf.sweep.folder import Block, Folder, completion
from jaxrf.sweep.lanes import deal, on_device, share, together
from jaxrf.sweep.merge import Merger
from jaxrf.sweep.ranges import Ranges
from jaxrf.sweep.specification import Specification
from jaxrf.sweep.spread import Spread
from jaxrf.sweep.task import Task, tasks
from jaxrf.sweep.worker import Batch, Worker, open_task
from jaxrf.sweep.writing import Outcome, outcome, write_results

WRITES = 16
"""Blocks that may wait to be written while the next one is computed."""
WRITERS = 4
"""Threads that write: each mostly waits for the disk."""


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    What is counted are chunks: up to `images_per_chunk` images under one seed.

    Attributes:
        task: what is being worked on, in words.
        done: chunks that are there, of all processes as far as known.
        total: chunks that there will be; fewer where `until` stops earlier.
        computed: chunks computed by this process.
        failed: tasks that failed in this process.
        state: "running"; and at the end "done", "waiting" (for other processes), "stopped" (when asked to) or "failed"
            (some tasks, the others are done).
        error: of what this process computed of the task, the relative standard error of the maps' sums.
        messages: what is to be told: failures, damaged blocks.
    """

    task: str
    done: int
    total: int
    computed: int = 0
    failed: int = 0
    state: str = "running"
    error: float | None = None
    messages: tuple[str, ...] = ()


def run(
    specification: Specification,
    place: str | Path,
    *,
    shard: tuple[int, int] = (0, 1),
    stop: Callable[[], bool] = lambda: False,
    strict: bool = False,
    mix_devices: bool = False,
    command: Sequence[str] = (),
) -> Iterator[Progress]:
    """Run what is left of a sweep.

    Whole rounds of tasks are dealt out to the shards; those left over are divided.
    Whichever process finds everything there writes the results.

    Args:
        specification: what to do.
        place: a folder, or a URL `gs://`, `s3://`, `memory://`.
        shard: number of this process and of all; each does its share.
        stop: asked after every chunk; when it is true, what is computed is written, and the run ends.
        strict: whether a photo that cannot be read is an error instead of being left out and counted.
        mix_devices: whether blocks of another kind of device may be added to a task.
        command: words that started it, for the record.

    Yields:
        `Progress`, the last one with how it ended.

    Raises:
        InputError: the shard is out of range.
        StoreError: the place is another's, or cannot be reached. Nothing written is damaged; start again.

    Example:
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
    finished = completion(specification, every)
    total = sum(len(task.chunks(specification.seed_numbers)) for task in every)
    if folder.is_done(finished):
        yield Progress("", total, total, state="done")
        return
    folder.claim(specification, every)
    sweep = _Sweep(specification, every, folder, shard, stop, strict, mix_devices)
    sweep.progress = Progress("", 0, total)
    began = time.time()
    yield from sweep.compute()
    while not stop():
        results, damaged, missing = sweep.merge()
        if damaged:
            yield from sweep.repair(damaged)
        elif missing:
            yield sweep.end("waiting")
            return
        else:
            write_results(folder, specification, every, results, command=command, began=began)
            if not sweep.failed:
                folder.location.put("done.json", f'{{"completion": "{finished}"}}\n'.encode())
            yield sweep.end("failed" if sweep.failed else "done")
            return
    yield sweep.end("stopped")


@dataclass(eq=False)
class _Sweep:
    """The state of one process's part of a sweep; its devices share it."""

    specification: Specification
    tasks: list[Task]
    folder: Folder
    shard: tuple[int, int]
    stop: Callable[[], bool]
    strict: bool
    mix: bool
    progress: Progress = field(init=False)
    failed: set[str] = field(default_factory=set)
    known: dict[str, Cover] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.Lock)

    def chunks(self, task: Task) -> Chunks:
        """All chunks of a task."""
        return task.chunks(self.specification.seed_numbers)

    def present(self) -> dict[str, Cover]:
        """What is there, by the ids of the tasks."""
        known, self.known = self.known, {}
        return known or self.folder.present({task.id: self.chunks(task) for task in self.tasks})

    def tell(self, *messages: str, **changes) -> Progress:
        """The progress, changed, with messages that are told once."""
        with self.lock:
            self.progress = replace(self.progress, **changes)
            return replace(self.progress, messages=messages)

    def advance(self, chunks: int, error: float | None) -> Progress:
        """The progress with some more chunks."""
        with self.lock:
            done, computed = self.progress.done + chunks, self.progress.computed + chunks
            self.progress = replace(self.progress, done=done, computed=computed, error=error)
            return self.progress

    def end(self, state: str) -> Progress:
        return self.tell(state=state, failed=len(self.failed))

    def windows(self, number: int) -> list[range]:
        """This process's share of a task's chunks, between one look of the rule and the next."""
        task, (index, count) = self.tasks[number], self.shard
        windows = [range(*ends) for ends in pairwise([0, *looks(self.chunks(task), self.specification.rule)])]
        if number < len(self.tasks) - len(self.tasks) % count:
            return windows if number % count == index else []
        return share(windows, index, count)

    def compute(self) -> Iterator[Progress]:
        """This process's share of the chunks that are not there."""
        present, wanted = self.present(), []
        for number, task in enumerate(self.tasks):
            missing = [present[task.id].missing(window.start, window.stop) for window in self.windows(number)]
            if any(missing):
                wanted.append((task, missing))
        yield self.tell(done=sum(len(cover) for cover in present.values()))
        if not wanted:
            self.known = present  # and need not be listed again
        else:
            devices = local_devices()
            lanes = [self._lane(given) for given in deal(wanted, len(devices))]
            yield from together([on_device(device, lane) for device, lane in zip(devices, lanes)])

    def _lane(self, given: list[tuple[Task, list[Ranges]]]) -> Iterator[Progress]:
        """What one device does."""
        for task, windows in given:
            if self.stop():
                return
            yield from self._guarded(task, lambda task=task, windows=windows: self._task(task, windows))

    def _guarded(self, task: Task, attempt: Callable[[], Iterator[Progress]]) -> Iterator[Progress]:
        """What `attempt` yields; if the task fails, that is recorded, and the sweep goes on."""
        yield self.tell(task=task.label)
        try:
            yield from attempt()
            self.folder.forget_failure(task)
        except StoreError:
            raise
        except Exception as error:
            self.failed.add(task.id)
            facts = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
            self.folder.note_failure(task, facts)
            yield self.tell(f"{task.label} failed with {facts['error']}", failed=len(self.failed))

    def _task(self, task: Task, windows: list[Ranges]) -> Iterator[Progress]:
        worker, chunks = None, self.chunks(task)
        spread = Spread(by_seed=chunks.levels > 1)
        for window in windows:
            if not window:
                continue
            if self.specification.rule and (yield from self._look(task)):
                return
            worker = worker or self._open(task)
            yield from self._write(worker, (chunks[number] for number in window), spread)
            if self.stop():
                return

    def _open(self, task: Task) -> Worker:
        return open_task(task, self.folder, seed=self.chunks(task)[0][0], strict=self.strict, mix=self.mix)

    def _look(self, task: Task) -> Generator[Progress, None, bool]:
        """Whether the rule stops at what is there; damaged blocks are computed anew meanwhile."""
        while plan := self.folder.plan(task):
            chunks = self.chunks(task)
            merger = self._merged(task, plan, self.folder.present({task.id: chunks})[task.id])
            if not merger.damaged or self.stop():
                return merger.stopped
            yield from self._again(task, merger.damaged)
        return False

    def _merged(self, task: Task, plan: Block, cover: Cover) -> Merger:
        """The sums of what is there up to the first gap: a rule may stop at nothing else."""
        chunks, missing = self.chunks(task), cover.missing()
        gapless = missing[0] if missing else len(chunks)
        merger = Merger(self.folder, task.id, plan, chunks, self.specification.rule)
        merger.take(cover, 0, gapless)
        if gapless % chunks.pieces == 0:
            merger.finish()
        return merger

    def _write(self, worker: Worker, work: Iterable[Work], spread: Spread) -> Iterator[Progress]:
        """Compute chunks, and write their blocks while the next ones are computed."""
        with ThreadPoolExecutor(WRITERS, "jaxrf-writer") as writer:
            pending: list[Future] = []
            for block in worker.blocks(work, self.stop):
                pending.append(writer.submit(self._add, block))
                while len(pending) > WRITES or (pending and pending[0].done()):
                    pending.pop(0).result()
                for made in block.chunks:
                    spread.add(made)
                yield self.advance(len(block.chunks), spread.relative)
            for future in pending:
                future.result()

    def _add(self, block: Batch) -> None:
        self.folder.location.add(block.key, block.to_bytes())

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
            if merger.taken:
                outcomes[task.id] = outcome(merger.result(), self.specification.readings)
        return outcomes, damaged, False

    def repair(self, damaged: list[str]) -> Iterator[Progress]:
        """Make anew what was set aside."""
        for task in self.tasks:
            lost = [key for key in damaged if key.split("/")[1] == task.id]
            if lost and not self.stop():
                yield from self._guarded(task, lambda task=task, lost=lost: self._again(task, lost))

    def _again(self, task: Task, lost: list[str]) -> Iterator[Progress]:
        yield self.tell(*(f"{key} was damaged; it was set aside and is made anew" for key in lost))
        worker, chunks = self._open(task), self.chunks(task)  # a plan is made by opening the task
        wanted = Cover(chunks, by_task(lost).get(task.id)).there
        yield from self._write(worker, (chunks[number] for number in wanted), Spread(chunks.levels > 1))


def local_devices() -> list[Any]:
    """The devices of this process."""
    import jax

    return list(jax.local_devices())


def looks(chunks: Chunks, rule: Until | None) -> Iterator[int]:
    """How many chunks are to be there when the rule next looks; at last all of them.

    Where bad photos are left out, the cap is reached later than this knows, so that looks go on behind it.

    >>> list(looks(Chunks(Ranges([(0, 300)]), images=1, size=1), Until(0.01, cap=100)))
    [32, 64, 100, 200, 300]
    """
    step, samples = (chunks.pieces, chunks.images) if chunks.levels > 1 else (1, chunks.size)
    look = rule.next_check(0) if rule else 0
    while rule and (steps := -(-look // samples)) * step < len(chunks):
        yield steps * step
        seen = steps * samples
        look = rule.next_check(seen) if seen < rule.cap else 2 * seen
    yield len(chunks)
