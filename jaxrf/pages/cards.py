"""What the page shows of one result: facts, measures with intervals, what is doubtful, and its drawing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxrf.errors import InputError, visible
from jaxrf.pages.doubts import doubts
from jaxrf.pages.drawings import Drawing, drawing
from jaxrf.report.alike import kind_of
from jaxrf.report.view import view
from jaxrf.results.result import Result

Reading = tuple[str, str, str | None, Mapping[str, Any]]
"""Label, measure, part and options."""


@dataclass(frozen=True)
class Number:
    """A measured number; NaN where it, or an end of its interval, is not known.

    Attributes:
        value, low, high: the number and the ends of its interval.
        missing: why there is no number or no interval; empty where both are there.
    """

    value: float
    low: float
    high: float
    missing: str = ""

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "–"
        return f"{self.value:.4g}" + (f" ({self.low:.3g} to {self.high:.3g})" if np.isfinite(self.low) else "")


@dataclass(frozen=True, eq=False)
class Card:
    """One result on the page.

    Attributes:
        name: what it is called.
        place: its values on the axes of a sweep; empty elsewhere.
        kind: what results must share to be comparable, in words.
        layer, unit, units: whose map it is, which unit is shown, of how many.
        size, stride: theoretical, in words.
        extent: the larger theoretical size.
        samples, worth, dead, nonfinite: counts; `worth` is NaN where it is not known.
        numbers: of each measure, by its label.
        doubts: what a reader should know before believing it.
        drawing: of its map.
        provenance: how it was made.
    """

    name: str
    place: Mapping[str, Any]
    kind: str
    layer: str
    unit: str
    units: int
    size: str
    stride: str
    extent: int
    samples: int
    worth: float
    dead: int
    nonfinite: int
    numbers: Mapping[str, Number]
    doubts: tuple[str, ...]
    drawing: Drawing
    provenance: Mapping[str, Any]


def card(
    name: str,
    place: Mapping[str, Any],
    result: Result,
    unit: int,
    readings: Sequence[Reading],
    level: float,
    count: int,
) -> Card:
    """The card of one unit of a result, one of `count`.

    Raises:
        InputError: there is no such unit.
        UnknownNameError: there is no such measure.
    """
    shown, row = view(result, unit), result.theoretical
    size, stride = (" × ".join("–" if n is None else str(n) for n in values) for values in (row.size, row.stride))
    return Card(
        visible(name), place, kind_of(result), visible(row.name), ", ".join(str(int(n)) for n in result.units[unit]),
        len(result.units), size, stride, max(row.size, default=0), result.count,
        float("nan") if result.effective is None else float(result.effective[unit]), result.dead, result.nonfinite,
        {
            label: _number(result, unit, measure, part, options, level=level)
            for label, measure, part, options in readings
        },
        tuple(doubts(result, shown)), drawing(shown, count), result.provenance,
    )  # fmt: skip


def _number(
    result: Result, unit: int, measure: str, part: str | None, options: Mapping[str, Any], *, level: float
) -> Number:
    """The measure on one unit, the mean over axes of one that has a number for each."""
    nothing = float("nan")
    try:
        value = _mean(result.measuring(measure, part, **options)(result.mean), unit)
        if not result.groups:
            return Number(value, nothing, nothing, "one sample alone")
        with warnings.catch_warnings():  # that there are few samples is said of the result
            warnings.simplefilter("ignore")
            found = result.interval(measure, level=level, part=part, **options)
    except InputError as error:
        return Number(nothing, nothing, nothing, str(error))
    return Number(value, _mean(found.low, unit), _mean(found.high, unit), found.missing)


def _mean(values: Any, unit: int) -> float:
    return float(np.mean(np.asarray(values, np.float64)[unit]))
