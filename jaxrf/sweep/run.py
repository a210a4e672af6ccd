"""Run a sweep to its end, whatever happens on the way; it can be stopped after any chunk and started again.

Yields its progress; prints nothing. What is done is known from the place alone, never from memory.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from jaxrf.errors import InputError, StoreError
from jaxrf.statistics import Until
from jaxrf.sweep.blocks import Cover, Work, by_task
from jaxrf.sweep.folder import Folder, completion
from jaxrf.sweep.lanes import deal, on_device, share, together
from jaxrf.sweep.merge import Merger, Place
from jaxrf.sweep.specification import Specification
from jaxrf.sweep.spread import Spread
from jaxrf.sweep.task import Task, tasks
from jaxrf.sweep.worker import Batch, open_task
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
    total = len(specification.seed_numbers) * sum(len(task.spans) for task in every)
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
            yield sweep.tell(
                *(f"the block {key} was damaged; it was set aside and is computed anew" for key in damaged)
            )
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
    lock: Any = field(default_factory=threading.Lock)

    @property
    def seeds(self) -> list[int | None]:
        return self.specification.seed_numbers

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

    def work(self, task: Task) -> list[Work]:
        """All chunks of a task, in order."""
        return [(seed, span) for seed in self.seeds for span in task.spans]

    def places(self, task: Task, cover: Cover) -> list[Place]:
        """The chunks of a task that are there."""
        numbers = {seed: number for number, seed in enumerate(self.seeds)}
        return [Place(cover[work], numbers[work[0]], work) for work in self.work(task) if work in cover]

    def windows(self, number: int) -> list[list[Work]]:
        """This process's share of a task's chunks, between one look of the rule and the next."""
        task, (index, count) = self.tasks[number], self.shard
        work, ends = self.work(task), [0, *looks(task, self.seeds, self.specification.rule)]
        windows = [work[first:end] for first, end in pairwise(ends)]
        if number < len(self.tasks) - len(self.tasks) % count:
            return windows if number % count == index else [[] for _ in windows]
        return share(windows, index, count)

    def compute(self) -> Iterator[Progress]:
        """This process's share of the chunks that are not there."""
        present, wanted, done = by_task(self.folder.present()), [], 0
        for number, task in enumerate(self.tasks):
            cover = Cover(present.get(task.id, []), task.spans)
            done += sum(work in cover for work in self.work(task))
            missing = [[work for work in window if work not in cover] for window in self.windows(number)]
            if any(missing):
                wanted.append((task, missing))
        yield self.tell(done=done)
        if wanted:
            devices = local_devices()
            lanes = [self._lane(given) for given in deal(wanted, len(devices))]
            yield from together([on_device(device, lane) for device, lane in zip(devices, lanes)])

    def _lane(self, given: list[tuple[Task, list[list[Work]]]]) -> Iterator[Progress]:
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

    def _task(self, task: Task, windows: list[list[Work]]) -> Iterator[Progress]:
        rule, worker, merger, seen = self.specification.rule, None, None, 0
        spread = Spread(by_seed=len(self.seeds) > 1)
        for window in windows:
            plan = self.folder.plan(task) if rule and merger is None else None
            if plan is not None:
                merger = Merger(self.folder, plan, self.seeds, rule)
            if merger is not None:
                seen = self._look(task, merger, seen)
                if merger.stopped:
                    return
            if not window:
                continue
            if worker is None:
                worker = open_task(task, self.folder, seed=self.seeds[0], strict=self.strict, mix=self.mix)
            yield from self._write(worker.blocks(window, self.stop), spread)
            if self.stop():
                return

    def _look(self, task: Task, merger: Merger, seen: int) -> int:
        """Let the rule see the chunks that are there without a gap; how many these are."""
        cover = Cover(self.folder.present(task.id), task.spans)
        gapless = list(takewhile(cover.__contains__, self.work(task)))
        merger.take(self.places(task, cover)[seen : len(gapless)])
        if len(gapless) % len(task.spans) == 0:
            merger.finish()
        return len(gapless)

    def _write(self, blocks: Iterable[Batch], spread: Spread) -> Iterator[Progress]:
        """Write blocks while the next ones are computed."""
        with ThreadPoolExecutor(WRITERS, "jaxrf-writer") as writer:
            pending: list[Future] = []
            for block in blocks:
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
        """Outcomes of all tasks that did not fail, keys of damaged blocks, and whether some are missing."""
        present, failures, ready = by_task(self.folder.present()), self.folder.failures(), []
        for task in self.tasks:
            places = self.places(task, Cover(present.get(task.id, []), task.spans))
            complete = len(places) == len(self.seeds) * len(task.spans)
            if task.id in self.failed or (task.id in failures and not complete):
                self.failed.add(task.id)
            elif not places or (self.specification.rule is None and not complete):
                return {}, [], True
            else:
                ready.append((task, complete))
        outcomes, damaged = {}, []
        for task, complete in ready:
            places = self.places(task, Cover(present[task.id], task.spans))
            plan = self.folder.plan(task)
            if plan is None:  # it was damaged: opening the task again writes it
                damaged.append(places[0].key)
                continue
            merger = Merger(self.folder, plan, self.seeds, self.specification.rule)
            merger.take(places)
            merger.finish()
            damaged += merger.damaged
            if not merger.damaged and not (merger.stopped or complete):
                return {}, [], True
            if merger.taken:
                outcomes[task.id] = outcome(merger.result(), self.specification.readings)
        return outcomes, damaged, False

    def repair(self, damaged: list[str]) -> Iterator[Progress]:
        """Compute the chunks of blocks anew that were set aside."""
        keys = by_task(damaged)
        for task in self.tasks:
            lost = Cover(keys.get(task.id, []), task.spans)
            wanted = [work for work in self.work(task) if work in lost]
            if wanted and not self.stop():
                yield from self._guarded(task, lambda task=task, wanted=wanted: self._again(task, wanted))

    def _again(self, task: Task, wanted: list[Work]) -> Iterator[Progress]:
        worker = open_task(task, self.folder, seed=self.seeds[0], strict=self.strict, mix=self.mix)
        yield from self._write(worker.blocks(wanted, self.stop), Spread(by_seed=len(self.seeds) > 1))


def local_devices() -> list[Any]:
    """The devices of this process."""
    import jax

    return list(jax.local_devices())


def looks(task: Task, seeds: Sequence[int | None], rule: Until | None) -> Iterator[int]:
    """How many chunks are to be there when the rule next looks; at last all of them."""
    every, count = len(seeds) * len(task.spans), 0
    look = rule.next_check(0) if rule else None
    for position in range(1, every):
        first, stop = task.spans[(position - 1) % len(task.spans)]
        count += stop - first
        if rule and look is not None and count >= look and (len(seeds) == 1 or position % len(task.spans) == 0):
            yield position
            look = rule.next_check(count)
    yield every
