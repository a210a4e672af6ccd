"""Many results, each with its place on the axes of a product: as one table of measures, and as one stacked record."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxrf import store
from jaxrf.errors import InputError, JaxrfError, cell, unknown
from jaxrf.results.result import Result
from jaxrf.statistics.measures.registry import check_options

Reading = tuple[str, str, str | None, Mapping[str, Any]]
"""Label of a column, measure, part of it, and its options."""
Readings = Sequence[Reading]
COLUMNS = ("task", "layer", "unit", "samples", "effective samples", "dead", "nonfinite", "size", "stride")
TAKEN = {*COLUMNS, "count", "mean", "stderr", "origin", "units", "axis", "unit_axis", "x", "y", "z"} - {"layer"}
"""Names in tables and stacked records that are not of axes; the layer of a task is its own."""
Readout = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Entry:
    """A task as results know it, who need neither the model nor the inputs.

    Attributes:
        id: of the task.
        place: its values on the axes.
    """

    id: str
    place: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A task's result without its sums by seed and image, and its measures: label to (value, standard error) per unit."""

    result: Result
    measured: Readout


def reading(words: Any) -> Reading:
    """What a column is to hold: the name of a measure, or a table of its name, a part and options.

    Raises:
        UnknownNameError: there is no such measure, or it has no such option.
        InputError: there is no name.

    Example:
        >>> reading({"name": "area_ratio", "share": 0.5})
        ('area_ratio share=0.5', 'area_ratio', None, {'share': 0.5})
    """
    options = dict(words) if isinstance(words, Mapping) else {"name": words}
    if not isinstance(options.get("name"), str):
        raise InputError(f'The measure {words!r} has no name. Write {{name = "area_ratio", share = 0.5}}.')
    name, part = options.pop("name"), options.pop("part", None)
    if not isinstance(part, str | None):
        raise InputError(f'The measure {words!r} has a part that is not text. Write part = "y".')
    check_options(name, options)
    label = " ".join([name, *([part] if part else []), *(f"{k}={v}" for k, v in options.items())])
    return label, name, part, options


def outcome(result: Result, readings: Readings) -> Outcome:
    """Measure a result; a measure that does not apply to it is NaN."""
    measured = {label: _measured(result, name, part, options) for label, name, part, options in readings}
    return Outcome(replace(result, groups={}), measured)


def _measured(result: Result, name: str, part: str | None, options: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    nothing = np.full(len(result.units), np.nan)
    try:
        if result.groups:
            with warnings.catch_warnings():  # that there are few samples stands in the table
                warnings.simplefilter("ignore")
                found = result.interval(name, part=part, **options)
            return _per_unit(found.value, nothing), _per_unit(found.stderr, nothing)
        return _per_unit(result.measuring(name, part, **options)(result.mean), nothing), nothing
    except JaxrfError:
        return nothing, nothing


def _per_unit(value: Any, nothing: np.ndarray) -> np.ndarray:
    """One number per unit; the mean over axes of a measure that has one for each."""
    value = np.asarray(value, np.float64)
    return value.reshape(len(nothing), -1).mean(axis=1) if value.size else nothing


def digest(result: Result) -> str:
    """A hash of the numbers of a result: equal where all of their bits are."""
    found = hashlib.sha256(repr((result.count, result.dead, result.nonfinite, result.mean.shape)).encode())
    for array in (result.mean, result.stderr, result.origin, result.units):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def table(
    tasks: Sequence[Entry], outcomes: Mapping[str, Outcome], labels: Sequence[str]
) -> tuple[list[str], list[list[Any]]]:
    """Names of the columns and the rows, one per task and unit."""
    axes = [name for name in tasks[0].place if name not in COLUMNS]  # of the layer, its own name is told
    header = [*axes, *COLUMNS, *itertools.chain.from_iterable((label, f"{label}_stderr") for label in labels)]
    lines = []
    for task in tasks:
        if task.id not in outcomes:
            continue
        result, measured = outcomes[task.id].result, outcomes[task.id].measured
        row = result.theoretical
        for number, unit in enumerate(result.units):
            numbers = [float(column[number]) for label in labels for column in measured[label]]
            worth = np.nan if result.effective is None else float(result.effective[number])
            facts = [task.id, row.name, _joined(unit), result.count, worth, result.dead, result.nonfinite]
            lines.append(
                [*(task.place[name] for name in axes), *facts, _joined(row.size), _joined(row.stride), *numbers]
            )
    return header, lines


def _joined(values: Any) -> str:
    return "x".join(str(value) for value in values)


def csv_text(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """The table as CSV, in which no cell is a formula."""
    text = io.StringIO()
    safe = [[cell(value) if isinstance(value, str) else value for value in line] for line in (header, *lines)]
    csv.writer(text, lineterminator="\n").writerows(safe)
    return text.getvalue()


def parquet(header: list[str], lines: list[list[Any]]) -> bytes:
    """The table as a Parquet file; needs pyarrow."""
    import pyarrow  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet  # pyright: ignore[reportMissingImports]

    columns = {name: _of_one_type(column) for name, column in zip(header, zip(*lines))}
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue()


TABLES = ("table.csv", "table.parquet")


def tables(header: list[str], lines: list[list[Any]]) -> dict[str, bytes]:
    """The table as files of `TABLES`: as CSV, and as Parquet where pyarrow is there and lines are."""
    found = {TABLES[0]: csv_text(header, lines).encode()}
    if importlib.util.find_spec("pyarrow") and lines:
        found[TABLES[1]] = parquet(header, lines)
    return found


def _of_one_type(column: Sequence[Any]) -> list[Any]:
    """A column as it is, or as text where an axis holds different kinds of values.

    >>> _of_one_type((1, 2.5)), _of_one_type(("a", None, [1]))
    ([1, 2.5], ['a', 'None', '[1]'])
    """
    kinds = {"number" if type(value) in (int, float) else type(value) for value in column}
    alike = len(kinds) == 1 and kinds <= {"number", str, bool}
    return list(column) if alike else [str(value) for value in column]


def stack(
    readings: Readings, described: Mapping[str, Any], tasks: Sequence[Entry], outcomes: Mapping[str, Outcome]
) -> tuple[store.Record, dict[str, list[str]]]:
    """All results as one record, and the labels of those axes that are words.

    Maps of different sizes and numbers of units share arrays that are as large as the largest; the rest is NaN, or -1
    for whole numbers. Where tasks differ in their number of spatial axes, maps are left out.
    """
    whole = axes_of(tasks)
    axes = {name.removeprefix("model."): values for name, values in whole.items()}
    if len(axes) < len(whole) or TAKEN & axes.keys():
        axes = whole
    shape = tuple(len(values) for values in axes.values())
    places = {tuple(whole[name].index(value) for name, value in task.place.items()): task for task in tasks}
    found = {at: outcomes[task.id] for at, task in places.items() if task.id in outcomes}
    results = {at: one.result for at, one in found.items()}
    variables = {}

    def add(name: str, inner: Sequence[str], arrays: Mapping[tuple[int, ...], Any]) -> None:
        variables[name] = store.Variable((*axes, *inner), _padded(shape, arrays))

    for name in ("count", "dead", "nonfinite"):
        add(name, (), {at: np.int64(getattr(result, name)) for at, result in results.items()})
    for label, *_ in readings:
        add(label, ("unit",), {at: one.measured[label][0] for at, one in found.items()})
        add(f"{label}_stderr", ("unit",), {at: one.measured[label][1] for at, one in found.items()})
    if len({(result.mean.ndim, result.units.shape[1]) for result in results.values()}) == 1:
        spatial = next(iter(results.values())).mean.ndim - 1
        names = ("z", "y", "x")[3 - spatial :] if spatial <= 3 else tuple(f"axis_{a}" for a in range(spatial))
        for name in ("mean", "stderr"):
            add(name, ("unit", *names), {at: getattr(result, name) for at, result in results.items()})
        add("origin", ("unit", "axis"), {at: result.origin for at, result in results.items()})
        add("units", ("unit", "unit_axis"), {at: result.units for at, result in results.items()})
    labels = {}
    for name, values in axes.items():
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            variables[name] = store.Variable((name,), np.array(values))
        else:
            labels[name] = [str(value) for value in values]
    header = {"kind": "sweep", "specification": described, "tasks": [task.id for task in tasks]}
    return store.Record(variables, header), labels


def axes_of(entries: Sequence[Entry]) -> dict[str, list[Any]]:
    """Names of the axes and the values that tasks have on them, in their order."""
    found: dict[str, list[Any]] = {}
    for entry in entries:
        for name, value in entry.place.items():
            values = found.setdefault(name, [])
            if not any(value == other and type(value) is type(other) for other in values):
                values.append(value)
    return found


def find(entries: Sequence[Entry], place: Mapping[str, Any]) -> Entry:
    """The one task with these values on the axes; `depth` stands for `model.depth`.

    Raises:
        UnknownNameError: there is no such axis.
        InputError: no task has them, or several have.
    """
    axes = axes_of(entries)
    names = {name.removeprefix("model."): name for name in axes}
    for name in place:
        if name not in names:
            raise unknown("axis", name, names)
    found = [entry for entry in entries if all(entry.place[names[name]] == value for name, value in place.items())]
    if len(found) != 1:
        raise InputError(f"{len(found)} tasks have {dict(place)}. The axes are {axes}.")
    return found[0]


def _padded(shape: tuple[int, ...], arrays: Mapping[tuple[int, ...], Any]) -> np.ndarray:
    """Arrays by their places in one array of `shape` and then their largest sizes."""
    some = [np.asarray(array) for array in arrays.values()]
    sizes = tuple(max(column) for column in zip(*(array.shape for array in some)))
    whole = some[0].dtype.kind == "i"
    together = np.full((*shape, *sizes), -1 if whole else np.nan, np.int64 if whole else np.float64)
    for at, array in arrays.items():
        together[(*at, *(slice(n) for n in np.shape(array)))] = array
    return together
