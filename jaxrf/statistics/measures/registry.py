"""The registry of measures, and what a measure says of itself beside its number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxrf.base.registry import Registry

measures: Registry[Callable[..., Any]] = Registry("measure")


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
