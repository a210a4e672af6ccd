"""The run of the atlas: a sweep for each row, one after the other; the same call goes on with what is left.

NETWORK/INPUT/stages.json                         names of the layers, or why there are none
NETWORK/INPUT/IMAGES/LAYER/seconds.json           how long the starts of it took that ended in order
NETWORK/INPUT/IMAGES/LAYER/ESTIMATOR/             the sweep; both estimators where the first one refuses
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from jaxrf.atlases import photos
from jaxrf.atlases.protocol import ESTIMATORS, Job
from jaxrf.atlases.stages import stage_ends
from jaxrf.errors import InputError, UnknownNameError
from jaxrf.store.location import Location, to_json
from jaxrf.sweeps import results
from jaxrf.sweeps.folder import MARK
from jaxrf.sweeps.run import run as run_sweep


@dataclass(frozen=True)
class Step:
    """One stage that was run, or a network that failed before its stages were known.

    Attributes:
        job: of which network, input and images.
        layer: the stage's last; empty where the network failed.
        state: as of a sweep: "done", "failed", "stopped" or "waiting".
        computed: chunks that this start computed.
        seconds: that they took, with compilation.
        reason: why it failed; else empty.
    """

    job: Job
    layer: str
    state: str
    computed: int = 0
    seconds: float = 0.0
    reason: str = ""


def run(
    place: str | os.PathLike[str],
    jobs: Iterable[Job],
    *,
    last: bool = False,
    stop: Callable[[], bool] = lambda: False,
    command: Iterable[str] = (),
) -> Iterator[Step]:
    """Run what is left of these jobs. A network or stage that fails is recorded, and the run goes on.

    Args:
        place: a folder, or a URL `gs://`, `s3://`, `memory://`.
        jobs: in order; see `jaxrf.atlases.protocol.jobs`.
        last: whether only the last stage of each network is run.
        stop: asked after every chunk; when it is true, what is computed is written, and the run ends.
        command: words that started it, for the record.

    Yields:
        A `Step` after each stage.

    Raises:
        InputError: photos are asked for, and scikit-image is not installed.
        StoreError: the place cannot be reached, or holds rows of other versions.
    """
    location, jobs, command = Location.at(place), list(jobs), list(command)
    if any(job.images == "photos" for job in jobs):
        photos.check_there()
    for job in jobs:
        if stop():
            return
        layers, reason = stages(location, job)
        if reason:
            yield Step(job, "", "failed", reason=reason)
        for layer in layers[-1:] if last else layers:
            if stop():
                return
            yield _stage(location, job, layer, stop, command)
        _forget()


def stages(location: Location, job: Job) -> tuple[list[str], str]:
    """The last layers of the stages of a job's network, and why there are none; found once, then read.

    What failed is tried again.
    """
    key = stages_key(job)
    found = location.read_json(key)
    if not found or "error" in found:
        found = _found(job)
        location.put(key, to_json(found))
    return found.get("layers", []), found.get("error", "")


def stages_key(job: Job) -> str:
    """Where the stages of a job's network are noted."""
    return f"{job.network}/{job.input}/stages.json"


def stage_key(job: Job, layer: str) -> str:
    """Where all that belongs to a row lies."""
    return f"{job.network}/{job.input}/{job.images}/{layer.replace('/', '.')}"


def _found(job: Job) -> dict[str, Any]:
    from jaxrf.api import trf
    from jaxrf.loading import models, words

    try:
        return {"layers": stage_ends(trf(models.load(f"zoo:{job.network}").model, words.shape(job.input)))}
    except Exception as error:  # whatever the network raises on this input
        return {"error": f"{type(error).__name__}: {error}"}


def _stage(location: Location, job: Job, layer: str, stop: Callable[[], bool], command: list[str]) -> Step:
    began, computed, state, reason = time.perf_counter(), 0, "failed", ""
    for estimator in ESTIMATORS[_refused(location, job, layer) :]:
        place = f"{location.name}/{stage_key(job, layer)}/{estimator}"
        try:
            *_, last = run_sweep(job.specification(layer, estimator), place, stop=stop, command=command)
        except (InputError, UnknownNameError) as error:
            reason = f"{type(error).__name__}: {error}"
            break
        computed, state = computed + last.computed, last.state
        reason = why(place) if state == "failed" else ""
        if not reason.startswith("InputError"):
            break
    seconds = time.perf_counter() - began
    if computed:
        key = f"{stage_key(job, layer)}/seconds.json"
        location.put(key, to_json({"seconds": seconds + (location.read_json(key) or {"seconds": 0.0})["seconds"]}))
    return Step(job, layer, state, computed, seconds, reason)


def _refused(location: Location, job: Job, layer: str) -> int:
    """How many estimators were found not to hold for a stage, by an earlier start."""
    there = [location.read(f"{stage_key(job, layer)}/{name}/{MARK}") is not None for name in ESTIMATORS]
    return len(there) - 1 - there[::-1].index(True) if any(there) else 0


def why(place: str) -> str:
    """Why the sweep of a stage failed; empty where it did not."""
    return next((one["error"] for one in results.open(place).folder.failures().values()), "")


def _forget() -> None:
    """Let go of the programs of a network that is done, of which there are hundreds to come."""
    import jax

    from jaxrf.fields.opening import clear_cache

    clear_cache()
    jax.clear_caches()
