"""What a sweep writes down of itself: whose the place is, and that it was finished. Both records carry a checksum.

What was finished is believed only where the record, the blocks and the results that it was written with are still there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrf.base.ranges import Ranges
from jaxrf.errors import StoreError
from jaxrf.store.location import Location, signed
from jaxrf.store.record import checksum
from jaxrf.sweeps.blocks import Chunks, plan_key
from jaxrf.sweeps.folder import MARK, Folder, failure_key
from jaxrf.tasks.specification import SINGLE, Asked
from jaxrf.tasks.task import Task

DONE = "done.json"
FREE = ("name", "measures", "until")
"""Keys that may change between runs on one folder: they change no number of a map."""
RESULTS = ("table.", "run.json", "results.zarr/")


def claim(folder: Folder, specification: Asked, tasks: Sequence[Task]) -> None:
    """Make the place this sweep's, or go on with it.

    Raises:
        StoreError: another sweep is there, with what differs; something else is there; it cannot be written.
    """
    location = folder.location
    record = {"program": "jaxrf", "kind": "sweep", "specification": specification.to_dict(), **_facts(tasks)}
    record["tasks"] = [{"id": task.id, "place": dict(task.place)} for task in tasks]
    try:
        earlier = location.read_record(MARK)
    except StoreError:
        _check_own(location, tasks)  # so that nothing else depends on what is lost
        location.set_aside(MARK)
        earlier = None
    if earlier is None:
        _check_own(location, tasks)
        if location.add(MARK, signed(record)):
            return
        earlier = location.read_record(MARK) or {}  # somebody started the same moment
    if earlier.get("kind") != "sweep":
        raise StoreError(f"{location.name}/{MARK} was not written by a sweep. Choose another place.")
    record["hashes"] = {**earlier["hashes"], **record["hashes"]}  # new ones may be added
    if lines := differences(earlier, record):
        raise StoreError(
            f"{location.name} holds another sweep. What differs:\n  " + "\n  ".join(lines) + "\n"
            "More seeds, and more values on an axis, can be added; for anything else choose another place."
        )
    if record != earlier:
        location.put_record(MARK, record)
    else:
        location.check()  # that it cannot be written is better known before anything is computed


def _check_own(location: Location, tasks: Sequence[Task]) -> None:
    """Nothing is there, or what a removal of the folder, or damage of its mark, left of these tasks, which is sound."""
    own = [start for task in tasks for start in (f"blocks/{task.id}/", plan_key(task.id), failure_key(task.id))]
    found = [key for key in location.listed() if not key.startswith((*own, DONE, *RESULTS, "damaged/", MARK))]
    if found:
        raise StoreError(
            f"{location.name} is not empty and holds no sweep: {', '.join(found[:3])}"
            f"{f' and {len(found) - 3} more' if len(found) > 3 else ''}. Choose another place."
        )


def specification(folder: Folder) -> dict[str, Any]:
    """The record that `claim` wrote.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    found = folder.location.read_record(MARK)
    if found is None or found.get("kind") != "sweep":
        raise StoreError(f"There is no sweep at {folder.location.name}. Give the place that was passed as --out.")
    return found


def note_done(folder: Folder, taken: Mapping[str, int]) -> None:
    """Record that the sweep was finished.

    Args:
        folder: its place, with its results.
        taken: how many chunks the results are of, by the ids of the tasks.
    """
    location = folder.location
    results = [key for key in location.listed() if key.startswith(RESULTS)]
    files = {key: _hash(data) for key, data in location.read_all(results)}
    location.put_record(DONE, {"completion": completion(specification(folder)), "files": files, "taken": dict(taken)})


def finished(folder: Folder) -> dict[str, Any] | None:
    """What `note_done` wrote, where it is of the sweep that the place holds now; damaged, it counts as of that."""
    try:
        found = folder.location.read_record(DONE)
        return found if found and found["completion"] == completion(specification(folder)) else None
    except (StoreError, KeyError):
        return {}


def is_done(folder: Folder, asked: Asked, chunks: Mapping[str, Chunks]) -> bool:
    """Whether just this sweep was finished, and all that it is made of is there and sound; nothing is moved.

    Args:
        folder: its place.
        asked: what is asked for.
        chunks: of the tasks, by their ids, in order.
    """
    reader = Folder(folder.location, reading=True)
    try:
        mark = specification(reader)
    except StoreError:
        return False
    found = finished(reader)
    own = {"specification": asked.to_dict(), "tasks": [{"id": task} for task in chunks]}
    if not found or "taken" not in found or completion(own) != completion(mark) or changed(reader, found):
        return False
    present = reader.present(chunks)
    for task, cover in present.items():
        taken = found["taken"].get(task, 0)
        keys = [plan_key(task), *(area.key(task) for area, _ in cover.stretches(taken))]
        if cover.missing(0, taken) or not all(reader.checked(*read) for read in reader.location.read_all(keys)):
            return False
    return True


def changed(folder: Folder, done: Mapping[str, Any]) -> list[str]:
    """Results that are not what was written when the sweep was finished."""
    files = done.get("files", {})
    return [key for key, data in folder.location.read_all(files) if data is None or _hash(data) != files[key]]


def completion(record: Mapping[str, Any]) -> str:
    """A hash of all that the results depend on: the tasks' ids, seeds, stopping rule and measures."""
    asked = {key: record["specification"][key] for key in ("seeds", "until", "measures")}
    return checksum({"asked": asked, "tasks": [task["id"] for task in record["tasks"]]})


def _hash(data: bytes | None) -> str:
    return hashlib.sha256(data or b"").hexdigest()


def _facts(tasks: Sequence[Task]) -> dict[str, Any]:
    """What the tasks' facts are, each once."""
    shared = {key: value for key, value in tasks[0].facts.items() if key not in ("source", "inputs", "variables")}
    hashes = {}
    for task in tasks:
        named = {"source": task.settings["model"]["source"], **{k: task.settings[k] for k in ("inputs", "variables")}}
        hashes |= {f"{key} {named[key]}": value for key, value in task.facts.items() if key in named}
    return {"environment": shared, "hashes": hashes}


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What keeps a sweep from going on with what an earlier one began; a line for each key.

    More seeds and more values on axes are no differences.
    """
    now = {**now, "hashes": {key: now["hashes"].get(key) for key in earlier["hashes"]}}  # new ones may be added
    before, after = (_flat({**one["specification"], **one["environment"], **one["hashes"]}) for one in (earlier, now))
    lines = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old != new and key.partition(".")[0] not in FREE and not (key in before and _more(key, old, new)):
            lines.append(f"{key}: {_shown(key, before)} there, {_shown(key, after)} now")
    return lines


def _more(key: str, old: Any, new: Any) -> bool:
    """Whether `new` are more seeds than `old`, or an axis that holds the value or values `old`."""
    if key == "seeds" and None not in (old, new):
        return Ranges.of(new, key).holds(Ranges.of(old, key))
    if key in SINGLE or key.startswith(("apply.", "init.")) or not isinstance(new, list):
        return False
    return all(value in new for value in (old if isinstance(old, list) else [old]))


def _flat(table: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Entries of tables within tables, by dotted keys."""
    found = {}
    for key, value in table.items():
        found |= _flat(value, f"{start}{key}.") if isinstance(value, Mapping) else {f"{start}{key}": value}
    return found


def _shown(key: str, values: Mapping[str, Any]) -> str:
    return repr(values[key]) if key in values else "absent"
