"""One task, opened: the model traced and planned, and blocks of maps from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxrf.errors import InputError, StoreError
from jaxrf.store.blocks import encode
from jaxrf.sweep.folder import Block, Folder
from jaxrf.sweep.inputs import Chunk, ahead
from jaxrf.sweep.task import Task

Work = tuple[int | None, tuple[int, int]]
"""A block to compute: its seed, and its images."""


@dataclass(frozen=True, eq=False)
class Worker:
    """A task that is ready to run.

    Attributes:
        task: which.
        job: the prepared `jaxrf.job.Job`.
        shape: of one input.
        first: its first images.
        strict: whether a photo that cannot be read is an error.
    """

    task: Task
    job: Any
    shape: tuple[int, ...]
    first: Chunk
    strict: bool

    def blocks(self, work: Iterable[Work]) -> Iterator[tuple[str, bytes]]:
        """Key and bytes of each block, in the order of `work`."""
        import jax

        work = list(work)
        with jax.default_matmul_precision(self.task.settings["precision"]):
            for (seed, span), chunk in zip(work, self._chunks([span for _, span in work]), strict=True):
                yield self._block(seed, span, chunk)

    def _chunks(self, spans: list[tuple[int, int]]) -> Iterator[Chunk]:
        if all(span == (self.first.first, self.first.stop) for span in spans):
            return iter([self.first] * len(spans))
        return ahead(self.task.inputs, spans, self.shape, self.strict)

    def _block(self, seed: int | None, span: tuple[int, int], chunk: Chunk) -> tuple[str, bytes]:
        from jaxrf.inputs import as_images

        drawn = 0 if seed is None and self.job.subject.variables is None else seed
        samples = list(self.job.samples(as_images(chunk.images, None), drawn, first=span[0]))
        arrays = {name: np.concatenate([getattr(s, name) for s in samples]) for name in ("maps", "elsewhere")}
        key = self.task.key(seed, span)
        header = {"seed": seed, "images": list(span), "bad": list(chunk.bad), "host": _host()}
        if "certificate" in self.job.description:
            header["certificate"] = self.job.description["certificate"]
        return key, encode(key, header, arrays)


def open_task(task: Task, folder: Folder, *, seed: int | None, strict: bool = False, mix: bool = False) -> Worker:
    """Trace a task and plan it; or take up the plan with which it was begun.

    Args:
        task: which.
        folder: where its plan is, or will be.
        seed: the first seed; None for the weights that the model comes with, or seed 0.
        strict: whether a photo that cannot be read is an error.
        mix: whether another kind of device than that of the plan may go on.

    Raises:
        StoreError: it was begun on another kind of device, and not `mix`.
        JaxrfError: the task cannot be run.
    """
    import jax

    settings = task.settings
    with jax.default_matmul_precision(settings["precision"]):
        begun = folder.plan(task)
        model, shape, variables = _load(settings)
        first = task.inputs.chunk(*task.spans[0], shape, strict)
        job = _prepare(settings, model, variables, first.images, seed, certify=begun is None)
        if begun is None:
            begun = folder.add_plan(task, *_described(job, task))
        if not mix and begun[0]["device"] != job.description["device"]:
            raise StoreError(
                f"{task.label} was begun on {begun[0]['device']}, and this is {job.description['device']}: their maps "
                "differ in the last bits. Go on there, choose another place, or allow it with --mix-devices."
            )
        return Worker(task, _as_begun(job, begun), shape, first, strict)


def _load(settings: Any) -> tuple[Any, tuple[int, ...], Any]:
    """Model, shape of one input, and variables."""
    from jaxrf.cli import models, values
    from jaxrf.cli.checkpoints import read_variables

    options = dict(settings["model"])
    loaded = models.load(options.pop("source"), options)
    shape = values.shape(settings["input"]) if settings["input"] is not None else loaded.input_shape
    if shape is None:
        raise InputError(f'{loaded.reference} does not say what its input is. Write input = "224x224x3".')
    return loaded.model, tuple(shape), read_variables(settings["variables"]) if settings["variables"] else None


def _prepare(settings: Any, model: Any, variables: Any, images: np.ndarray, seed: int | None, certify: bool) -> Any:
    from jaxrf.cli import values
    from jaxrf.engine.units import grid
    from jaxrf.prepare import open_job
    from jaxrf.request import Request

    units: Any = settings["units"]
    units = values.units(units) if isinstance(units, str) and units != "middle" else units
    request = Request(
        units=grid(*units.counts) if isinstance(units, values.GridSpec) else units,
        certify=certify,
        **{name: settings[name] for name in ("layer", "wrt", "output", "channels", "score", "average")},
    )
    axes = settings["spatial_axes"]
    call = {
        "method": settings["method"],
        "apply_kwargs": dict(settings["apply"]) or None,
        "spatial_axes": tuple(axes) if axes is not None else None,
    }
    job, _, _ = open_job(
        model, variables, images, request=request, call=call, seeds=None if seed is None else [seed],
        init=dict(settings["init"]) or None, protocol=settings["protocol"],
    )  # fmt: skip
    return job


def _described(job: Any, task: Task) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a plan records of a job: its batches, and all that a result says besides its maps."""
    repeats = 1 if job.pullback.pool is not None else len(job.pullback.origin)
    origin, units = job.where(repeats)
    header = {
        "batches": [job.pullback.per_batch, job.pullback.side, job.pullback.batches_per_call],
        "device": job.description["device"],
        "tied": job.pullback.tied,
        "score": job.pullback.score,
        "channels": job.pullback.channels,
        "average": job.request.average,
        "theoretical": job.row.to_dict(),
        "provenance": {**job.description, "inputs": task.settings["inputs"], "plan": str(job.plan)},
    }
    return header, {"origin": np.asarray(origin, np.int64), "units": np.asarray(units, np.int64)}


def _as_begun(job: Any, plan: Block) -> Any:
    """The job with the batches of its plan: other batches give other last bits."""
    per_batch, side, batches = plan[0]["batches"]
    return replace(job, pullback=replace(job.pullback, per_batch=per_batch, side=side, batches_per_call=batches))


def _host() -> str:
    import socket

    return socket.gethostname()
