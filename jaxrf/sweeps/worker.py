"""One task, opened: the model traced and planned, and chunks of maps from it. Nothing is read or written here."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import tee
from typing import Any

import numpy as np

from jaxrf.errors import StoreError
from jaxrf.inputs.named import Chunk, ahead
from jaxrf.loading.sources import environment, source_hash
from jaxrf.store.blocks import decode, encode
from jaxrf.sweeps.blocks import Made, Work, areas, plan_key, to_bytes
from jaxrf.tasks.task import Task

NAMED = (
    "layer", "wrt", "output", "channels", "score", "average", "estimator", "protocol", "precision", "method",
)  # fmt: skip
"""Settings that are options as they stand."""


@dataclass(eq=False)
class Worker:
    """A task that is ready to run.

    Attributes:
        task: which.
        plan: how it is run, a block.
        run: the prepared layer's `jaxrf.fields.run.Run`.
        shape: of one input.
        first: its first images.
        strict: whether a photo that cannot be read is an error.
        opening: seconds that it took to open the task and to make its first chunk; 0 before that is known.
    """

    task: Task
    plan: bytes
    run: Any
    shape: tuple[int, ...]
    first: Chunk
    strict: bool
    opening: float = 0.0

    def blocks(self, chunks: Sequence[Made]) -> list[tuple[str, bytes]]:
        """Keys and bytes of consecutive chunks as blocks."""
        header = {"host": socket.gethostname(), **self.run.certificate}
        parts = [(area.key(self.task.id), own) for area, own in areas(chunks, self.task.inputs.count)]
        return [(key, to_bytes(key, own, header)) for key, own in parts]

    def chunks(self, work: Iterable[Work]) -> Iterator[Made]:
        """The maps of chunks, in their order, each when it is asked for."""
        import jax

        from jaxrf.inputs.images import as_images

        with jax.default_matmul_precision(self.task.settings["precision"]):
            wanted, work = tee(work)
            checked = as_images(self.first.images[:1], None)
            for (seed, span), chunk in zip(work, self._inputs(wanted), strict=True):
                drawn = 0 if seed is None and self.run.variables is None else seed
                images = chunk.images if len(chunk.images) else self.first.images[:1]
                checked = checked if images is checked.source else as_images(images, None)
                samples = list(self.run.samples(checked, drawn, first=span[0]))
                count = len(chunk.images)  # none of photos that cannot be read: then as many maps, of the right shape
                maps, others = _joined([one.maps for one in samples]), _joined([one.other_images for one in samples])
                yield Made((seed, span), maps[:count], others[:count], chunk.bad)

    def _inputs(self, wanted: Iterable[Work]) -> Iterator[Chunk]:
        if (self.first.first, self.first.stop) == (0, self.task.inputs.count):  # there are no others
            return (self.first for _ in wanted)
        return ahead(self.task.inputs, (span for _, span in wanted), self.shape, self.strict)


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def open_task(task: Task, plan: bytes | None, *, seed: int | None, strict: bool = False, mix: bool = False) -> Worker:
    """Trace a task and plan it; or take up the plan with which it was begun.

    Args:
        task: which.
        plan: how it was begun, a block; None where it was not.
        seed: the first seed; None for the weights that the model comes with, or seed 0.
        strict: whether a photo that cannot be read is an error.
        mix: whether another kind of device than that of the plan may go on.

    Raises:
        StoreError: it was begun on another kind of device, and not `mix`; or with other images.
        JaxrfError: the task cannot be run.
    """
    import jax

    from jaxrf.fields.run import Compiled

    _check_alike(task)
    key = plan_key(task.id)
    begun = None if plan is None else decode(key, plan)
    with jax.default_matmul_precision(task.settings["precision"]):
        model, shape, variables = task.load()
        first = task.inputs.first_readable(task.settings["images_per_chunk"], shape, strict)
        run = _prepare(task.settings, model, variables, first.images, seed, certify=begun is None)
    if begun is None or plan is None:
        plan = encode(key, *_described(run.prepared, task, first.images))
        return Worker(task, plan, run, shape, first, strict)
    if task.inputs.stream and begun[0]["first_images"] != _digest(first.images):
        raise StoreError(
            f"{task.settings['inputs']} does not give the images with which {task.label} was begun. They must be the "
            "same each time: fix the seed of what shuffles them, or choose another place."
        )
    if not mix and begun[0]["device"] != run.prepared.facts["device"]:
        raise StoreError(
            f"{task.label} was begun on {begun[0]['device']}, and this is {run.prepared.facts['device']}: their maps "
            "differ in the last bits. Go on there, choose another place, or allow it with --mix-devices."
        )
    prepared = run.prepared.with_batching(begun[0]["batching"])  # other batches give other last bits
    if prepared is not run.prepared:
        run = replace(run, compiled=Compiled(prepared))
    return Worker(task, plan, run, shape, first, strict)


def _check_alike(task: Task) -> None:
    """Raise where this process would compute other numbers than the one that asks: its versions, settings or model differ.

    Raises:
        StoreError: says what differs.
    """
    own = environment()
    if task.held is None:
        own["source"] = source_hash(task.settings["model"]["source"])
    lines = [f"{name}: {task.facts[name]!r} there, {own[name]!r} here" for name in own if task.facts[name] != own[name]]
    if lines:
        raise StoreError(
            f"A worker on {socket.gethostname()} is not like the process that asks it:\n  " + "\n  ".join(lines) + "\n"
            "Start all of them with the same packages, files, working folder and variables."
        )


def _prepare(settings: Any, model: Any, variables: Any, images: np.ndarray, seed: int | None, certify: bool) -> Any:
    from jaxrf.engine.units import grid
    from jaxrf.fields.opening import open_call
    from jaxrf.inputs.images import as_images
    from jaxrf.loading import words
    from jaxrf.planning.options import Options

    units: Any = settings["units"]
    units = words.units(units) if isinstance(units, str) and units != "middle" else units
    axes = settings["spatial_axes"]
    options = Options(
        units=grid(*units.counts) if isinstance(units, words.GridSpec) else units,
        apply_kwargs=dict(settings["apply"]) or None,
        spatial_axes=tuple(axes) if axes is not None else None,
        init=dict(settings["init"]) or None,
        seeds=None if seed is None else [seed],
        certify=certify,
        **{name: settings[name] for name in NAMED},
    )
    (run,) = open_call(model, variables, as_images(images, None), options).runs.values()
    return run


def _described(layer: Any, task: Task, images: np.ndarray) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a plan records of a layer: its batches, and all that a result says besides its maps."""
    origin, units = layer.where(layer.count)
    header = {
        "batching": asdict(layer.pullback.batching),
        "device": layer.facts["device"],
        "images_interact": layer.pullback.images_interact,
        "score": layer.pullback.score,
        "channels": layer.pullback.channels,
        "average": layer.options.average,
        "images": [task.inputs.count, task.settings["images_per_chunk"]],
        "first_images": _digest(images),
        "theoretical": layer.row.to_dict(),
        "provenance": {**layer.facts, "inputs": task.settings["inputs"], "plan": str(layer.plan)},
    }
    return header, {"origin": np.asarray(origin, np.int64), "units": np.asarray(units, np.int64)}


def _digest(images: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:16]
