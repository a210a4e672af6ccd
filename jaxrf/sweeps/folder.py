"""The place of a sweep: what lies where, and what is already there.

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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxrf.errors import StoreError
from jaxrf.store.blocks import Block, decode
from jaxrf.store.location import Location
from jaxrf.sweeps.blocks import Chunks, Cover, by_task, plan_key

MARK = "sweep.json"


def failure_key(task: str) -> str:
    """Where it lies why a task failed."""
    return f"failures/{task}.json"


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

    def checked(self, key: str, data: bytes | None) -> Block | None:
        """The block that `data` read at `key` is, or None where there is none; a damaged one is set aside and is none."""
        if data is None:
            return None
        try:
            return decode(key, data)
        except StoreError:
            if not self.reading:
                self.location.set_aside(key)
            return None

    def plan(self, task: str) -> tuple[bytes, Block] | None:
        """How the task with this id is run, as it is written and as a block, if it was ever opened."""
        data = self.location.read(plan_key(task))
        block = self.checked(plan_key(task), data)
        return None if data is None or block is None else (data, block)

    def add_plan(self, task: str, plan: bytes) -> bytes:
        """Write a task's plan unless there is one; the one that is there then."""
        self.add_block(plan_key(task), plan)
        found = self.plan(task)
        if found is None:
            raise StoreError(
                f"{self.location.name}/{plan_key(task)} was written and is not there. Is the place shared properly?"
            )
        return found[0]

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
        below = f"blocks/{next(iter(chunks))}/" if len(chunks) == 1 else "blocks/"
        found = by_task(self.location.listed(below))
        return {task: Cover(own, found.get(task)) for task, own in chunks.items()}

    def failures(self) -> dict[str, dict[str, Any]]:
        """What went wrong, by the id of the task."""
        keys = self.location.listed("failures/")
        return {key.removeprefix("failures/").removesuffix(".json"): self.location.read_json(key) for key in keys}
