"""One task, opened: the model traced and planned, and chunks of maps from it. Nothing is read or written here."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import tee
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrf.errors import InputError, StoreError
from jaxrf.inputs.named import Chunk, ahead
from jaxrf.loading.sources import environment, source_hash
from jaxrf.store.blocks import decode, encode
from jaxrf.sweeps.blocks import Made, Work, areas, plan_key, to_bytes
from jaxrf.tasks.task import Task

if TYPE_CHECKING:
    from jaxrf.fields.run import Run
    from jaxrf.planning.options import Options
    from jaxrf.planning.prepared import Prepared

NAMED = (
    "layer", "wrt", "output", "channels", "score", "average", "estimator", "protocol", "precision", "method",
)  # fmt: skip
"""Settings that are options as they stand."""

COPIES = 4
"""Of the maps of a chunk: as samples, together, in a block, and on its way to another process."""


@dataclass(frozen=True)
class Terms:
    """How tasks are to be run; none of it is in their identities.

    Attributes:
        strict: whether a photo that cannot be read is an error instead of being left out and counted.
        mix_devices: whether blocks of another kind of device may be added to a task.
        memory: bytes, or words such as "15GB", for all who compute on one machine; None for half of what is free there.
        sharing: how many they are.
    """

    strict: bool = False
    mix_devices: bool = False
    memory: int | float | str | None = None
    sharing: int = 1

    def __post_init__(self):
        for name in ("strict", "mix_devices"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name}={getattr(self, name)!r} does not fit. It is True or False.")
        _ = self.memory is None or _share(str(self.memory), 1)  # what is not an amount is said now

    @property
    def share(self) -> int | None:
        """Bytes for each of them; None for half of what is free."""
        if self.memory is None and self.sharing == 1:
            return None
        return _share(self.memory and str(self.memory), self.sharing)


@cache  # what is free changes, and programs that were kept are found by their limit
def _share(memory: str | None, sharing: int) -> int:
    from jaxrf.engine.plan import parse_memory

    return max(1, parse_memory(memory) // sharing)


@dataclass(eq=False)
class Worker:
    """A task that is ready to run.

    Attributes:
        task: which.
        plan: how it is run, a block.
        run: the prepared layer's.
        shape: of one input.
        first: its first images.
        strict: whether a photo that cannot be read is an error.
        opening: seconds that it took to open the task and to make its first chunk; 0 before that is known.
    """

    task: Task
    plan: bytes
    run: Run
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
                maps, others = (
                    np.concatenate(parts)[:count]
                    for parts in zip(*((one.maps, one.other_images) for one in samples), strict=True)
                )
                yield Made((seed, span), maps, others, chunk.bad)

    def _inputs(self, wanted: Iterable[Work]) -> Iterator[Chunk]:
        if (self.first.first, self.first.stop) == (0, self.task.inputs.count):  # there are no others
            return (self.first for _ in wanted)
        return ahead(self.task.inputs, (span for _, span in wanted), self.shape, self.strict)


def open_task(task: Task, plan: bytes | None, *, seed: int | None, terms: Terms) -> Worker:
    """Trace a task and plan it; or take up the plan, a block, with which it was begun.

    Args:
        task: which.
        plan: how it was begun; None where it was not.
        seed: the first seed; None for the weights that the model comes with, or seed 0.
        terms: how it is to be run.

    Raises:
        StoreError: it was begun on another kind of device, with other images, or with batches that take more memory.
        JaxrfError: the task cannot be run.
    """
    import jax

    from jaxrf.fields.run import Compiled

    _check_alike(task)
    key = plan_key(task.id)
    options = _options(task, seeds=None if seed is None else [seed], certify=plan is None, memory=terms.share)
    options.settled()  # what does not fit is said before a model is loaded
    with jax.default_matmul_precision(task.settings["precision"]):
        model, shape, variables = task.load()
        first = task.inputs.first_readable(task.settings["images_per_chunk"], shape, terms.strict)
        run = _opened(task, model, variables, first.images, options)
    if plan is None:
        plan = encode(key, *_described(run.prepared, task, first, terms))
        return Worker(task, plan, run, shape, first, terms.strict)
    begun, _ = decode(key, plan)
    prepared = run.prepared.with_batching(begun["batching"])  # other batches give other last bits
    _check_goes_on(task, begun, prepared, first, terms)
    if prepared is not run.prepared:
        run = replace(run, compiled=Compiled(prepared))
    return Worker(task, plan, run, shape, first, terms.strict)


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


def _check_goes_on(task: Task, begun: Mapping[str, Any], prepared: Prepared, first: Chunk, terms: Terms) -> None:
    """Raise where a task that was begun cannot go on here with the same bits, and on these terms."""
    from jaxrf.engine.plan import human

    device, plan = prepared.facts["device"], prepared.plan
    if task.inputs.stream and begun["first_images"] != first.digest:
        raise StoreError(
            f"{task.settings['inputs']} does not give the images with which {task.label} was begun. They must be the "
            "same each time: fix the seed of what shuffles them, or choose another place."
        )
    if not terms.mix_devices and begun["device"] != device:
        raise StoreError(
            f"{task.label} was begun on {begun['device']}, and this is {device}: their maps differ in the last bits. "
            "Go on there, choose another place, or allow it with --mix-devices."
        )
    if terms.memory is not None and plan.memory > plan.limit:
        raise StoreError(
            f"{task.label} was begun in batches that need {human(plan.memory)}, which decide last bits, and this worker has "
            f"{human(plan.limit)}. Give more with memory=, have fewer workers on a machine, or choose another place."
        )


def _opened(task: Task, model: Any, variables: Any, images: np.ndarray, options: Options) -> Run:
    """The call; what the maps of a chunk take until they are written is within its memory."""
    from jaxrf.fields.opening import open_call
    from jaxrf.inputs.images import as_images

    checked, memory = as_images(images, None), options.memory
    (run,) = open_call(model, variables, checked, options).runs.values()
    held = COPIES * run.prepared.map_bytes * min(task.inputs.count, task.settings["images_per_chunk"])
    if isinstance(memory, int) and run.prepared.plan.held.fixed and run.prepared.plan.memory + held > memory:
        options = replace(options, memory=max(1, memory - held))
        (run,) = open_call(model, variables, checked, options).runs.values()
    return run


def _options(task: Task, **of_the_run: Any) -> Options:
    from jaxrf.engine.units import grid
    from jaxrf.loading import words
    from jaxrf.planning.options import Options

    settings = task.settings
    units: Any = settings["units"]
    units = words.units(units) if isinstance(units, str) and units != "middle" else units
    axes = settings["spatial_axes"]
    return Options(
        units=grid(*units.counts) if isinstance(units, words.GridSpec) else units,
        apply_kwargs=dict(settings["apply"]) or None,
        spatial_axes=tuple(axes) if axes is not None else None,
        init=dict(settings["init"]) or None,
        **of_the_run,
        **{name: settings[name] for name in NAMED},
    )


def _described(layer: Prepared, task: Task, first: Chunk, terms: Terms) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a plan records of a layer: its batches, and all that a result says besides its maps."""
    facts, arrays = layer.mapped(layer.count).described()
    facts["provenance"] = {**facts["provenance"], "inputs": task.settings["inputs"]}
    facts |= {
        "batching": asdict(layer.pullback.batching),
        "device": layer.facts["device"],
        "average": layer.options.average,
        "images": [task.inputs.count, task.settings["images_per_chunk"]],
        "first_images": first.digest,
    }
    return facts if terms.memory is None else {**facts, "room": layer.plan.held.room}, arrays
