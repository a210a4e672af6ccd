"""Chunks in blocks: how they are put together, and which block holds which chunk.

A chunk is some images under one seed: what is computed, and then summed, at a time.
A block is a file of chunks, all those of some consecutive seeds and images; about a second of work.
No number depends on which chunks share a block, so a block may end whenever the clock says so.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from jaxrf.base.ranges import Ranges
from jaxrf.store.blocks import encode
from jaxrf.tasks.task import Task

Span = tuple[int, int]
"""First and one past the last of some images."""
Work = tuple[int | None, Span]
"""A chunk: its seed, None for the given weights, and its images."""
GIVEN = -1
"""The seed of the given weights, where all seeds are numbers."""
KEY = re.compile(r"blocks/(\w+)/(?:given|(\d+)-(\d+))/(\d+)-(\d+)")


@dataclass(frozen=True, eq=False)
class Chunks:
    """All chunks of a task in order, of which none is held: some images at a time, all of them under each seed.

    Attributes:
        seeds: in order; None for the given weights alone.
        images: how many there are.
        size: images per chunk; the last one under a seed may have fewer.

    Example:
        >>> list(Chunks(Ranges([(0, 2)]), images=5, size=3))
        [(0, (0, 3)), (0, (3, 5)), (1, (0, 3)), (1, (3, 5))]
    """

    seeds: Ranges | None
    images: int
    size: int

    @classmethod
    def of(cls, task: Task, seeds: Ranges | None) -> Chunks:
        """Those of a task under these seeds."""
        return cls(seeds, task.inputs.count, task.settings["images_per_chunk"])

    @property
    def levels(self) -> int:
        """How many seeds."""
        return 1 if self.seeds is None else len(self.seeds)

    @property
    def pieces(self) -> int:
        """How many chunks there are under a seed."""
        return -(-self.images // self.size)

    def __len__(self) -> int:
        return self.levels * self.pieces

    def __getitem__(self, number: int) -> Work:
        level, piece = divmod(range(len(self))[number], self.pieces)
        first = piece * self.size
        return (None if self.seeds is None else self.seeds[level]), (first, min(first + self.size, self.images))

    def numbers(self, blocks: np.ndarray) -> np.ndarray:
        """First and one past the last number (block, 2) of the chunks in blocks (block, 4), an `Area` in each row.

        The chunks of a block are in a row, since one of several seeds holds all images of each.
        """
        seeds = self.seeds or Ranges([(GIVEN, GIVEN + 1)])
        levels = seeds.below(blocks[:, :2])
        low, high = -(-blocks[:, 2] // self.size), blocks[:, 3] // self.size
        high[blocks[:, 3] >= self.images] = self.pieces
        found = levels * self.pieces + np.stack([low, high - self.pieces], axis=1)
        # Blocks that were cut in another way are foreign.
        found[(levels[:, 0] == levels[:, 1]) | ((blocks[:, 1] - blocks[:, 0] > 1) & (high - low < self.pieces))] = 0
        return found


@dataclass(frozen=True, eq=False)
class Made:
    """A chunk that was computed.

    Attributes:
        work: which.
        maps: (image, unit, *spatial).
        other_images: (image, unit), what their gradients held on other images.
        bad: name and fault of each image that was left out.
    """

    work: Work
    maps: np.ndarray
    other_images: np.ndarray
    bad: tuple[str, ...] = ()


class Area(NamedTuple):
    """What a block holds: the seeds `first` to `stop - 1`, and of each the images `low` to `high - 1`.

    The given weights are the seeds `GIVEN` to `GIVEN`.
    """

    first: int
    stop: int
    low: int
    high: int

    def key(self, task: str) -> str:
        """Where the block lies.

        >>> Area(3, 5, 0, 16).key("a"), Area(GIVEN, 0, 0, 16).key("a")
        ('blocks/a/00000003-00000005/00000000-00000016', 'blocks/a/given/00000000-00000016')
        """
        seeds = "given" if self.first == GIVEN else f"{self.first:08d}-{self.stop:08d}"
        return f"blocks/{task}/{seeds}/{self.low:08d}-{self.high:08d}"


def plan_key(task: str) -> str:
    """Where the plan of a task lies."""
    return f"plans/{task}"


def by_task(keys: Iterable[str]) -> dict[str, np.ndarray]:
    """What the blocks of each task hold, (block, 4): an `Area` in each row. Foreign files are left out.

    >>> by_task(["blocks/a/00000003-00000005/00000000-00000016", "blocks/notes.txt"])
    {'a': array([[ 3,  5,  0, 16]])}
    """
    found: dict[str, array[int]] = {}
    for key in keys:
        if match := KEY.fullmatch(key):
            task, first, stop, low, high = match.groups()
            seeds = (GIVEN, GIVEN + 1) if first is None else (int(first), int(stop))
            found.setdefault(task, array("q")).extend((*seeds, int(low), int(high)))
    return {task: np.frombuffer(numbers, np.int64).reshape(-1, 4) for task, numbers in found.items()}


def areas(chunks: Sequence[Made], images: int) -> list[tuple[Area, list[Made]]]:
    """Consecutive chunks as few blocks: seeds with all `images` together, and what is begun or left of one by itself."""
    found: list[tuple[Area, list[Made]]] = []
    for seed, group in groupby(chunks, key=lambda made: GIVEN if made.work[0] is None else made.work[0]):
        own = list(group)
        area = Area(seed, seed + 1, own[0].work[1][0], own[-1].work[1][1])
        last = found[-1][0] if found else area
        if (last.stop, *last[2:], *area[2:]) == (seed, 0, images, 0, images):
            found[-1][1].extend(own)
            found[-1] = (last._replace(stop=area.stop), found[-1][1])
        else:
            found.append((area, own))
    return found


def to_bytes(key: str, chunks: Sequence[Made], header: Mapping[str, Any]) -> bytes:
    """A block of chunks."""
    rows = [[made.work[0], *made.work[1], len(made.maps), list(made.bad)] for made in chunks]
    maps, other_images = (np.concatenate(found) for found in zip(*((one.maps, one.other_images) for one in chunks)))
    return encode(key, {**header, "chunks": rows}, {"maps": maps, "other_images": other_images})


def chunks_of(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[Work, Made]:
    """The chunks of a block."""
    found, at = {}, 0
    for seed, first, stop, count, bad in header["chunks"]:
        work, part = (seed, (first, stop)), slice(at, at + count)
        found[work] = Made(work, arrays["maps"][part], arrays["other_images"][part], tuple(bad))
        at += count
    return found


class Cover:
    """Which chunks of a task are on disk, and in which blocks.

    Args:
        chunks: all of the task.
        blocks: what is there, as `by_task` tells it. Several may hold a chunk: they agree about it.

    Attributes:
        there: numbers of the chunks that are there; a range for each block, empty where nothing is read from it.
    """

    def __init__(self, chunks: Chunks, blocks: np.ndarray | None):
        blocks = np.zeros((0, 4), np.int64) if blocks is None else blocks
        bounds = chunks.numbers(blocks)
        order = np.argsort(bounds[:, 0], kind="stable")
        bounds = bounds[order]
        # A chunk is read from the first block that holds it, and nothing from those that hold no others.
        np.maximum(bounds[1:, 0], np.maximum.accumulate(bounds[:-1, 1]), out=bounds[1:, 0])
        np.maximum(bounds[:, 1], bounds[:, 0], out=bounds[:, 1])
        self.chunks, self.there, self._blocks = chunks, Ranges(bounds), blocks[order]

    def __len__(self) -> int:
        return len(self.there)

    def missing(self, first: int = 0, stop: int | None = None) -> Ranges:
        """Numbers, from `first` to before `stop`, of the chunks that are not there."""
        return self.there.gaps(first, len(self.chunks) if stop is None else stop)

    def stretches(self, stop: int | None = None) -> Iterator[tuple[Area, range]]:
        """The chunks before number `stop` in order: each block, and the numbers of those to be read there."""
        stop = len(self.chunks) if stop is None else stop
        for (low, high), block in zip(self.there.bounds, self._blocks, strict=True):
            if numbers := range(int(low), min(int(high), stop)):
                yield Area(*block.tolist()), numbers
