"""Reading a sweep, finished or running: its tasks, their results so far, and exports. Runs no model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrf import store
from jaxrf.base.html import facts
from jaxrf.errors import InputError, StoreError, listed
from jaxrf.results.result import Result
from jaxrf.results.stacked import Entry, axes_of, find, outcome, stack, table
from jaxrf.sweeps import record
from jaxrf.sweeps.blocks import Chunks, Cover, by_task, plan_key
from jaxrf.sweeps.folder import Folder
from jaxrf.sweeps.merge import Merger
from jaxrf.tasks.specification import ASKED, Asked

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """A sweep on disk or in a bucket; what it says is what is there when it is asked.

    Attributes:
        folder: its place.
        asked: seeds, rule and measures.
        specification: what is to be done, as it was written down.
        entries: its tasks, in their order.
    """

    folder: Folder
    asked: Asked
    specification: Mapping[str, Any]
    entries: tuple[Entry, ...]

    def __repr__(self) -> str:
        return f"Sweep at {self.folder.name}: " + "; ".join(f"{name} {what}" for name, what in self._said())

    def _repr_html_(self) -> str:
        return facts(f"Sweep at {self.folder.name}", self._said())

    def _said(self) -> list[tuple[str, str]]:
        axes = [f"{name.removeprefix('model.')} ({len(values)})" for name, values in axes_of(self.entries).items()]
        measures = [label for label, *_ in self.asked.readings]
        return [("tasks", f"{len(self)}"), ("axes", ", ".join(axes) or "none"), ("measures", ", ".join(measures))]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def find(self, **place: Any) -> Entry:
        """The one task with these values on the axes; `depth` stands for `model.depth`.

        Raises:
            UnknownNameError: there is no such axis.
            InputError: no task has them, or several have.
        """
        return find(self.entries, place)

    def count(self, entry: Entry) -> int:
        """How many chunks of a task, some images under one seed, are there."""
        return sum(len(merger.cover) for merger in self._there([entry]))

    def _there(self, entries: Sequence[Entry]) -> Iterator[Merger]:
        """Those tasks of which chunks are there; nothing is summed yet.

        Raises:
            StoreError: a plan is damaged, or missing where blocks are.
        """
        plans = {entry.id: self.folder.plan(entry.id) for entry in entries}
        chunks = {task: Chunks(self.asked.seed_numbers, *plan[1][0]["images"]) for task, plan in plans.items() if plan}
        present = self.folder.present(chunks) if chunks else {}
        for entry in entries:
            plan, cover = plans[entry.id], present.get(entry.id)
            if plan is None or cover is None:
                if self._done() or self.folder.listed(f"blocks/{entry.id}/"):
                    raise self._faulty(entry.place, "its plan", plan_key(entry.id))
            elif cover or self._done():
                yield Merger(self.folder, entry.id, plan[1], cover, self.asked.rule)

    def _done(self) -> bool:
        return record.finished(self.folder) is not None

    def _faulty(self, place: Mapping[str, Any], what: str, *keys: str) -> StoreError:
        return StoreError(
            f"Of the task {dict(place)} of {self.folder.name}, {what} cannot be read: damaged or missing "
            f"{'are' if len(keys) > 1 else 'is'} {listed(keys)}. Run the same command again, which makes it anew."
        )

    def result(self, entry: Entry | None = None, **place: Any) -> Result:
        """The result of a task from the blocks that are there; all of them, or those that `until` counts.

        Args:
            entry: the task; or
            place: its values on the axes, as for `find`.

        Raises:
            InputError: nothing is there yet.
            StoreError: blocks are damaged, or missing although the sweep was finished; says which, and moves nothing.
        """
        entry = entry or self.find(**place)
        if not isinstance(entry, Entry):
            raise InputError(f"{entry!r} is not a task of this sweep. Name values on its axes, such as depth=10.")
        for merger in self._there([entry]):
            return self._merged(merger)
        raise InputError(f"The task {dict(entry.place)} has no blocks yet. Wait, or see .failures().")

    def _merged(self, merger: Merger) -> Result:
        merger.take(gaps=True)
        chunks, missing = merger.cover.chunks, merger.cover.missing()
        (place,) = (entry.place for entry in self.entries if entry.id == merger.task)
        if merger.damaged:
            lost = len(Cover(chunks, by_task(merger.damaged).get(merger.task)).there)
            raise self._faulty(place, f"{lost} of {len(chunks)} chunks", *merger.damaged)
        if missing and not merger.stopped and self._done():
            raise self._faulty(place, f"{len(missing)} of {len(chunks)} chunks", f"the chunks {missing}")
        return merger.result()

    def failures(self) -> dict[str, str]:
        """Tracebacks of tasks that failed, by their ids."""
        return {name: facts["traceback"] for name, facts in self.folder.failures().items()}

    def table(self) -> list[dict[str, Any]]:
        """A row per task and unit that has blocks: places on the axes, counts, measures."""
        labels = [label for label, *_ in self.asked.readings]
        header, lines = table(self.entries, self._outcomes(), labels)
        return [dict(zip(header, line, strict=True)) for line in lines]

    def to_xarray(self) -> xarray.Dataset:
        """All that is there as one dataset, with the axes of the sweep as dimensions."""
        from jaxrf.store.netcdf_file import dataset

        stacked, labels = self._stacked()
        return dataset(stacked).assign_coords(labels)

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> Path:
        """Write all that is there as one array per quantity: `.npz`, `.nc`, or a folder (Zarr v3).

        Labels of axes that are words stand in the header alone.
        """
        return store.save(path, self._stacked()[0], overwrite)

    def _stacked(self) -> tuple[store.Record, dict[str, list[str]]]:
        outcomes = self._outcomes()
        if not outcomes:
            raise InputError(f"The sweep at {self.folder.name} has no blocks yet. Wait, or see .failures().")
        return stack(self.asked.readings, self.specification, self.entries, outcomes)

    def _outcomes(self) -> dict[str, Any]:
        readings = self.asked.readings
        return {found.task: outcome(self._merged(found), readings) for found in self._there(self.entries)}


def at(folder: Folder) -> Sweep:
    """The sweep at a place.

    Raises:
        StoreError: there is none, or its record is damaged.
    """
    mark = record.read(folder)
    entries = tuple(Entry(one["id"], one["place"]) for one in mark["tasks"])
    described = mark["specification"]
    return Sweep(folder, Asked(**{key: described[key] for key in ASKED}), described, entries)


def open(place: str | os.PathLike[str]) -> Sweep:
    """The sweep at a path or URL, which may still be running.

    A process that was forked afterwards is aborted when it reads; start such processes by "spawn" or "forkserver".

    Args:
        place: the folder, or URL `gs://`, `s3://`, `memory://`, that the sweep writes to.

    Warns:
        UserWarning: the table or another result beside the blocks is not what was written at the end.

    Raises:
        StoreError: there is no sweep, or its record is damaged.

    Example:
        >>> from jaxrf.tasks import Specification
        >>> from jaxrf.sweeps.run import run
        >>> plan = Specification(model={"source": "zoo:conv_stack", "width": [2, 3], "depth": 1}, input="8x9x3")
        >>> for progress in run(plan, "memory://opened"): pass
        >>> opened = open("memory://opened")
        >>> len(opened), opened.result(width=3).mean.shape
        (2, (1, 3, 3))
    """
    found = at(Folder.at(place))
    if changed := record.finished(found.folder):
        warnings.warn(
            f"Of {found.folder.name}, {listed(changed)} {'is' if len(changed) == 1 else 'are'} not what was "
            "written; what is read here comes from the blocks. Run the same command again, which writes it anew.",
            stacklevel=2,
        )
    return found


def is_done(folder: Folder, asked: Mapping[str, Any]) -> bool:
    """Whether just what is asked for was finished, and all that it is made of is there and sound; nothing is moved.

    Args:
        folder: its place.
        asked: its record, as `record.of` makes it.
    """
    try:
        found = at(folder)
        same = record.completion(record.read(folder)) == record.completion(asked)
        if not same or record.finished(folder) != []:
            return False
        for entry in found:
            found.result(entry)
    except StoreError:
        return False
    return True
