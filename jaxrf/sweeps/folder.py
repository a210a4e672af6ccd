"""The place of a sweep: what lies where, whose it is, and what is already there.

    sweep.json          the specification and the hashes; its presence makes the place ours
    plans/ID            how a task is run: batches, geometry, device; the first process to open the task writes it
    blocks/ID/A-B/I-J   maps of images I to J - 1 under the seeds A to B - 1
    failures/ID.json    why a task failed
    damaged/...         blocks that did not have their checksum
    done.json           what was finished; see `completion`
    results.zarr, table.csv, run.json    written at the end

Everything but sweep.json and the results is written once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxrf.errors import StoreError
from jaxrf.store.blocks import Block, decode
from jaxrf.store.location import Location, to_json
from jaxrf.sweeps.blocks import Chunks, Cover, by_task
from jaxrf.sweeps.specification import Asked
from jaxrf.sweeps.task import Task, plan_key

MARK, DONE = "sweep.json", "done.json"
PAGE = 2**13
"""Blocks that are listed at a time, of those that a sweep may have."""


@dataclass(frozen=True, eq=False)
class Folder:
    """A sweep's place."""

    location: Location

    @classmethod
    def at(cls, place: str | Path) -> Folder:
        """The place of a path or URL, see `jaxrf.store.location.Location.at`."""
        return cls(Location.at(place))

    def claim(self, specification: Asked, tasks: Sequence[Task]) -> None:
        """Make the place this sweep's, or go on with it.

        Raises:
            StoreError: another sweep is there, with what differs; something else is there; it cannot be written.
        """
        record = {"program": "jaxrf", "kind": "sweep", "specification": specification.to_dict(), **_facts(tasks)}
        record["tasks"] = [{"id": task.id, "place": dict(task.place)} for task in tasks]
        earlier = self.location.read_json(MARK)
        if earlier is None:
            self._check_free(tasks)
            if self.location.add(MARK, to_json(record)):
                return
            earlier = self.location.read_json(MARK)  # somebody started the same moment
        if not isinstance(earlier, Mapping) or earlier.get("kind") != "sweep":
            raise StoreError(f"{self.location.name}/{MARK} was not written by a sweep. Choose another place.")
        lines = specification.differences(earlier["specification"])
        lines += _changes(earlier["environment"], record["environment"])
        lines += _changes(earlier["hashes"], {**earlier["hashes"], **record["hashes"]}, added=True)
        if lines:
            raise StoreError(
                f"{self.location.name} holds another sweep. What differs:\n  " + "\n  ".join(lines) + "\n"
                "More seeds, and more values on an axis, can be added; for anything else choose another place."
            )
        record["hashes"] = {**earlier["hashes"], **record["hashes"]}
        if record != earlier:
            self.location.put(MARK, to_json(record))
        else:
            self.location.check()  # that it cannot be written is better known before anything is computed

    def _check_free(self, tasks: Sequence[Task]) -> None:
        """Nothing is there, or what a removal of the folder left of these tasks, which is sound."""
        own = [start for task in tasks for start in (f"blocks/{task.id}/", plan_key(task.id), f"failures/{task.id}.json")]
        found = [key for key in self.location.listed() if not key.startswith(tuple(own))]
        if found and MARK not in found:  # with the mark, somebody started the same moment
            raise StoreError(
                f"{self.location.name} is not empty and holds no sweep: {', '.join(found[:3])}"
                f"{f' and {len(found) - 3} more' if len(found) > 3 else ''}. Choose another place."
            )

    def specification(self) -> dict[str, Any]:
        """The record that `claim` wrote.

        Raises:
            StoreError: there is none.
        """
        found = self.location.read_json(MARK)
        if not isinstance(found, Mapping) or found.get("kind") != "sweep":
            raise StoreError(f"There is no sweep at {self.location.name}. Give the place that was passed as --out.")
        return dict(found)

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

    def note_done(self, completion: str) -> None:
        """Record that just this sweep was finished."""
        self.location.put(DONE, to_json({"completion": completion}))

    def is_done(self, completion: str) -> bool:
        """Whether just this sweep was finished, see `completion`."""
        found = self.location.read_json(DONE)
        return isinstance(found, Mapping) and found.get("completion") == completion


def completion(specification: Asked, tasks: Iterable[Task]) -> str:
    """A hash of all that the results depend on: the tasks' ids, seeds, stopping rule and measures."""
    asked = {key: value for key, value in specification.to_dict().items() if key in ("seeds", "until", "measures")}
    text = json.dumps([asked, [task.id for task in tasks]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


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


def _facts(tasks: Sequence[Task]) -> dict[str, Any]:
    """What the tasks' facts are, each once."""
    shared = {key: value for key, value in tasks[0].facts.items() if key not in ("source", "inputs", "variables")}
    hashes = {}
    for task in tasks:
        named = {"source": task.settings["model"]["source"], **{k: task.settings[k] for k in ("inputs", "variables")}}
        hashes |= {f"{key} {named[key]}": value for key, value in task.facts.items() if key in named}
    return {"environment": shared, "hashes": hashes}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], added: bool = False) -> list[str]:
    """A line for each entry that differs; those that are new are none where they may be `added`."""
    lines = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += [f"{key}.{line}" for line in _changes(old, new)]
        elif old != new and not (added and key not in before):
            lines.append(f"{key}: {old!r} there, {new!r} now")
    return lines
