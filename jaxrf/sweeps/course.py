"""One task on its way: which of its chunks are to be asked for next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from jaxrf.base.ranges import Ranges
from jaxrf.statistics import Until
from jaxrf.statistics.running import Spread
from jaxrf.sweeps.blocks import Chunks
from jaxrf.tasks.task import Task


@dataclass(eq=False)
class Course:
    """What is left of one task, and what is known of it.

    Jobs of a task that was never begun wait for its plan, which the first of them brings.

    Attributes:
        task: which.
        plan: how it is run, once that is known.
        spread: of the maps so far.
        parts: numbers of chunks to be computed, each part when all before it is there; none where the plan alone is wanted.
        left: of the present part, what was not asked for.
        flying: how many of its jobs are out.
        begun: whether a job of it was answered in this start.
        lost: how many of its jobs never came back.
        over: whether nothing more is to be asked for.
    """

    task: Task
    spread: Spread
    plan: bytes | None = None
    parts: Iterator[Ranges] = field(default_factory=lambda: iter(()))
    left: list[Ranges] = field(default_factory=list)
    flying: int = 0
    begun: bool = False
    lost: int = 0
    over: bool = False

    def ready(self) -> bool:
        """Whether there is a job to be done now."""
        if self.over or (self.plan is None and self.flying):
            return False
        if not self.left and not self.flying:
            self.left = [part for part in [next(self.parts, None)] if part is not None]
            self.over = not self.left
        return bool(self.left)

    def take(self, slots: int) -> Ranges:
        """The chunks of the next job: all at first, as far as there is time, so that a small task is opened once.

        Then one of `slots` equal shares of what is left, so that all who compute end together.
        """
        numbers = self.left.pop()
        share = -(-len(numbers) // slots) if self.begun else len(numbers)
        if share < len(numbers):
            self.left.append(numbers[share:])
        self.flying += 1
        return numbers[:share]


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
    """The chunks between one look of a rule and the next; all of them where there is none.

    Where bad photos are left out, the cap is reached later than this knows, so that looks go on behind it.

    >>> windows(Chunks(Ranges([(0, 300)]), images=1, size=1), Until(0.01, cap=100))
    [range(0, 32), range(32, 64), range(64, 100), range(100, 200), range(200, 300)]
    """
    step, samples = (chunks.pieces, chunks.images) if chunks.levels > 1 else (1, chunks.size)
    looks, look = [0], rule.next_check(0) if rule else 0
    while rule and (steps := -(-look // samples)) * step < len(chunks):
        looks.append(steps * step)
        seen = steps * samples
        look = rule.next_check(seen) if seen < rule.cap else 2 * seen
    return [range(*ends) for ends in pairwise([*looks, len(chunks)])]
