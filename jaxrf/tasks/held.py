"""`jaxrf.task`: tasks from models in memory, a sweep of such, and what else may be asked for from Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from jaxrf.errors import InputError, listed, unknown
from jaxrf.inputs.images import Noise
from jaxrf.inputs.named import Given, Inputs
from jaxrf.loading import words
from jaxrf.loading.fingerprint import Unhashed, model_hash
from jaxrf.loading.sources import environment
from jaxrf.results.stacked import TAKEN
from jaxrf.store.record import plain
from jaxrf.tasks.specification import ASKED, Asked, Specification, from_dict, read
from jaxrf.tasks.task import Held, Task


def task(
    model: Any,
    variables: Any = None,
    inputs: Any = "noise:1",
    *,
    place: Mapping[str, Any] | None = None,
    name: str | None = None,
    input: tuple[int, ...] | None = None,
    **options: Any,
) -> Task:
    """A task of a sweep, from a model in memory.

    Args:
        model: a Linen module, an NNX module or a function, as for `jaxrf.erf`. Workers in other processes get a pickle.
        variables: of the model; None where it draws them, or holds them.
        inputs: an array (n, *shape), `jaxrf.noise(4)`, or words as in a sweep's file: `noise:4`, a folder of photos.
        place: its values on the axes of the sweep, as {"depth": 10}: what tells tasks of one sweep apart.
        name: stands for the model, its source and its weights, in the task's identity: then you answer for its being
            another one whenever they are. Without it they are hashed.
        input: shape of one input, where `inputs` has none of its own.
        options: as the keys of a sweep's file: layer, units, channels, score, ...

    Raises:
        InputError: something in the model has no hash and there is no `name`; an option is not one of those.

    Example:
        >>> import jaxrf
        >>> small = jaxrf.task(jaxrf.zoo.conv_stack(depth=1, width=2), input=(8, 9, 3), place={"depth": 1})
        >>> jaxrf.sweep([small], "memory://held", seeds=2).result(depth=1).count
        2
    """
    if not isinstance(place or {}, Mapping):
        raise InputError(f'place={place!r} is not a table. Write place={{"depth": 10}}.')
    if taken := TAKEN.intersection(place or {}):
        raise InputError(f"place={place!r}: {listed(sorted(taken))} is a name that results have. Choose another one.")
    if not isinstance(name, str | None):
        raise InputError(f"name={name!r} is not text.")
    try:
        digest = name or model_hash((model, variables))
    except Unhashed as error:
        raise InputError(
            f"{error} in the model has no hash that would be the same in another process. Pass name=, a word that stands "
            "for the model, its source and its weights."
        ) from error
    given = _inputs(inputs)
    shape = given.array.shape[1:] if isinstance(given, Given) else input
    if not isinstance(shape, tuple | list):
        found = "" if shape is None else f"; found input={shape!r}"
        raise InputError(f"The images of {inputs!r} have no shape of their own. Pass input=(224, 224, 3){found}.")
    text = "x".join(map(str, shape))
    words.shape(text)  # so that what is not a shape is said now
    asked = Specification(model={"source": f"memory:{digest}"}, inputs=given.words, input=text, **_known(options))
    ((settings, _),) = asked.product()
    facts = {**environment(), "source": digest, "inputs": given.digest()}
    return Task(plain(place or {}, "place"), settings, facts, Held(model, variables, given))


def _inputs(given: Any) -> Inputs:
    if isinstance(given, Noise):
        given = f"noise:{given.count}:{given.seed}" if given.seed else f"noise:{given.count}"
    return Inputs(os.fspath(given)) if isinstance(given, str | os.PathLike) else Given(given)


def _known(options: Mapping[str, Any]) -> Mapping[str, Any]:
    known = {f.name for f in fields(Specification)} - {"model", "inputs", "input", "variables", *ASKED}
    for key, value in options.items():
        if key not in known:
            raise unknown("option of a task", key, known)
        if key == "units" and not isinstance(value, str):
            raise InputError(f'units = {value!r} is not text. Write "all", "grid:8x8", or positions as "3,3;5,5".')
        if isinstance(plain(value, key), list) and key != "spatial_axes":
            raise InputError(f"{key} = {value!r} is a list, and a task is one point. Make a task for each value.")
    return options


@dataclass(frozen=True, kw_only=True)
class TaskList(Asked):
    """A sweep of tasks that somebody made.

    Attributes:
        made: in order; they differ in their places on the same axes.
    """

    made: tuple[Task, ...]

    def __post_init__(self):
        super().__post_init__()
        if not self.made:
            raise InputError("The sweep has no tasks. Give at least one.")
        axes, places = {tuple(task.place) for task in self.made}, [repr(task.place) for task in self.made]
        if len(axes) > 1 or len({*places}) < len(places) or len({task.id for task in self.made}) < len(places):
            raise InputError(
                f"Tasks of a sweep have different places on the same axes, and are different; found {', '.join(places)}. "
                'Give each one its own, as place={"depth": 10}.'
            )
        if self.seeds is not None and any(task.held and task.held.variables is not None for task in self.made):
            raise InputError("seeds draw random weights, but variables are given. Leave one of them out.")

    def tasks(self) -> list[Task]:
        """All tasks, in their order."""
        return [*self.made]

    def to_dict(self) -> dict[str, Any]:
        """All of it, in JSON's types; of the tasks their ids."""
        return {**{key: getattr(self, key) for key in ASKED}, "tasks": [task.id for task in self.made]}


Sweepable = Specification | TaskList
"""What has tasks."""


def as_asked(given: Any, changes: Mapping[str, Any]) -> Sweepable:
    """What is asked for: by a specification, a table of its keys, the path of a file, or tasks; with changes."""
    for key in changes:
        if key not in ASKED:
            raise unknown("option of a sweep", key, ASKED)
    if isinstance(given, Sweepable):
        return replace(given, **changes)
    if isinstance(given, Mapping):
        return from_dict({**given, **changes})
    if isinstance(given, str | os.PathLike):
        return read(os.fspath(given), changes.items())
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    for one in found:
        if not isinstance(one, Task):
            raise InputError(
                f"A {type(one).__name__} is not a task. Give a specification, a table of its keys, the path of a TOML "
                "file, or tasks made by jaxrf.task(model, ...)."
            )
    return TaskList(made=found, **changes)
