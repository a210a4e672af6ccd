"""One task on its way: which of its chunks are to be asked for next, and how many at a time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import pairwise

from jaxrf.statistics import Until
from jaxrf.sweeps.blocks import Chunks
from jaxrf.sweeps.job import LONGEST, Answer, Job
from jaxrf.sweeps.progress import Spread
from jaxrf.sweeps.ranges import Ranges
from jaxrf.sweeps.task import Task

SECONDS = 1.0
"""Of work in a job where no task need be opened for it: what a kill loses at most of each job in hand."""
LEAST = 0.1
"""Seconds below which the last chunks of a task are not divided further."""


@dataclass(eq=False)
class Course:
    """What is left of one task, and what is known of it.

    Jobs of a task that was never begun wait for its plan, which the first of them brings.

    Attributes:
        task: which.
        chunks: all of it.
        windows: numbers of chunks to be computed, each set before the next.
        look: called between two windows; what must be computed before the next one, or None to stop.
        plan: how it is run, once that is known.
        flying: how many of its jobs are out.
        writes: of its blocks, under way.
        lost: how many of its jobs never came back.
    """

    task: Task
    chunks: Chunks
    windows: deque[Ranges]
    look: Callable[[], Ranges | None]
    plan: bytes | None = None
    flying: int = 0
    writes: list[Future[None]] = field(default_factory=list)
    lost: int = 0
    over: bool = False

    def __post_init__(self):
        self._left: deque[Ranges] = deque()
        self._opening, self._computing, self._paced = 0.0, 0.0, 0
        self.spread = Spread(self.chunks.images, by_seed=self.chunks.levels > 1)

    def ready(self) -> bool:
        """Whether there is a job to be done now."""
        if self.over or (self.plan is None and self.flying):
            return False
        if not self._left and not self.flying:
            self._next()
        return bool(self._left)

    def _next(self) -> None:
        for write in self.writes:
            write.result()
        self.writes.clear()
        again = self.look() if self.windows else None
        if again:
            self._left.append(again)
        elif again is None:
            self.over = True
        else:
            self._left.append(self.windows.popleft())

    def job(self, start: str, width: int, local: bool, plenty: bool, strict: bool, mix: bool) -> Job:
        """The next job: about `SECONDS` of work, or as long as another process would need to open the task.

        Near the end less, so that all `width` of those who compute end together. The first job of a task goes on for as
        long as opening it took only where there are `plenty` of other tasks for the others.
        """
        seconds = SECONDS if local else max(SECONDS, min(self._opening, LONGEST))
        numbers = self._left.popleft()
        if self._paced:
            pace = max(self._computing / self._paced, 1e-9)
            fair = max(math.ceil(len(numbers) / width), math.ceil(LEAST / pace))
            count = max(1, min(fair, math.ceil(seconds / pace)))
            if count < len(numbers):
                self._left.appendleft(numbers[count:])
                numbers = numbers[:count]
        self.flying += 1
        patient = plenty and self.plan is None
        return Job(start, self.task, self.chunks, numbers, self.plan, seconds, patient, strict, mix)

    def back(self, numbers: Ranges, empty: bool = False) -> None:
        """Chunks that are still to be done; or none, but the plan."""
        if numbers or empty:
            self._left.appendleft(numbers)

    @property
    def left(self) -> int:
        """How many chunks were not asked for."""
        return sum(map(len, self._left)) + sum(map(len, self.windows))

    def learn(self, answer: Answer) -> None:
        """What an answer says of how long things take, and how sure the maps are."""
        self._opening = max(self._opening, answer.opening)
        self._computing, self._paced = self._computing + answer.computing, self._paced + answer.paced
        self.spread.add(answer.sums)


def share(windows: Sequence[range], shard: tuple[int, int], number: int, count: int) -> list[range]:
    """A shard's part of the windows of task `number` of `count`: whole rounds of tasks are dealt out, the rest divided.

    >>> share([range(4), range(4, 7)], (1, 2), 0, 1), share([range(4)], (1, 2), 1, 2)
    ([range(2, 4), range(5, 7)], [range(0, 4)])
    """
    index, shards = shard
    if number < count - count % shards:
        return list(windows) if number % shards == index else []
    return [w[len(w) * index // shards : len(w) * (index + 1) // shards] for w in windows]


def windows(chunks: Chunks, rule: Until | None) -> list[range]:
    """The chunks between one look of a rule and the next."""
    return [range(*ends) for ends in pairwise([0, *looks(chunks, rule)])]


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
