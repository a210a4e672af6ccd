"""The results of a sweep: a Zarr group with the axes of the sweep as dimensions, a table of numbers, and a record."""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrf import store
from jaxrf.errors import StoreError, cell
from jaxrf.results.stacked import Outcome, digest, parquet, stack, table
from jaxrf.store import text_axis
from jaxrf.store.location import to_json
from jaxrf.sweeps.folder import Folder
from jaxrf.sweeps.specification import Asked
from jaxrf.sweeps.task import Task


def write_results(
    folder: Folder,
    specification: Asked,
    tasks: Sequence[Task],
    outcomes: Mapping[str, Outcome],
    *,
    command: Sequence[str],
    began: float,
) -> None:
    """Write all results; run.json last.

    Raises:
        StoreError: the place cannot be reached.
    """
    entries = [task.entry for task in tasks]
    header, lines = table(entries, outcomes, [label for label, *_ in specification.readings])
    text = io.StringIO()
    safe = [[cell(value) if isinstance(value, str) else value for value in line] for line in (header, *lines)]
    csv.writer(text, lineterminator="\n").writerows(safe)
    folder.location.put("table.csv", text.getvalue().encode())
    tables = ["table.csv"]
    if importlib.util.find_spec("pyarrow") and lines:
        folder.location.put("table.parquet", parquet(header, lines))
        tables.append("table.parquet")
    else:
        folder.location.remove("table.parquet")  # of an earlier run, which had fewer seeds
    if outcomes:
        _write_group(folder, specification, entries, outcomes)
    record = _record(folder, specification, tasks, outcomes, command, began)
    folder.location.put("run.json", to_json({**record, "tables": tables}))


def _write_group(folder: Folder, specification: Asked, tasks: Sequence[Any], outcomes: Mapping[str, Outcome]) -> None:
    record, labels = stack(specification.readings, specification.to_dict(), tasks, outcomes)
    if not _arrays_there(folder) <= {*record.variables}:  # measures that are not asked for now
        folder.location.remove_all("results.zarr/")
    with tempfile.TemporaryDirectory() as temporary:
        group = store.save(Path(temporary) / "results.zarr", record)
        for name, texts in labels.items():
            text_axis.write(group, name, texts)
        files = sorted(file for file in group.rglob("*") if file.is_file() and file != group / "zarr.json")
        for file in [*files, group / "zarr.json"]:  # the group's own file last: with it, the group is there
            folder.location.put(f"results.zarr/{file.relative_to(group).as_posix()}", file.read_bytes())


def _arrays_there(folder: Folder) -> set[str | None]:
    """Names of the arrays of an earlier group; something that no group has where it is damaged."""
    try:
        earlier = folder.location.read_json("results.zarr/zarr.json")
        return set() if earlier is None else {*earlier["attributes"]["arrays"]}
    except (StoreError, KeyError, TypeError):
        return {None}


def _record(
    folder: Folder,
    specification: Asked,
    tasks: Sequence[Task],
    outcomes: Mapping[str, Outcome],
    command: Sequence[str],
    began: float,
) -> dict[str, Any]:
    results = {task.id: outcomes[task.id].result for task in tasks if task.id in outcomes}
    hosts = {host for result in results.values() for host in result.provenance["hosts"]}
    return {
        "program": "jaxrf",
        "kind": "sweep",
        "command": list(command),
        "specification": specification.to_dict(),
        "versions": tasks[0].facts["versions"],
        "precision": sorted({task.settings["precision"] for task in tasks}),
        "devices": sorted({result.provenance["device"] for result in results.values()}),
        "visible_cores": _cores(),
        "hosts": sorted(hosts),
        "git_commit": _commit(),
        "began": _clock(began),
        "ended": _clock(time.time()),
        "samples": sum(result.count for result in results.values()),
        "dead": sum(result.dead for result in results.values()),
        "nonfinite": sum(result.nonfinite for result in results.values()),
        "unreadable": sorted({name for result in results.values() for name in result.provenance["unreadable"]}),
        "failed": {key: value["error"] for key, value in folder.failures().items() if key not in results},
        "until_reached": {
            key: result.provenance["until"]["reached"]
            for key, result in results.items()
            if "until" in result.provenance
        },
        "results": {key: digest(result) for key, result in results.items()},
    }


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _commit() -> str | None:
    """The commit of the working folder, where it is in a git repository."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
