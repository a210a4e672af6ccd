"""Blocks become a result: on the host, in float64, in the order of seeds and images, whoever computed them when."""

from __future__ import annotations

import math
from itertools import tee
from typing import Any

import numpy as np

from jaxrf.results.mapped import Mapped
from jaxrf.results.result import Result
from jaxrf.statistics import Until, gathered
from jaxrf.store.blocks import Block
from jaxrf.sweeps.blocks import Cover, Made, chunks_of
from jaxrf.sweeps.folder import Folder, checked


class Merger:
    """Sums of the blocks of one task.

    Args:
        folder: where the blocks are.
        task: the id of the task.
        plan: of the task.
        cover: what is there of the task.
        rule: when to stop.

    Attributes:
        total: what was gathered.
        stopped: whether the rule was satisfied; nothing is taken after that.
        damaged: keys of blocks that cannot be read, and which are not in the sums.
    """

    def __init__(self, folder: Folder, task: str, plan: Block, cover: Cover, rule: Until | None = None):
        self.folder, self.task, self.cover, self._rule = folder, task, cover, rule
        self._plan, self._start = plan, (plan[0]["average"], plan[0].get("room", gathered.MEMORY))
        self.total = gathered.init((1,), *self._start)
        self.stopped, self.damaged = False, list[str]()
        self._reached, self._look = False, rule.next_check(0) if rule else math.inf
        self._last, self._own = -1, np.zeros(2)
        self._hosts, self._bad, self._certificate = set[str](), dict[str, None](), dict[str, Any]()

    def take(self, *, gaps: bool) -> Merger:
        """Add all chunks that are there; those behind the first that is not only where there may be `gaps`.

        It may stop, as `jaxrf.erf` does, after each seed; or after each chunk where there is one seed.
        """
        chunks, missing = self.cover.chunks, self.cover.missing()
        ahead, stretches = tee(self.cover.stretches(missing[0] if missing and not gaps else None))
        step = chunks.pieces if chunks.levels > 1 else 1
        read = self.folder.read_all(area.key(self.task) for area, _ in ahead)
        for (_, numbers), (key, data) in zip(stretches, read, strict=True):
            block = checked(key, data)
            if block is None:  # damaged, or set aside by another process since it was listed
                self.damaged.append(key)
                continue
            header, found = block[0], chunks_of(*block)
            self._hosts.add(header["host"])
            self._certificate = self._certificate or {k: header[k] for k in ("certificate",) if k in header}
            for number in numbers:
                self._add(number, found[chunks[number]])
                if (number + 1) % step == 0 and self._stops():
                    return self
        return self

    def _add(self, number: int, made: Made) -> None:
        maps, first = made.maps, made.work[1][0]
        if not self.total.count:
            self.total = gathered.init(maps.shape[1:], *self._start)
        if len(maps):  # none of photos that cannot be read
            level = number // self.cover.chunks.pieces
            self.total = gathered.update(self.total, maps, level, range(first, first + len(maps)))
        if self._plan[0]["images_interact"]:
            self._own += np.abs(maps).sum(dtype=np.float64), made.other_images.sum(dtype=np.float64)
        self._bad.update(dict.fromkeys(made.bad))
        self._last = number

    def _stops(self) -> bool:
        if self._rule and self.total.count >= self._look:
            self._look = self._rule.next_check(self.total.count)
            result = self.result()
            self._reached = self._rule.reached(result)
            self.stopped = self._reached or self._rule.stops(result)
        return self.stopped

    def result(self) -> Result:
        """The result of what was taken."""
        facts = {"hosts": sorted(self._hosts), "unreadable": list(self._bad), **self._certificate}
        if (seeds := self.cover.chunks.seeds) is not None:
            facts["seeds"] = str(seeds[: self._last // self.cover.chunks.pieces + 1])
        if self._rule is not None and self.total.count:
            facts["until"] = {"error": self._rule.error, "reached": self._reached}
        return Mapped.of(*self._plan).result(self.total, self._own, facts)
