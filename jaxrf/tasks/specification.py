"""What a sweep is to do: a dataclass, which is also a TOML file and what `--set` changes.

A list is an axis: the sweep is the product of all axes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from jaxrf.base.ranges import Ranges
from jaxrf.errors import InputError, unknown
from jaxrf.inputs.named import Inputs
from jaxrf.loading import toml
from jaxrf.loading.sources import environment, source_hash, variables_hash
from jaxrf.results.stacked import Reading, reading
from jaxrf.statistics import Until
from jaxrf.statistics.measures.registry import check_options
from jaxrf.statistics.until import as_until
from jaxrf.store.record import plain
from jaxrf.tasks.task import Task

ASKED = ("name", "seeds", "until", "measures")
SINGLE = (*ASKED, "images_per_chunk", "apply", "init", "method", "spatial_axes")
"""Keys that are no axes, whatever their value."""
TEXTS = {
    "inputs": 'inputs = "noise:4"', "input": 'input = "64x64x3"', "variables": 'variables = "weights.msgpack"',
    "layer": 'layer = "conv_1"', "wrt": 'wrt = "conv_1"',
}  # fmt: skip
"""Keys whose values are text, each with an example."""
DEFAULT_MEASURES = ("sigma", "area_ratio", "coverage")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How much of a sweep's tasks is asked for, and what is to be told of them.

    Attributes:
        name: for people.
        seeds: which random initializations: a count, or ranges such as `0:256` and `0:8,16:32`. Without it, the weights
            are those that the model comes with, or else those of seed 0.
        until: stop at a relative standard error: a number, or a table of `jaxrf.Until`'s fields.
        measures: of the table: names, or tables `{name = "area_ratio", share = 0.5}`.
    """

    name: str | None = None
    seeds: Any = None
    until: Any = None
    measures: Any = DEFAULT_MEASURES

    def __post_init__(self):
        self._settle(ASKED)
        _ = self.seed_numbers, self.rule, self.readings  # what is wrong in them is said now

    def _settle(self, names: Iterable[str]) -> None:
        """Bring values into JSON's types, in which they are written, compared and hashed."""
        for name in names:
            value = getattr(self, name)
            object.__setattr__(self, name, plain(asdict(value) if isinstance(value, Until) else value, name))

    @property
    def seed_numbers(self) -> Ranges | None:
        """The seeds in order; None for the weights that the model comes with, or seed 0 where it has none."""
        return None if self.seeds is None else Ranges.of(self.seeds, "seeds")

    @property
    def rule(self) -> Until | None:
        """When to stop."""
        if isinstance(self.until, list | tuple):
            raise InputError(
                f"until = {self.until!r} is a list, but no axis: tasks that differ in it alone have the same maps. "
                "Give one value; a run on the same place may have another one later, and goes on with what is there."
            )
        rule = as_until(self.until)
        if rule is not None:
            check_options(rule.measure, rule.options)
        return rule

    @property
    def readings(self) -> list[Reading]:
        """The columns of the table."""
        if not isinstance(self.measures, list | tuple):
            raise InputError(f'measures = {self.measures!r} is not a list. Write measures = ["sigma"].')
        return [reading(words) for words in self.measures]

    def to_dict(self) -> dict[str, Any]:
        """All of it, in JSON's types."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Specification(Asked):
    """A sweep.

    A value that is a list is an axis, except where the key is in the second group below, or within `init` and `apply`.
    To give an option that is a list itself, put it into a list: `dilation = [[1, 2, 4]]`.

    Attributes:
        model: `source`, as on the command line (`zoo:conv_stack`, `module:attribute`, `file.py:attribute`), and the
            options of its maker.
        inputs: `noise:4` (with a seed: `noise:4:7`), a folder of photos, a photo, or an `.npy` array (n, ...).
        input: shape of one input, `64x64x3`; the zoo's models know theirs.
        variables: an Orbax folder or a flax `.msgpack` file; weights are drawn at random without it.
        layer, wrt, output, units, channels, score, average, estimator, protocol: as for `jaxrf erf`.
        precision: of products on accelerators.

        name, seeds, until, measures: as for `Asked`.
        images_per_chunk: how many images are computed and then summed at a time. It decides in which order sums are formed,
            and for models whose images see each other, how many do.
        apply: keyword arguments of the call.
        init: initializers by patterns of parameter names.
        method, spatial_axes: how the model is called.

    Raises:
        InputError: a value does not fit: an empty axis, a value twice, overlapping or reversed ranges, seeds with
            variables.
        UnknownNameError: no such measure.

    Example:
        >>> plan = Specification(model={"source": "zoo:conv_stack", "depth": [2, 3]}, inputs="noise:1", seeds="0:4")
        >>> [task.label for task in plan.tasks()], len(plan.seed_numbers)
        (['depth=2', 'depth=3'], 4)
    """

    model: Mapping[str, Any]
    inputs: Any = "noise:1"
    input: Any = None
    variables: Any = None
    layer: Any = None
    wrt: Any = None
    output: Any = None
    units: Any = "center"
    channels: Any = "probe"
    score: Any = "square"
    average: Any = "weighted"
    estimator: Any = "sampled"
    protocol: Any = None
    precision: Any = "highest"
    images_per_chunk: int = 16
    apply: Mapping[str, Any] = field(default_factory=dict)
    init: Mapping[str, str] = field(default_factory=dict)
    method: str | None = None
    spatial_axes: Sequence[int] | None = None

    def __post_init__(self):
        self._settle(f.name for f in fields(self))
        for key in ("model", "apply", "init"):
            if not isinstance(getattr(self, key), Mapping):
                raise InputError(f"{key} = {getattr(self, key)!r} is not a table. Write its entries below [{key}].")
        sources = self.model.get("source")
        if not isinstance(sources, str | list) or not all(isinstance(source, str) for source in sources):
            raise InputError('The sweep names no model. Write source = "zoo:conv_stack" below [model].')
        for name, values in self.axes.items():
            if not values:
                raise InputError(f"The axis {name} is empty. Give at least one value, or leave the key out.")
            twice = [value for i, value in enumerate(values) if value in values[:i]]
            if twice:
                raise InputError(f"The axis {name} holds {twice[0]!r} twice. Give each value once.")
        for name, example in TEXTS.items():
            for value in self.axes.get(name, [getattr(self, name)]):
                if not isinstance(value, str) and (value is not None or name == "inputs"):
                    raise InputError(f"{name} = {value!r} is not text. Write for example {example}.")
        if type(size := self.images_per_chunk) is not int or size < 1:
            raise InputError(f"images_per_chunk = {size!r} is not a count. Give a number of at least 1.")
        if self.variables is not None and self.seeds is not None:
            raise InputError("seeds draw random weights, but variables are given. Leave one of them out.")
        super().__post_init__()

    @property
    def axes(self) -> dict[str, list[Any]]:
        """Names and values of the axes, in the order of the keys."""
        found = {f"model.{key}": value for key, value in self.model.items()}
        found |= {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("model", *SINGLE)}
        return {name: list(value) for name, value in found.items() if isinstance(value, list | tuple)}

    def product(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """For each task its settings, a nested dict without lists, and its place on the axes."""
        axes = self.axes
        for values in itertools.product(*axes.values()):
            place = dict(zip(axes, values, strict=True))
            settings = {f.name: place.get(f.name, getattr(self, f.name)) for f in fields(self) if f.name not in ASKED}
            settings["model"] = {key: place.get(f"model.{key}", value) for key, value in self.model.items()}
            yield settings, place

    def tasks(self) -> list[Task]:
        """All tasks, in their order. Nothing is traced and no model imported; files are read for their hashes, each once.

        Raises:
            InputError: a file or module is not there.
        """
        shared, source, variables = environment(), cache(source_hash), cache(variables_hash)
        inputs, found = cache(lambda words: Inputs(words).digest()), []
        for settings, place in self.product():
            facts = {**shared, "source": source(settings["model"]["source"]), "inputs": inputs(settings["inputs"])}
            if settings["variables"] is not None:
                facts["variables"] = variables(settings["variables"])
            found.append(Task(place, settings, facts))
        return found


def from_dict(given: Mapping[str, Any]) -> Specification:
    """A specification from a table of its keys.

    Raises:
        UnknownNameError: a key that there is not; says the nearest.
        InputError: a value does not fit.
    """
    known = [f.name for f in fields(Specification)]
    for key in given:
        if key not in known:
            raise unknown("key of the sweep", key, known)
    return Specification(**{"model": {}, **given})


def read(path: str | Path, changes: Iterable[tuple[str, Any]] = ()) -> Specification:
    """The specification in a TOML file, whose paths are relative to the working folder; see `jaxrf.loading.toml.table`."""
    return from_dict(toml.table(path, changes))
