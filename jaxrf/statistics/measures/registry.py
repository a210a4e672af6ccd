"""The registry of measures, and what a measure says of itself beside its number."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxrf.base.registry import Registry
from jaxrf.errors import InputError, unknown

measures: Registry[Callable[..., Any]] = Registry("measure")

PLACES = ("center", "origin", "input_shape", "box")
"""Arguments that say where maps lie, and which a result hands to its measures."""


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise for an option that the measure of that name does not have.

    Raises:
        UnknownNameError: says the nearest; or there is no such measure.
    """
    known = {*inspect.signature(measures[name]).parameters} - {"maps", *PLACES}
    for option in options:
        if option not in known:
            raise unknown(f"option of the measure {name!r}", option, known)


def about_center(**only: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a measure that is about the true center, with `only` where options have these values.

    Others take from the center the number of axes alone.
    """

    def mark(measure: Callable[..., Any]) -> Callable[..., Any]:
        measure.about_center = only  # type: ignore[attr-defined]
        return measure

    return mark


def is_about_center(name: str, options: Mapping[str, Any]) -> bool:
    """Whether the measure of that name, with these options, is about the true center of the unit."""
    only = getattr(measures[name], "about_center", None)
    return only is not None and all(options.get(option) == value for option, value in only.items())


def parts_of(value: Any) -> tuple[str, ...]:
    """The names of the numbers that a measure gave together; empty where it gave a single array."""
    return getattr(value, "_fields", ())


def part_of(value: Any, part: str | None, name: str) -> Any:
    """One of the arrays that a measure returns together, or the only one.

    Raises:
        InputError: there is no such part, or several and none was chosen.
    """
    known = parts_of(value)
    if part is None:
        if known:
            raise InputError(f"The measure {name!r} gives several numbers. Choose one, such as part={known[0]!r}.")
        return value
    if part in known or (isinstance(getattr(type(value), part, None), property) and known):
        return getattr(value, part)
    raise InputError(f"The measure {name!r} has no part {part!r}. It has: {', '.join(known) or 'a single number'}.")
