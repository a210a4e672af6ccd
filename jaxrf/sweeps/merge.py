"""Blocks become a result: on the host, in float64, in the order of seeds and images, whoever computed them when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import tee
from typing import Any

import numpy as np

from jaxrf.geometry.row import Row
from jaxrf.results.result import Result
from jaxrf.statistics import Gathered, Until, gathered
from jaxrf.store.blocks import Block
from jaxrf.sweeps.blocks import Cover, Made, chunks_of
from jaxrf.sweeps.folder import Folder


@dataclass(eq=False)
class Merger:
    """Sums of the blocks of one task.

    Attributes:
        folder: where the blocks are.
        task: the id of the task.
        plan: of the task.
        cover: what is there of the task.
        rule: when to stop.
        total: what was gathered.
        taken: how many chunks.
        last: the number of the chunk that was taken last.
        stopped: whether the rule was satisfied; nothing is taken after that.
        reached: whether the wanted error was reached then; a rule also stops at its cap.
        damaged: keys of blocks that were set aside, and which are not in the sums.
    """

    folder: Folder
    task: str
    plan: Block
    cover: Cover
    rule: Until | None = None
    total: Gathered | None = None
    taken: int = 0
    last: int = -1
    stopped: bool = False
    reached: bool = False
    damaged: list[str] = field(default_factory=list)

    def __post_init__(self):
        self._look = self.rule.next_check(0) if self.rule else math.inf
        self._own = np.zeros(2)
        self._hosts: set[str] = set()
        self._bad: dict[str, None] = {}
        self._certificate: Any = None

    def take(self, *, gaps: bool) -> Merger:
        """Add all chunks that are there; those behind the first that is not only where there may be `gaps`.

        It may stop, as `jaxrf.erf` does, after each seed; or after each chunk where there is one seed.
        """
        chunks, missing = self.cover.chunks, self.cover.missing()
        ahead, stretches = tee(self.cover.stretches(missing[0] if missing and not gaps else None))
        step = chunks.pieces if chunks.levels > 1 else 1
        read = self.folder.location.read_all(area.key(self.task) for area, _ in ahead)
        for (_, numbers), (key, data) in zip(stretches, read, strict=True):
            block = self.folder.checked(key, data)
            if block is None:  # damaged, or set aside by another process since it was listed
                self.damaged.append(key)
                continue
            found = chunks_of(*block)
            for number in numbers:
                self._add(number, found[chunks[number]], block[0])
                if (number + 1) % step == 0 and self._stops():
                    return self
        return self

    def _add(self, number: int, made: Made, header: Mapping[str, Any]) -> None:
        maps, first = made.maps, made.work[1][0]
        if self.total is None:
            self.total = gathered.init(maps.shape[1:], self.plan[0]["average"])
        if len(maps):  # none of photos that cannot be read
            level = number // self.cover.chunks.pieces
            self.total = gathered.update(self.total, maps, level, range(first, first + len(maps)))
        if self.plan[0]["images_interact"]:
            self._own += np.abs(maps).sum(dtype=np.float64), made.other_images.sum(dtype=np.float64)
        self._hosts.add(header["host"])
        self._bad.update(dict.fromkeys(made.bad))
        self._certificate = header.get("certificate") if self._certificate is None else self._certificate
        self.taken, self.last = self.taken + 1, number

    def _stops(self) -> bool:
        if self.rule and self.total is not None and self.total.count >= self._look:
            self._look = self.rule.next_check(self.total.count)
            result = self.result()
            self.reached = self.rule.reached(result)
            self.stopped = self.reached or self.rule.stops(result)
        return self.stopped

    def result(self) -> Result:
        """The result of what was taken.

        Raises:
            InputError: nothing was.
        """
        header, arrays = self.plan
        summary = gathered.finalize(self.total or gathered.init((len(arrays["units"]),), header["average"]))
        facts = {**header["provenance"], "hosts": sorted(self._hosts), "unreadable": list(self._bad)}
        if self._certificate is not None:
            facts["certificate"] = self._certificate
        if (seeds := self.cover.chunks.seeds) is not None:
            facts["seeds"] = str(seeds[: self.last // self.cover.chunks.pieces + 1])
        if self.rule is not None and self.total is not None:
            facts["until"] = {"error": self.rule.error, "reached": self.reached}
        if header["images_interact"]:
            facts["share_on_own_image"] = float(self._own[0] / self._own.sum()) if self._own.any() else 1.0
        row = Row.from_dict(header["theoretical"])
        return Result(
            **vars(summary),
            origin=arrays["origin"],
            units=arrays["units"],
            theoretical=row,
            score=header["score"],
            channels=header["channels"],
            input_shape=row.input_shape,
            provenance=facts,
        )
