"""What a sweep is to do: a dataclass, which is also a TOML file and what `--set` changes.

A list is an axis: the sweep is the product of all axes.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from jaxrf.errors import InputError, unknown
from jaxrf.statistics import Until
from jaxrf.statistics.measures import measures as known_measures
from jaxrf.sweeps.ranges import Ranges

PRECISION = "highest"
SINGLE = ("name", "seeds", "until", "measures", "images_per_chunk", "apply", "init", "method", "spatial_axes")
"""Keys that are no axes, whatever their value."""
ASKED = ("name", "seeds", "until", "measures")
FREE = ("name", "measures", "until")
"""Keys that may change between runs on one folder: they change no number of a map."""
EXAMPLES = {
    "inputs": 'inputs = "noise:4"', "input": 'input = "64x64x3"', "variables": 'variables = "weights.msgpack"',
    "layer": 'layer = "conv_1"', "wrt": 'wrt = "conv_1"',
}  # fmt: skip
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
        _ = self.seed_numbers, self.rule, self.readings  # what is wrong in them is said now

    @property
    def seed_numbers(self) -> Ranges | None:
        """The seeds in order; None for the weights that the model comes with, or seed 0 where it has none."""
        return None if self.seeds is None else _ranges(self.seeds)

    @property
    def rule(self) -> Until | None:
        """When to stop."""
        if self.until is None or isinstance(self.until, Until):
            return self.until
        if isinstance(self.until, list | tuple):
            raise InputError(
                f"until = {self.until!r} is a list, but no axis: tasks that differ in it alone have the same maps. "
                "Give one value; a run on the same place may have another one later, and goes on with what is there."
            )
        given = self.until if isinstance(self.until, Mapping) else {"error": self.until}
        known = [f.name for f in fields(Until)]
        for key in given:
            if key not in known:
                raise unknown("key of until", key, known)
        if not isinstance(given.get("error"), int | float):
            raise InputError(f"until = {self.until!r} names no relative error. Write until = 0.01, or error = 0.01.")
        return Until(**given)

    @property
    def readings(self) -> list[tuple[str, str, str | None, dict[str, Any]]]:
        """(label, measure, part, options) of each column of the table."""
        found = []
        for one in self.measures:
            options = dict(one) if isinstance(one, Mapping) else {"name": one}
            if not isinstance(options.get("name"), str):
                raise InputError(f'The measure {one!r} has no name. Write {{name = "area_ratio", share = 0.5}}.')
            name, part = options.pop("name"), options.pop("part", None)
            check_options(name, options)
            label = " ".join([name, *([part] if part else []), *(f"{k}={v}" for k, v in options.items())])
            found.append((label, name, part, options))
        return found

    def to_dict(self) -> dict[str, Any]:
        """All of it, in JSON's types."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    def differences(self, earlier: Mapping[str, Any]) -> list[str]:
        """What keeps this sweep from going on with what an earlier one, a `to_dict`, began; a line for each key.

        More seeds and more values on axes are no differences.
        """
        now = {**_flat(self.to_dict()), "seeds": self.seeds}
        before = {**_flat(earlier), "seeds": earlier.get("seeds")}
        lines = []
        for key in sorted({*now, *before} - set(FREE)):
            old, new = before.get(key, "absent"), now.get(key, "absent")
            if old != new and not (key == "seeds" and _covers(new, old)) and not _widened(key, old, new):
                lines.append(f"{key}: {_text(old)} there, {_text(new)} now")
        return lines


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
        >>> [task["model"]["depth"] for task, _ in plan.product()], len(plan.seed_numbers)
        ([2, 3], 4)
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
    precision: Any = PRECISION
    images_per_chunk: int = 16
    apply: Mapping[str, Any] = field(default_factory=dict)
    init: Mapping[str, str] = field(default_factory=dict)
    method: str | None = None
    spatial_axes: Sequence[int] | None = None

    def __post_init__(self):
        for key in ("model", "apply", "init"):
            if not isinstance(getattr(self, key), Mapping):
                raise InputError(f"{key} = {getattr(self, key)!r} is not a table. Write its entries below [{key}].")
        if not isinstance(self.model.get("source"), str | list):
            raise InputError('The sweep names no model. Write source = "zoo:conv_stack" below [model].')
        for name, values in self.axes.items():
            if not values:
                raise InputError(f"The axis {name} is empty. Give at least one value, or leave the key out.")
            twice = [value for i, value in enumerate(values) if value in values[:i]]
            if twice:
                raise InputError(f"The axis {name} holds {twice[0]!r} twice. Give each value once.")
        for name in ("inputs", "input", "variables", "layer", "wrt"):
            for value in self.axes.get(name, [getattr(self, name)]):
                if not isinstance(value, str) and not (value is None and name != "inputs"):
                    raise InputError(f"{name} = {value!r} is not text. Write for example {EXAMPLES[name]}.")
        if (
            isinstance(self.images_per_chunk, bool)
            or not isinstance(self.images_per_chunk, int)
            or self.images_per_chunk < 1
        ):
            raise InputError(
                f"images_per_chunk = {self.images_per_chunk!r} is not a count. Give a number of at least 1."
            )
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
            settings = {f.name: place.get(f.name, getattr(self, f.name)) for f in fields(self)}
            settings = {key: value for key, value in settings.items() if key not in ASKED}
            settings["model"] = {key: place.get(f"model.{key}", value) for key, value in self.model.items()}
            yield settings, place


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
    if "model" not in given:
        raise InputError('The sweep names no model. Write [model] and source = "zoo:conv_stack".')
    return Specification(**given)


def read(path: str | Path, changes: Sequence[tuple[str, Any]] = ()) -> Specification:
    """The specification in a TOML file, with some values changed.

    Args:
        path: the file. Paths in it are relative to the working folder.
        changes: pairs of a dotted key, `model.depth`, and its new value.

    Raises:
        InputError: there is no such file, it is not TOML, or a value does not fit.
        UnknownNameError: an unknown key.
    """
    try:
        given = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(f"There is no sweep at {path}: {error.strerror}. Give the path of a TOML file.") from error
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error}.") from error
    for key, value in changes:
        table, parts = given, key.split(".")
        for part in parts[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise InputError(f"{key} cannot be set: {part} is {table!r}, not a table.")
        table[parts[-1]] = value
    return from_dict(given)


def check_options(measure: str, options: Mapping[str, Any]) -> None:
    """Raise for an option that a measure does not have.

    Raises:
        UnknownNameError: says the nearest; or there is no such measure.
    """
    known = [*inspect.signature(known_measures[measure]).parameters][1:]
    for name in options:
        if name not in known or name in ("center", "origin", "input_shape", "box"):
            raise unknown(
                f"option of the measure {measure!r}", name, {*known} - {"center", "origin", "input_shape", "box"}
            )


def _ranges(seeds: Any) -> Ranges:
    """Numbers from a count, or from text such as "0:8,16:32".

    >>> list(_ranges("0:3,5:6")), list(_ranges(2))
    ([0, 1, 2, 5], [0, 1])
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        seeds = f"0:{seeds}"
    bounds: list[tuple[int, int]] = []
    for part in str(seeds).split(","):
        found = re.fullmatch(r"\s*(\d{1,10}):(\d{1,10})\s*", part)
        if not found or not int(found[1]) < int(found[2]) <= 2**32:
            raise InputError(
                f'seeds = {seeds!r}: {part!r} is not a range. Write "0:256", the first and one past the last.'
            )
        if bounds and int(found[1]) < bounds[-1][1]:
            raise InputError(f"seeds = {seeds!r}: the range {part!r} overlaps or precedes another. Put them in order.")
        bounds.append((int(found[1]), int(found[2])))
    return Ranges(bounds)


def _covers(new: Any, old: Any) -> bool:
    """Whether seeds `new` hold those of `old`."""
    if new is None or old is None or "absent" in (new, old):
        return False
    return _ranges(new).holds(_ranges(old))


def _widened(key: str, old: Any, new: Any) -> bool:
    """Whether the axis `new` holds the value or values `old`."""
    if key.partition(".")[0] in SINGLE or not isinstance(new, list) or old == "absent":
        return False
    return all(value in new for value in (old if isinstance(old, list) else [old]))


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """With the entries of `model` as keys of their own."""
    model = {f"model.{key}": value for key, value in given.get("model", {}).items()}
    return {**{key: value for key, value in given.items() if key != "model"}, **model}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{value} is not a value for a sweep. Use a finite number.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"{value!r} is of type {type(value).__name__}. A sweep holds numbers, text, lists and tables.")


def _text(value: Any) -> str:
    return value if value == "absent" else repr(value)
