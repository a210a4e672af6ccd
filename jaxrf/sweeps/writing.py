"""The results of a sweep: a Zarr group with the axes of the sweep as dimensions, a table of numbers, and a record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrf.base import provenance
from jaxrf.results.stacked import TABLES, Outcome, digest, stack, table, tables
from jaxrf.store import group_at
from jaxrf.store.location import to_json
from jaxrf.sweeps.folder import Folder
from jaxrf.tasks.held import Sweepable
from jaxrf.tasks.task import Task


def write_results(
    folder: Folder, asked: Sweepable, tasks: Sequence[Task], outcomes: Mapping[str, Outcome], **about: Any
) -> None:
    """Write all results; run.json, in which `about` stands too, last.

    Raises:
        StoreError: the place cannot be reached.
    """
    entries, readings, specification = [task.entry for task in tasks], asked.readings, asked.to_dict()
    written = tables(*table(entries, outcomes, [label for label, *_ in readings]))
    for name in TABLES:
        if name in written:
            folder.put(name, written[name])
        else:
            folder.remove(name)  # of an earlier run
    if outcomes:
        group_at.write(folder, "results.zarr", *stack(readings, specification, entries, outcomes))
    record = _record(folder, tasks, outcomes)
    start = {"program": "jaxrf", "kind": "sweep", "specification": specification}
    folder.put(
        "run.json", to_json({**start, **record, **about, "ended": provenance.moment(time.time()), "tables": [*written]})
    )


def _record(folder: Folder, tasks: Sequence[Task], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    results = {task.id: outcomes[task.id].result for task in tasks if task.id in outcomes}
    facts = {key: result.provenance for key, result in results.items()}
    return {
        "versions": tasks[0].facts["versions"],
        "precision": sorted({task.settings["precision"] for task in tasks}),
        "devices": sorted({one["device"] for one in facts.values()}),
        "visible_cores": provenance.visible_cores(),
        "hosts": sorted({host for one in facts.values() for host in one["hosts"]}),
        "git_commit": provenance.git_commit(),
        "samples": sum(result.count for result in results.values()),
        **{name: sum(getattr(result, name) for result in results.values()) for name in ("dead", "nonfinite")},
        "unreadable": sorted({name for one in facts.values() for name in one["unreadable"]}),
        "failed": {key: value["error"] for key, value in folder.failures().items() if key not in results},
        "until_reached": {key: one["until"]["reached"] for key, one in facts.items() if "until" in one},
        "results": {key: digest(result) for key, result in results.items()},
    }
