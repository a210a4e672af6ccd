"""The results of a sweep: a Zarr group with the axes of the sweep as dimensions, a table of numbers, and a record."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrf.base import provenance
from jaxrf.results.stacked import Outcome, csv_text, digest, parquet, stack, table
from jaxrf.store import group_at
from jaxrf.store.location import to_json
from jaxrf.sweeps.folder import Folder
from jaxrf.tasks.specification import Asked
from jaxrf.tasks.task import Task


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
    entries, location, tables = [task.entry for task in tasks], folder.location, ["table.csv"]
    header, lines = table(entries, outcomes, [label for label, *_ in specification.readings])
    location.put("table.csv", csv_text(header, lines).encode())
    if importlib.util.find_spec("pyarrow") and lines:
        location.put("table.parquet", parquet(header, lines))
        tables.append("table.parquet")
    else:
        location.remove("table.parquet")  # of an earlier run, which had fewer seeds
    if outcomes:
        stacked = stack(specification.readings, specification.to_dict(), entries, outcomes)
        group_at.write(location, "results.zarr", *stacked)
    record = _record(folder, specification, tasks, outcomes)
    times = {"command": list(command), "began": _clock(began), "ended": _clock(time.time())}
    location.put("run.json", to_json({**record, **times, "tables": tables}))


def _record(
    folder: Folder, specification: Asked, tasks: Sequence[Task], outcomes: Mapping[str, Outcome]
) -> dict[str, Any]:
    results = {task.id: outcomes[task.id].result for task in tasks if task.id in outcomes}
    facts = [result.provenance for result in results.values()]
    counts = {name: sum(getattr(result, name) for result in results.values()) for name in ("dead", "nonfinite")}
    return {
        "program": "jaxrf",
        "kind": "sweep",
        "specification": specification.to_dict(),
        "versions": tasks[0].facts["versions"],
        "precision": sorted({task.settings["precision"] for task in tasks}),
        "devices": sorted({one["device"] for one in facts}),
        "visible_cores": provenance.visible_cores(),
        "hosts": sorted({host for one in facts for host in one["hosts"]}),
        "git_commit": provenance.git_commit(),
        "samples": sum(result.count for result in results.values()),
        **counts,
        "unreadable": sorted({name for one in facts for name in one["unreadable"]}),
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
