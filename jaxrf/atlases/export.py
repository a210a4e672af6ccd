"""From the place of a run to the rows of the table, and to the maps as one Zarr group for each row."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.atlases.protocol import ESTIMATORS, Job, jobs
from jaxrf.atlases.row import AtlasRow, joined
from jaxrf.atlases.run import stage_key, stages_key, why
from jaxrf.errors import InputError, StoreError
from jaxrf.results.result import Result
from jaxrf.results.stacked import digest
from jaxrf.store.location import Location
from jaxrf.sweeps import results
from jaxrf.sweeps.folder import MARK

MEASURES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sigma": ("sigma", {}),
    "half_width": ("size_half_width", {}),
    "participation": ("participation", {}),
    "area_ratio": ("area_ratio", {"share": 0.5}),
}
"""Measures with intervals, by their columns, each with its options."""


def rows(place: str | os.PathLike[str]) -> Iterator[AtlasRow]:
    """The rows of all that is there so far, sorted by network, input, images and stage.

    Raises:
        StoreError: there is nothing, or a block is damaged; says which.
    """
    location = Location.at(place)
    there = sorted(jobs(), key=lambda job: (job.network, job.cost, job.images))
    began = False
    for job in there:
        found = location.read_json(stages_key(job))
        if found is None:
            continue
        began = True
        if "error" in found:
            yield AtlasRow(network=job.network, layer="", input=job.input, images=job.images, status="failed",
                           reason=found["error"])  # fmt: skip
        layers = found.get("layers", [])
        for number, layer in enumerate(layers, 1):
            yield from _row(location, job, layer, {"stage": number, "stages": len(layers)})
    if not began:
        raise StoreError(f"There is no run of the atlas at {location.name}. Give the place of jaxrf atlas-run.")


def write_maps(place: str | os.PathLike[str], out: str | os.PathLike[str]) -> list[Path]:
    """Write the result of each row as `OUT/NETWORK/INPUT/IMAGES/LAYER.zarr`, over an earlier one.

    Each is what `jaxrf.load` reads: the mean map, its errors, and where it lies. Failed rows have none.
    """
    location, written = Location.at(place), []
    for row in rows(place):
        job = Job(row.network, row.input, row.images, 0.0)
        result = row.layer and _result(location, job, row.layer)
        if result:
            path = Path(out) / f"{stage_key(job, row.layer)}.zarr"
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append(result.save(path, overwrite=True))
    return written


def _row(location: Location, job: Job, layer: str, number: Mapping[str, int]) -> Iterator[AtlasRow]:
    """The row of a stage; none where it was never begun."""
    known = {"network": job.network, "layer": layer, "input": job.input, "images": job.images, **number}
    place = _place(location, job, layer)
    if place is None:
        return
    result = _result(location, job, layer)
    if result is None:
        if reason := why(place):
            yield AtlasRow(**known, status="failed", reason=reason)
        return
    seconds = location.read_json(f"{stage_key(job, layer)}/seconds.json")
    yield AtlasRow(
        **known, status=_status(result, job.cap), **theoretical(result), **effective(result), **_made(result),
        seconds=seconds and round(seconds["seconds"], 1),
    )  # fmt: skip


def _place(location: Location, job: Job, layer: str) -> str | None:
    """The sweep of a stage, by the last estimator that was tried."""
    for estimator in reversed(ESTIMATORS):
        key = f"{stage_key(job, layer)}/{estimator}"
        if location.read(f"{key}/{MARK}") is not None:
            return f"{location.name}/{key}"
    return None


def _result(location: Location, job: Job, layer: str) -> Result | None:
    """The result of a stage so far; None where there is none yet."""
    place = _place(location, job, layer)
    if place is None:
        return None
    try:
        return results.open(place).result()
    except InputError:  # no blocks yet
        return None


def _status(result: Result, cap: int) -> str:
    if result.provenance["until"]["reached"]:
        return "done"
    return "capped" if result.count >= cap else "begun"


def theoretical(result: Result) -> dict[str, Any]:
    """What shapes tell, for the columns of a row."""
    row, unit = result.theoretical, tuple(map(int, result.units[0]))
    center = tuple(map(float, result.center[0]))
    return {
        "size": tuple(map(int, row.size)),
        "stride": joined(row.stride),
        "padding": joined(row.padding),
        "center": () if any(map(math.isnan, center)) else center,
        "exact": row.exact,
        "unit": unit,
    }


def effective(result: Result) -> dict[str, Any]:
    """What was measured, for the columns of a row."""
    found: dict[str, Any] = {"samples": result.count, "dead": result.dead, "nonfinite": result.nonfinite}
    found["effective"] = None if result.effective is None else _known(result.effective)
    for column, (name, options) in MEASURES.items():
        found |= dict(
            zip((column, f"{column}_low", f"{column}_high", f"{column}_error"), _measured(result, name, options))
        )
    found["size_luo2016"] = _known(result.size("luo2016"))
    return found


def _measured(result: Result, name: str, options: Mapping[str, Any]) -> tuple[float | None, ...]:
    """Value, ends of the interval, relative standard error; None where the measure does not apply, or is not known."""
    try:
        with warnings.catch_warnings():  # that there are few samples stands in the row
            warnings.simplefilter("ignore")
            found = result.interval(name, **options)
    except InputError:  # about a center, where the unit has none
        return (None,) * 4
    value, stderr = _known(found.value), _known(found.stderr)
    relative = stderr / value if value and stderr is not None else None
    return value, _known(found.low), _known(found.high), relative


def _known(numbers: Any) -> float | None:
    """The mean over the axes; None where it is not a number."""
    mean = float(np.mean(numbers))
    return mean if math.isfinite(mean) else None


def _made(result: Result) -> dict[str, Any]:
    """How it was made, for the columns of a row."""
    facts = result.provenance
    estimator = facts.get("estimator") or {"name": "sampled"}
    return {
        "estimator": estimator["name"],
        "estimator_exact": estimator.get("exact", True),
        "hash": digest(result)[:16],
        "versions": "; ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "device": facts["device"],
    }
