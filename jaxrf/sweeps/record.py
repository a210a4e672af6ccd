"""What a sweep writes down of itself: whose the place is, and that it was finished. Both records carry a checksum.

What was finished is believed only where the record, the blocks and the results that it was written with are still there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxrf.base.ranges import Ranges
from jaxrf.errors import StoreError, listed
from jaxrf.store.location import signed
from jaxrf.store.record import checksum
from jaxrf.sweeps.blocks import plan_key
from jaxrf.sweeps.folder import MARK, Folder, failure_key
from jaxrf.tasks.specification import SINGLE

if TYPE_CHECKING:
    from jaxrf.tasks.held import Sweepable
    from jaxrf.tasks.task import Task

DONE = "done.json"
FREE = ("name", "measures", "until")
"""Keys that may change between runs on one folder: they change no number of a map."""
RESULTS = ("table.", "run.json", "results.zarr/")


def of(asked: Sweepable, tasks: Sequence[Task]) -> dict[str, Any]:
    """What is to be done, for `claim`: each fact of the tasks once."""
    shared = {key: value for key, value in tasks[0].facts.items() if key not in ("source", "inputs", "variables")}
    hashes = {}
    for task in tasks:
        named = {"source": task.settings["model"]["source"], **{k: task.settings[k] for k in ("inputs", "variables")}}
        hashes |= {f"{key} {named[key]}": value for key, value in task.facts.items() if key in named}
    facts = {"specification": asked.to_dict(), "environment": shared, "hashes": hashes}
    places = [{"id": task.id, "place": dict(task.place)} for task in tasks]
    return {"program": "jaxrf", "kind": "sweep", **facts, "tasks": places}


def claim(folder: Folder, record: dict[str, Any]) -> None:
    """Make the place this sweep's, or go on with it.

    Raises:
        StoreError: another sweep is there, with what differs; something else is there; it cannot be written.
    """
    ids = [task["id"] for task in record["tasks"]]
    try:
        earlier = folder.read_record(MARK)
    except StoreError:
        _check_own(folder, ids)  # so that nothing else depends on what is lost
        folder.set_aside(MARK)
        earlier = None
    if earlier is None:
        _check_own(folder, ids)
        if folder.add(MARK, signed(record)):
            return
        earlier = folder.read_record(MARK) or {}  # somebody started the same moment
    if earlier.get("kind") != "sweep":
        raise StoreError(f"{folder.name}/{MARK} was not written by a sweep. Choose another place.")
    record = {**record, "hashes": {**earlier["hashes"], **record["hashes"]}}  # new ones may be added
    if lines := differences(earlier, record):
        raise StoreError(
            f"{folder.name} holds another sweep. What differs:\n  " + "\n  ".join(lines) + "\n"
            "More seeds, and more values on an axis, can be added; for anything else choose another place."
        )
    if record != earlier:
        folder.put_record(MARK, record)
    else:
        folder.check()  # that it cannot be written is better known before anything is computed


def _check_own(folder: Folder, ids: Sequence[str]) -> None:
    """Nothing is there, or what a removal of the folder, or damage of its mark, left of these tasks, which is sound."""
    own = [start for task in ids for start in (f"blocks/{task}/", plan_key(task), failure_key(task))]
    found = [key for key in folder.listed() if not key.startswith((*own, DONE, *RESULTS, "damaged/", MARK))]
    if found:
        raise StoreError(f"{folder.name} is not empty and holds no sweep: {listed(found)}. Choose another place.")


def read(folder: Folder) -> dict[str, Any]:
    """The record of whose the place is.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    found = folder.read_record(MARK)
    if found is None or found.get("kind") != "sweep":
        raise StoreError(f"There is no sweep at {folder.name}. Give the place that was passed as --out.")
    return found


def note_done(folder: Folder) -> None:
    """Record that the sweep was finished, with its results."""
    results = [key for key in folder.listed() if key.startswith(RESULTS)]
    files = {key: _hash(data) for key, data in folder.read_all(results)}
    folder.put_record(DONE, {"completion": completion(read(folder)), "files": files})


def finished(folder: Folder) -> list[str] | None:
    """Names of results that are not what was written when the sweep that is here was finished; None where it was not."""
    try:
        found = folder.read_record(DONE)
        if not found or found["completion"] != completion(read(folder)):
            return None
        files = found["files"]
    except (StoreError, KeyError):
        return [DONE]
    return [key for key, data in folder.read_all(files) if data is None or _hash(data) != files[key]]


def completion(record: Mapping[str, Any]) -> str:
    """A hash of all that the results depend on: the tasks' ids, seeds, stopping rule and measures."""
    asked = {key: record["specification"][key] for key in ("seeds", "until", "measures")}
    return checksum({"asked": asked, "tasks": [task["id"] for task in record["tasks"]]})


def _hash(data: bytes | None) -> str:
    return hashlib.sha256(data or b"").hexdigest()


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
            shown = [repr(values[key]) if key in values else "absent" for values in (before, after)]
            lines.append(f"{key}: {shown[0]} there, {shown[1]} now")
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
