"""The place of a sweep: what lies where, whose it is, and what is already there.

    sweep.json          the specification and the hashes; its presence makes the place ours
    plans/ID            how a task is run: batches, geometry, device; the first process to open the task writes it
    blocks/ID/A-B/I-J   maps of images I to J - 1 under the seeds A to B - 1
    failures/ID.json    why a task failed
    damaged/...         blocks that did not have their checksum
    done.json           what was finished, with checksums; see `record`
    results.zarr, table.csv, run.json    written at the end

Everything but sweep.json and the results is written once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jaxrf.errors import StoreError
from jaxrf.store.blocks import Block, decode
from jaxrf.store.location import Location, to_json
from jaxrf.sweeps.blocks import Chunks, Cover, by_task
from jaxrf.sweeps.task import Task, plan_key

MARK = "sweep.json"
PAGE = 2**13
"""Blocks that are listed at a time, of those that a sweep may have."""


@dataclass(frozen=True, eq=False)
class Folder:
    """A sweep's place.

    Attributes:
        location: where it is.
        reading: whether what is damaged is left where it is, instead of being set aside.
    """

    location: Location
    reading: bool = False

    @classmethod
    def at(cls, place: str | os.PathLike[str], reading: bool = False) -> Folder:
        """The place of a path or URL, see `jaxrf.store.location.Location.at`."""
        return cls(Location.at(place), reading)

    def block(self, key: str) -> Block | None:
        """The block at `key`, or None where there is none; a damaged one is set aside and is none.

        Raises:
            StoreError: the place cannot be reached.
        """
        return self.checked(key, self.location.read(key))

    def checked(self, key: str, data: bytes | None) -> Block | None:
        """The block that `data` read at `key` is."""
        if data is None:
            return None
        try:
            return decode(key, data)
        except StoreError:
            if not self.reading:
                self.location.set_aside(key)
            return None

    def plan(self, task: Task) -> Block | None:
        """How a task is run, if it was ever opened."""
        return self.block(plan_key(task.id))

    def plan_bytes(self, task: Task) -> bytes | None:
        """The same as it is written."""
        key = plan_key(task.id)
        data = self.location.read(key)
        return data if self.checked(key, data) else None

    def add_plan(self, task: Task, plan: bytes) -> bytes:
        """Write a task's plan unless there is one; the one that is there then."""
        self.add_block(plan_key(task.id), plan)
        found = self.plan_bytes(task)
        if found is None:
            raise StoreError(
                f"{self.location.name}/{plan_key(task.id)} was written and is not there. Is the place shared properly?"
            )
        return found

    def add_block(self, key: str, data: bytes) -> None:
        """Write a block unless there is one.

        Raises:
            StoreError: the place is no longer this sweep's: somebody removed it.
        """
        self.check_there()
        try:
            self.location.add(key, data)
        finally:
            self.check_there(key)

    def check_there(self, *written: str) -> None:
        """Raise if the sweep was removed; what was `written` since is removed too.

        Raises:
            StoreError: its mark is gone.
        """
        if self.location.read(MARK) is None:
            for key in written:
                self.location.remove(key)
            raise StoreError(
                f"{self.location.name}/{MARK} is gone: the sweep was removed while it ran. Run the same command again to "
                "start anew, or put the folder back to go on."
            )

    def present(self, chunks: Mapping[str, Chunks]) -> dict[str, Cover]:
        """What is there of tasks, by their ids, of which the chunks are given by their ids."""
        below = "blocks/" if len(chunks) > 1 else f"blocks/{next(iter(chunks))}/"
        found = by_task(self.location.pages(below, _cuts(chunks)))
        return {task: Cover(own, found.get(task)) for task, own in chunks.items()}

    def failures(self) -> dict[str, dict[str, Any]]:
        """What went wrong, by the id of the task."""
        keys = self.location.listed("failures/")
        return {key.removeprefix("failures/").removesuffix(".json"): self.location.read_json(key) for key in keys}

    def note_failure(self, task: Task, facts: Mapping[str, Any]) -> None:
        """Record that a task failed, over what it failed of before."""
        self.location.put(f"failures/{task.id}.json", to_json({**task.describe(), **facts}))

    def forget_failure(self, task: Task) -> None:
        """Of a task that is done now."""
        self.location.remove(f"failures/{task.id}.json")


def _cuts(chunks: Mapping[str, Chunks]) -> Iterator[str]:
    """Keys of blocks between which there are about `PAGE` others, were each chunk in a block of its own."""
    held = 0
    for task in sorted(chunks):
        own = chunks[task]
        step = max(1, PAGE // own.pieces)
        for level in range(0, own.levels, step):
            some = min(step, own.levels - level) * own.pieces
            if held + some > PAGE:
                yield f"blocks/{task}/{own[level * own.pieces][0] or 0:08d}"
                held = 0
            held += some
