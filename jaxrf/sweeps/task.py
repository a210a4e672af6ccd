"""A task of a sweep: one model, layer, choice of units and inputs, with an identity of all that changes its numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxrf.errors import InputError, visible
from jaxrf.inputs.named import Inputs
from jaxrf.loading.sources import environment, files_hash, source_hash
from jaxrf.results.stacked import Entry
from jaxrf.sweeps.blocks import Chunks
from jaxrf.sweeps.ranges import Ranges
from jaxrf.sweeps.specification import Asked, Specification


def plan_key(task: str) -> str:
    """Where the plan of a task lies."""
    return f"plans/{task}"


@dataclass(frozen=True, eq=False)
class Held:
    """A model in memory, its variables, and its inputs."""

    model: Any
    variables: Any
    inputs: Inputs


@dataclass(frozen=True)
class Task:
    """One point of the product.

    Attributes:
        place: its values on the axes.
        settings: all choices of the specification at this point.
        facts: hashes of model, inputs and variables; versions and settings of JAX.
        held: what is not to be found by the words of the settings, because it is in memory.
    """

    place: Mapping[str, Any]
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    held: Held | None = None

    @cached_property
    def id(self) -> str:
        """A hash of settings and facts: what is equal in it has the same maps for the same seed and images.

        Machine, batches, number of processes, seeds, measures and `until` are not in it.
        """
        text = json.dumps([self.settings, self.facts], sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    @property
    def entry(self) -> Entry:
        """The task as results know it."""
        return Entry(self.id, self.place)

    @cached_property
    def inputs(self) -> Inputs:
        """Its inputs."""
        return self.held.inputs if self.held is not None else Inputs(self.settings["inputs"])

    def chunks(self, seeds: Ranges | None) -> Chunks:
        """Its chunks under these seeds; None for the given weights."""
        return Chunks(seeds, self.inputs.count, self.settings["images_per_chunk"])

    def load(self) -> tuple[Any, tuple[int, ...], Any]:
        """Model, shape of one input, and variables; None where they are the model's own, or drawn."""
        from jaxrf.loading import models, words
        from jaxrf.loading.checkpoints import read_variables

        if self.held is not None:
            return self.held.model, words.shape(self.settings["input"]), self.held.variables
        options, variables, given = dict(self.settings["model"]), self.settings["variables"], self.settings["input"]
        loaded = models.load(options.pop("source"), options)
        shape = loaded.input_shape if given is None else words.shape(given)
        if shape is None:
            raise InputError(f'{loaded.reference} does not say what its input is. Write input = "224x224x3".')
        return loaded.model, tuple(shape), None if variables is None else read_variables(variables)

    @property
    def label(self) -> str:
        """Its place in a line."""
        return (
            visible(", ".join(f"{name.removeprefix('model.')}={value}" for name, value in self.place.items()))
            or "the task"
        )

    def describe(self) -> dict[str, Any]:
        """All that the id is made of, and the id; JSON-able."""
        return {"id": self.id, "place": dict(self.place), "settings": dict(self.settings), "facts": dict(self.facts)}


@dataclass(frozen=True, kw_only=True)
class TaskList(Asked):
    """A sweep of tasks that somebody made.

    Attributes:
        tasks: in order; they differ in their places on the same axes.
    """

    tasks: tuple[Task, ...]

    def __post_init__(self):
        super().__post_init__()
        if not self.tasks:
            raise InputError("The sweep has no tasks. Give at least one.")
        axes, places = {tuple(task.place) for task in self.tasks}, [repr(task.place) for task in self.tasks]
        if len(axes) > 1 or len({*places}) < len(places) or len({task.id for task in self.tasks}) < len(places):
            raise InputError(
                f"Tasks of a sweep have different places on the same axes, and are different; found {', '.join(places)}. "
                'Give each one its own, as place={"depth": 10}.'
            )
        if self.seeds is not None and any(task.held and task.held.variables is not None for task in self.tasks):
            raise InputError("seeds draw random weights, but variables are given. Leave one of them out.")

    def to_dict(self) -> dict[str, Any]:
        """All of it, in JSON's types; of the tasks their ids."""
        asked = {key: value for key, value in vars(self).items() if key != "tasks"}
        return {**Asked(**asked).to_dict(), "tasks": [task.id for task in self.tasks]}


def tasks(specification: Asked) -> list[Task]:
    """All tasks of a sweep, in their order.

    Nothing is traced and no model imported. Files are read for their hashes.

    Raises:
        InputError: a file or module is not there; two tasks are the same.
    """
    if isinstance(specification, TaskList):
        return list(specification.tasks)
    assert isinstance(specification, Specification)
    shared, hashes = environment(), _Hashes()
    found = []
    for settings, place in specification.product():
        facts = {**shared, "source": hashes.source(settings["model"]["source"]), "inputs": hashes.inputs(settings)}
        if settings["variables"] is not None:
            facts["variables"] = hashes.variables(settings["variables"])
        found.append(Task(place, settings, facts))
    return found


class _Hashes:
    """Hashes, each made once."""

    def __init__(self):
        self._known: dict[Any, str] = {}

    def source(self, reference: str) -> str:
        return self._once(("source", reference), lambda: source_hash(reference))

    def inputs(self, settings: Mapping[str, Any]) -> str:
        words = settings["inputs"]
        if not isinstance(words, str):
            raise InputError(f"inputs = {words!r} is not text. Write noise:4, or a path.")
        return self._once(("inputs", words), lambda: (Inputs(words).count, Inputs(words).digest())[1])

    def variables(self, text: str) -> str:
        if not Path(text).exists():
            raise InputError(f"There are no variables at {text}. Give an Orbax folder or a flax .msgpack file.")
        return self._once(("variables", text), lambda: files_hash([Path(text)]))

    def _once(self, key: Any, make: Any) -> str:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]
