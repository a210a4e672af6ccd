"""A task of a sweep: one model, layer, choice of units and inputs, with an identity of all that changes its numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxrf.errors import InputError, visible
from jaxrf.inputs.named import Inputs
from jaxrf.results.stacked import Entry


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

    def __repr__(self) -> str:
        return f"Task({self.label}, {self.id})"

    @property
    def label(self) -> str:
        """Its place in a line."""
        words = ", ".join(f"{name.removeprefix('model.')}={value}" for name, value in self.place.items())
        return visible(words) or "the task"

    def describe(self) -> dict[str, Any]:
        """All that the id is made of, and the id; JSON-able."""
        return {"id": self.id, "place": dict(self.place), "settings": dict(self.settings), "facts": dict(self.facts)}
