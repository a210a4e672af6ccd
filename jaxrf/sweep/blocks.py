"""Chunks in blocks: how they are put together, and which block holds which chunk.

A chunk is some images under one seed: what is computed, and then summed, at a time.
A block is a file of chunks, all those of some consecutive seeds and images; about a second of work.
No number depends on which chunks share a block, so a block may end whenever the clock says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from jaxrf.store.blocks import encode

Span = tuple[int, int]
"""First and one past the last of some images."""
Work = tuple[int | None, Span]
"""A chunk: its seed, and its images."""
KEY = re.compile(r"blocks/(\w+)/(?:given|(\d+)-(\d+))/(\d+)-(\d+)")
ARRAYS = ("maps", "elsewhere")


def spans(count: int, size: int) -> list[Span]:
    """The images of each chunk under one seed.

    >>> spans(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(first, min(first + size, count)) for first in range(0, count, size)]


@dataclass(frozen=True, eq=False)
class Made:
    """A chunk that was computed.

    Attributes:
        work: which.
        arrays: "maps" (image, unit, *spatial) and "elsewhere" (image, unit).
        bad: name and fault of each image that was left out.
    """

    work: Work
    arrays: Mapping[str, np.ndarray]
    bad: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Of its arrays."""
        return sum(array.nbytes for array in self.arrays.values())


class Area(NamedTuple):
    """What a block holds: consecutive seeds, or None for the given weights, and the same images of each."""

    seeds: range | None
    span: Span

    def key(self, task: str) -> str:
        """Where the block lies.

        >>> Area(range(3, 5), (0, 16)).key("a")
        'blocks/a/00000003-00000005/00000000-00000016'
        """
        seeds = "given" if self.seeds is None else f"{self.seeds.start:08d}-{self.seeds.stop:08d}"
        return f"blocks/{task}/{seeds}/{self.span[0]:08d}-{self.span[1]:08d}"

    @classmethod
    def of(cls, key: str) -> Area | None:
        """What the key of a block says; None for foreign files."""
        found = KEY.fullmatch(key)
        if found is None:
            return None
        first, stop, lo, hi = (None if part is None else int(part) for part in found.groups()[1:])
        return cls(None if first is None or stop is None else range(first, stop), (int(lo or 0), int(hi or 0)))

    def chunks(self, pieces: Iterable[Span]) -> Iterator[Work]:
        """Its chunks, of those that `pieces` are the images of."""
        inside = [one for one in pieces if self.span[0] <= one[0] and one[1] <= self.span[1]]
        for seed in [None] if self.seeds is None else self.seeds:
            yield from ((seed, one) for one in inside)


def areas(chunks: Sequence[Made]) -> list[tuple[Area, list[Made]]]:
    """Consecutive chunks as few blocks: whole seeds together, and what is begun or left of a seed by itself."""
    found: list[tuple[Area, list[Made]]] = []
    for seed, group in groupby(chunks, key=lambda made: made.work[0]):
        own = list(group)
        span = (own[0].work[1][0], own[-1].work[1][1])
        last = found[-1][0] if found else None
        if last and last.seeds is not None and seed == last.seeds.stop and span == last.span:
            found[-1] = (Area(range(last.seeds.start, last.seeds.stop + 1), span), [*found[-1][1], *own])
        else:
            found.append((Area(None if seed is None else range(seed, seed + 1), span), own))
    return found


def to_bytes(key: str, chunks: Sequence[Made], header: Mapping[str, Any]) -> bytes:
    """A block of chunks."""
    rows = [[made.work[0], *made.work[1], len(made.arrays["maps"]), list(made.bad)] for made in chunks]
    arrays = {name: np.concatenate([made.arrays[name] for made in chunks]) for name in ARRAYS}
    return encode(key, {**header, "chunks": rows}, arrays)


def chunks_of(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[Work, Made]:
    """The chunks of a block."""
    found, at = {}, 0
    for seed, first, stop, count, bad in header["chunks"]:
        part = {name: arrays[name][at : at + count] for name in ARRAYS}
        found[(seed, (first, stop))] = Made((seed, (first, stop)), part, tuple(bad))
        at += count
    return found


@dataclass(eq=False)
class Cover:
    """Which chunks of a task are on disk, and where.

    Attributes:
        keys: of the task's blocks.
        pieces: the images of each chunk under one seed.
    """

    keys: Sequence[str]
    pieces: Sequence[Span]
    _where: dict[Work, str] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        for key in sorted(self.keys):
            area = Area.of(key)
            for work in area.chunks(self.pieces) if area else ():
                self._where.setdefault(work, key)  # two blocks may hold a chunk: they agree about it

    def __contains__(self, work: Work) -> bool:
        return work in self._where

    def __getitem__(self, work: Work) -> str:
        return self._where[work]


def by_task(keys: Iterable[str]) -> dict[str, list[str]]:
    """Keys of blocks by the id of their task; foreign files are left out."""
    found: dict[str, list[str]] = {}
    for key in keys:
        if match := KEY.fullmatch(key):
            found.setdefault(match[1], []).append(key)
    return found
