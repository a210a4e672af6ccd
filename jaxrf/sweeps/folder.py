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

from collections.abc import Mapping
from typing import Any

from jaxrf.errors import StoreError
from jaxrf.store.blocks import Block, decode
from jaxrf.store.location import Location
from jaxrf.sweeps.blocks import Chunks, Cover, by_task, plan_key

MARK = "sweep.json"


def failure_key(task: str) -> str:
    """Where it lies why a task failed."""
    return f"failures/{task}.json"


def checked(key: str, data: bytes | None) -> Block | None:
    """The block that `data` read at `key` is; None where it is damaged, or there is none."""
    try:
        return None if data is None else decode(key, data)
    except StoreError:
        return None


class Folder(Location):
    """A location with a sweep, by what lies there."""

    def plan(self, task: str) -> tuple[bytes, Block] | None:
        """How the task with this id is run, as it is written and as a block; None where it was never opened, or is damaged."""
        data = self.read(plan_key(task))
        block = checked(plan_key(task), data)
        return None if data is None or block is None else (data, block)

    def mend(self, key: str) -> None:
        """Set aside what is at a key where it is damaged."""
        data = self.read(key)
        if data is not None and checked(key, data) is None:
            self.set_aside(key)

    def add_plan(self, task: str, plan: bytes) -> bytes:
        """Write a task's plan unless there is one; the one that is there then."""
        self.add_block(plan_key(task), plan)
        found = self.plan(task)
        if found is None:
            raise StoreError(
                f"{self.name}/{plan_key(task)} was written and is not there. Is the place shared properly?"
            )
        return found[0]

    def add_block(self, key: str, data: bytes) -> None:
        """Write a block unless there is one.

        Raises:
            StoreError: the place is no longer this sweep's: somebody removed it.
        """
        self.check_there()
        try:
            self.add(key, data)
        finally:
            self.check_there(key)

    def check_there(self, *written: str) -> None:
        """Raise if the sweep was removed; what was `written` since is removed too.

        Raises:
            StoreError: its mark is gone.
        """
        if self.read(MARK) is None:
            for key in written:
                self.remove(key)
            raise StoreError(
                f"{self.name}/{MARK} is gone: the sweep was removed while it ran. Run the same command again to start "
                "anew, or put the folder back to go on."
            )

    def present(self, chunks: Mapping[str, Chunks]) -> dict[str, Cover]:
        """What is there of tasks, by their ids, of which the chunks are given by their ids."""
        below = f"blocks/{next(iter(chunks))}/" if len(chunks) == 1 else "blocks/"
        found = by_task(self.listed(below))
        return {task: Cover(own, found.get(task)) for task, own in chunks.items()}

    def failures(self) -> dict[str, dict[str, Any]]:
        """What went wrong, by the id of the task."""
        keys = self.listed("failures/")
        return {key.removeprefix("failures/").removesuffix(".json"): self.read_json(key) for key in keys}
