"""Results by name from wherever they are: in memory, in files, in the folder of a run, in a sweep."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxrf.errors import InputError, JaxrfError, StoreError
from jaxrf.pages.cards import Reading
from jaxrf.report.alike import named
from jaxrf.results.result import Result, load
from jaxrf.sweeps.results import Sweep
from jaxrf.sweeps.results import open as open_sweep

OF_A_RUN = "erf.zarr"
"""The result in a folder that `jaxrf erf --out` or `jaxrf demo` wrote."""


@dataclass(frozen=True)
class Found:
    """One result with its name, and its values on the axes of a sweep."""

    name: str
    result: Result
    place: Mapping[str, Any] = field(default_factory=dict)


def find(given: Any) -> tuple[Sequence[Reading], int, Iterator[Found]]:
    """The measures that a sweep among what is given asks for, how many results there can be, and these, read one by one.

    Args:
        given: results by name or in a list, a result, a sweep, or paths of these.

    Raises:
        InputError: something else, or nothing.
        StoreError: a path where neither a result nor a sweep is.
    """
    if isinstance(given, Result | Sweep | str | os.PathLike):
        given = [given]
    if isinstance(given, Mapping):
        return [], len(given), _in_memory(given)
    if not isinstance(given, Sequence) or not given:
        what = "nothing" if isinstance(given, Sequence) else type(given).__name__
        raise InputError(f"A report needs results: a dict by name, a list, a sweep, or paths; {what} was given.")
    if all(isinstance(one, Result) for one in given):
        return [], len(given), _in_memory(given)
    opened = [_opened(one) for one in given]
    readings = next((one.asked.readings for one in opened if isinstance(one, Sweep)), [])
    count = sum(len(one) if isinstance(one, Sweep) else 1 for one in opened)
    names = [Path(one).name if isinstance(one, str | os.PathLike) else "" for one in given]
    return readings, count, _each(opened, names)


def _in_memory(given: Any) -> Iterator[Found]:
    results: dict[str, Any] = named(given)
    return (Found(name, result) for name, result in results.items())


def _opened(given: Any) -> Any:
    """The result or sweep at a path; what is none of them is an error now, before anything is drawn."""
    if isinstance(given, Result | Sweep):
        return given
    if not isinstance(given, str | os.PathLike):
        raise InputError(
            f"A {type(given).__name__} was given for a report, which needs results, sweeps or paths of them."
        )
    run = Path(given) / OF_A_RUN
    try:
        return open_sweep(given)
    except JaxrfError as not_a_sweep:
        try:
            return load(run if run.exists() else given)
        except StoreError as not_a_result:
            raise StoreError(
                f"{given} is neither a result nor a sweep. As a sweep: {not_a_sweep} As a result: {not_a_result}"
            ) from not_a_result


def _each(opened: Sequence[Any], names: Sequence[str]) -> Iterator[Found]:
    several = len(opened) > 1
    for i, (one, name) in enumerate(zip(opened, names)):
        if isinstance(one, Result):
            yield Found(name if name and names.count(name) == 1 else f"{name or one.theoretical.name} ({i})", one)
            continue
        before = f"{name or i}: " if several else ""
        for entry in one:
            if one.count(entry):
                place = {key.removeprefix("model."): value for key, value in entry.place.items()}
                called = ", ".join(f"{key} {value}" for key, value in place.items()) or "the only task"
                yield Found(before + called, one.result(entry), place)
