"""Run a sweep to its end, whatever happens on the way; it can be stopped after any block and started again.

Yields its progress; prints nothing. What is done is known from the place alone, never from memory.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxrf.errors import InputError, StoreError
from jaxrf.statistics import Until
from jaxrf.sweep.folder import Folder, completion
from jaxrf.sweep.lanes import deal, on_device, together
from jaxrf.sweep.merge import Merger, Place
from jaxrf.sweep.specification import Specification
from jaxrf.sweep.task import Task, tasks
from jaxrf.sweep.worker import Work, open_task
from jaxrf.sweep.writing import Outcome, outcome, write_results

WRITES = 16
"""Blocks that may wait to be written while the next one is computed."""
WRITERS = 4
"""Threads that write: each mostly waits for the disk."""


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Attributes:
        task: what is being worked on, in words.
        done: blocks that are there, of all processes as far as known.
        total: blocks that there will be; fewer where `until` stops earlier.
        computed: blocks computed by this process.
        failed: tasks that failed in this process.
        state: "running"; and at the end "done", "waiting" (for other processes), "stopped" (when asked to) or "failed"
            (some tasks, the others are done).
        messages: what is to be told: failures, damaged blocks.
    """

    task: str
    done: int
    total: int
    computed: int = 0
    failed: int = 0
    state: str = "running"
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

    Whole rounds of tasks are dealt out to the shards; the blocks of those left over, one by one.
    Whichever process finds everything there writes the results.

    Args:
        specification: what to do.
        place: a folder, or a URL `gs://`, `s3://`, `memory://`.
        shard: number of this process and of all; each does its share.
        stop: asked after every block; when it is true, what is computed is written, and the run ends.
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

    def advance(self) -> Progress:
        """The progress with one more block."""
        with self.lock:
            done, computed = self.progress.done + 1, self.progress.computed + 1
            self.progress = replace(self.progress, done=done, computed=computed)
            return self.progress

    def end(self, state: str) -> Progress:
        return self.tell(state=state, failed=len(self.failed))

    def work(self, task: Task) -> list[Work]:
        """All blocks of a task, in order."""
        return [(seed, span) for seed in self.seeds for span in task.spans]

    def places(self, task: Task) -> list[Place]:
        return [Place(task.key(seed, span), n) for n, seed in enumerate(self.seeds) for span in task.spans]

    def mine(self, number: int, block: int) -> bool:
        """Whether a block of task `number` is this process's."""
        index, count = self.shard
        whole = len(self.tasks) - len(self.tasks) % count
        return (number if number < whole else number + block) % count == index

    def compute(self) -> Iterator[Progress]:
        """This process's share of the blocks that are not there."""
        present = self.folder.present()
        keys = {place.key for task in self.tasks for place in self.places(task)}
        yield self.tell(done=len(keys & present))
        wanted = []
        for number, task in enumerate(self.tasks):
            work = [
                (position, one)
                for position, one in enumerate(self.work(task))
                if self.mine(number, position) and task.key(*one) not in present
            ]
            if work:
                wanted.append((task, work))
        if wanted:
            devices = local_devices()
            lanes = [self._lane(share) for share in deal(wanted, len(devices))]
            yield from together([on_device(device, lane) for device, lane in zip(devices, lanes)])

    def _lane(self, share: list[tuple[Task, list[tuple[int, Work]]]]) -> Iterator[Progress]:
        """What one device does."""
        for task, wanted in share:
            if self.stop():
                return
            yield from self._guarded(task, lambda task=task, wanted=wanted: self._task(task, wanted))

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

    def _task(self, task: Task, wanted: list[tuple[int, Work]]) -> Iterator[Progress]:
        rule, worker, merger, seen = self.specification.rule, None, None, 0
        for end in looks(task, self.seeds, rule):
            plan = self.folder.plan(task) if rule and merger is None else None
            if plan is not None:
                merger = Merger(self.folder, plan, self.seeds, rule)
            if merger is not None:
                seen = self._look(task, merger, seen)
                if merger.stopped:
                    return
            some = [work for position, work in wanted if position < end]
            wanted = [(position, work) for position, work in wanted if position >= end]
            if not some:
                continue
            if worker is None:
                worker = open_task(task, self.folder, seed=self.seeds[0], strict=self.strict, mix=self.mix)
            yield from self._write(worker.blocks(some))
            if self.stop():
                return

    def _look(self, task: Task, merger: Merger, seen: int) -> int:
        """Let the rule see the blocks that are there without a gap; how many these are."""
        there = set(self.folder.location.listed(f"blocks/{task.id}/"))
        places = self.places(task)
        end = seen
        while end < len(places) and places[end].key in there:
            end += 1
        merger.take(places[seen:end])
        if end % len(task.spans) == 0:
            merger.finish()
        return end

    def _write(self, blocks: Iterable[tuple[str, bytes]]) -> Iterator[Progress]:
        """Write blocks while the next ones are computed; ends early when asked to."""
        with ThreadPoolExecutor(WRITERS, "jaxrf-writer") as writer:
            pending: list[Future] = []
            for key, data in blocks:
                pending.append(writer.submit(self.folder.location.add, key, data))
                while len(pending) > WRITES:
                    pending.pop(0).result()
                yield self.advance()
                if self.stop():
                    break
            for future in pending:
                future.result()

    def merge(self) -> tuple[dict[str, Outcome], list[str], bool]:
        """Outcomes of all tasks that did not fail, keys of damaged blocks, and whether some are missing."""
        present, failures = self.folder.present(), self.folder.failures()
        ready = []
        for task in self.tasks:
            places = self.places(task)
            there = [place for place in places if place.key in present]
            if task.id in self.failed or (task.id in failures and len(there) < len(places)):
                self.failed.add(task.id)
            elif not there or (self.specification.rule is None and len(there) < len(places)):
                return {}, [], True
            else:
                ready.append((task, there, len(there) == len(places)))
        outcomes, damaged = {}, []
        for task, there, complete in ready:
            plan = self.folder.plan(task)
            if plan is None:  # it was damaged: opening the task again writes it
                damaged.append(there[0].key)
                continue
            merger = Merger(self.folder, plan, self.seeds, self.specification.rule)
            merger.take(there)
            merger.finish()
            damaged += merger.damaged
            if not merger.damaged and not (merger.stopped or complete):
                return {}, [], True
            if merger.taken:
                outcomes[task.id] = outcome(merger.result(), self.specification.readings)
        return outcomes, damaged, False

    def repair(self, damaged: list[str]) -> Iterator[Progress]:
        """Compute blocks anew that were set aside."""
        for task in self.tasks:
            wanted = [work for work in self.work(task) if task.key(*work) in damaged]
            if wanted and not self.stop():
                yield from self._guarded(task, lambda task=task, wanted=wanted: self._again(task, wanted))

    def _again(self, task: Task, wanted: list[Work]) -> Iterator[Progress]:
        worker = open_task(task, self.folder, seed=self.seeds[0], strict=self.strict, mix=self.mix)
        yield from self._write(worker.blocks(wanted))


def local_devices() -> list[Any]:
    """The devices of this process."""
    import jax

    return list(jax.local_devices())


def looks(task: Task, seeds: Sequence[int | None], rule: Until | None) -> Iterator[int]:
    """How many blocks are to be there when the rule next looks; at last all of them."""
    every, count = len(seeds) * len(task.spans), 0
    look = rule.next_check(0) if rule else None
    for position in range(1, every):
        first, stop = task.spans[(position - 1) % len(task.spans)]
        count += stop - first
        if rule and look is not None and count >= look and (len(seeds) == 1 or position % len(task.spans) == 0):
            yield position
            look = rule.next_check(count)
    yield every
