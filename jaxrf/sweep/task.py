"""A task of a sweep: one model, layer, choice of units and inputs, with an identity of all that changes its numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxrf.errors import InputError
from jaxrf.sweep.blocks import Chunks
from jaxrf.sweep.inputs import Inputs
from jaxrf.sweep.ranges import Ranges
from jaxrf.sweep.sources import environment, files_hash, source_hash
from jaxrf.sweep.specification import Specification


@dataclass(frozen=True)
class Entry:
    """A task as results know it, who need neither the model nor the inputs.

    Attributes:
        id: of the task.
        place: its values on the axes.
    """

    id: str
    place: Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """One point of the product.

    Attributes:
        place: its values on the axes.
        settings: all choices of the specification at this point.
        facts: hashes of model, inputs and variables; versions and settings of JAX.
    """

    place: Mapping[str, Any]
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]

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
        return Inputs(self.settings["inputs"])

    def chunks(self, seeds: Ranges | None) -> Chunks:
        """Its chunks under these seeds; None for the given weights."""
        return Chunks(seeds, self.inputs.count, self.settings["images_per_chunk"])

    @property
    def label(self) -> str:
        """Its place in a line."""
        return ", ".join(f"{name.removeprefix('model.')}={value}" for name, value in self.place.items()) or "the task"

    def describe(self) -> dict[str, Any]:
        """All that the id is made of, and the id; JSON-able."""
        return {"id": self.id, "place": dict(self.place), "settings": dict(self.settings), "facts": dict(self.facts)}


def tasks(specification: Specification) -> list[Task]:
    """All tasks of a sweep, in the order of the product.

    Nothing is traced and no model imported. Files are read for their hashes.

    Raises:
        InputError: a file or module is not there; two tasks are the same.
    """
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
            raise InputError(f"inputs = {words!r} is no text. Write noise:4, or a path.")
        return self._once(("inputs", words), lambda: (Inputs(words).count, Inputs(words).digest())[1])

    def variables(self, text: str) -> str:
        if not Path(text).exists():
            raise InputError(f"There are no variables at {text}. Give an Orbax folder or a flax .msgpack file.")
        return self._once(("variables", text), lambda: files_hash([Path(text)]))

    def _once(self, key: Any, make: Any) -> str:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]
