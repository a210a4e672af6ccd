"""Two results side by side: the difference of a measure, with an interval that knows what they share.

Two models, initializations or layers that saw the same images under the same seeds differ by less than
their own errors say, because what a seed or an image does to one it often does to the other.
Leaving the same seeds out of both keeps that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from jaxrf.base.html import facts
from jaxrf.errors import InputError
from jaxrf.results.result import Result
from jaxrf.statistics import Groups, Interval, jackknife
from jaxrf.statistics.groups import align
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty_of

STEPS = (
    "it moves in steps, and so would the difference. Compare numbers that do not: "
    '"energy_within" for "area_ratio" and "energy_radius", "participation" for "smallest_area".'
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A measure on two results.

    Attributes:
        measure: its name.
        a, b: the two values, (unit, ...).
        difference: `a - b` with its interval.
        paired: whether the same seeds or images were left out of both.
    """

    measure: str
    a: np.ndarray
    b: np.ndarray
    difference: Interval
    paired: bool

    def __repr__(self) -> str:
        how = "paired" if self.paired else "unpaired"
        return f"{self.measure}: {np.ravel(self.a)} - {np.ravel(self.b)} = {self.difference} ({how})"

    def _repr_html_(self) -> str:
        how = "paired" if self.paired else "unpaired"
        both = (", ".join(f"{n:.6g}" for n in np.ravel(values)) for values in (self.a, self.b))
        return facts(f"{self.measure}, {how}", zip(("a", "b", "a - b"), (*both, self.difference)))


def compare_two(
    a: Result,
    b: Result,
    *,
    measure: str,
    paired: bool | None = None,
    level: float = 0.95,
    over: str | None = None,
    part: str | None = None,
    **options: Any,
) -> Comparison:
    """The difference of a measure between two results.

    Args:
        a: a result with samples by seed or by image.
        b: another, of as many units.
        measure: a registered name.
        paired: whether both saw the same seeds and images; found out from what they say of themselves if None.
            Arrays of images are told apart by their shape alone, so say False where they are others.
        level: nominal coverage of the interval.
        over: "seeds" or "images"; seeds where both have several if None.
        part: which number of a measure that has several.
        **options: of the measure.

    Returns:
        Both values, and `a - b` with its interval, made from the jackknife intervals of both.
        Paired, it knows what the two share; unpaired, the squared errors add, with the degrees of freedom of Welch.
        A measure that has no interval has none here; nor has one that moves in steps: the reason is in `missing`.

    Raises:
        InputError: nothing to leave out, different units, or `paired=True` on different seeds or images.
        UnknownNameError: there is no such measure.

    References:
        Welch (1947), The generalization of Student's problem when several different population variances are involved.
    """
    ours, theirs, factor = _factor(a, b, over)
    reason = _apart(a, b, ours, theirs, factor)
    if paired and reason:
        raise InputError(f"These results cannot be paired: {reason}. Run both on the same, or pass paired=False.")
    on_a, on_b = (result.measuring(measure, part, **options) for result in (a, b))
    value_a, value_b = (np.asarray(on(r.mean), np.float64) for on, r in ((on_a, a), (on_b, b)))
    if value_a.shape != value_b.shape:
        raise InputError(
            f"The measure {measure!r} gives numbers of shape {value_a.shape} and {value_b.shape}. "
            "Compare results of as many units and spatial axes as each other."
        )
    known = uncertainty_of(measure, part)
    alike = not (reason or paired is False)
    if alike:
        ours, theirs = align(ours, theirs)
    one, other = _Side(ours, on_a, value_a), _Side(theirs, on_b, value_b)
    known = replace(known, missing=known.missing or STEPS * (known.curve is not None))
    found = _difference(one, other, alike, known, level, factor)
    return Comparison(measure, value_a, value_b, found, paired=alike)


@dataclass(frozen=True, eq=False)
class _Side:
    """One of two results: its blocks, the measure as a function of its maps, and the value on all of them."""

    groups: Groups
    measured: Callable[[np.ndarray], Any]
    value: np.ndarray

    @cached_property
    def left_out(self) -> list[np.ndarray]:
        return [np.asarray(self.measured(part), np.float64) for part in self.groups.without_each()]

    @cached_property
    def stderr(self) -> np.ndarray:
        return jackknife.jackknifed(self.value, self.left_out, self.groups.counts()).stderr


def _difference(a: _Side, b: _Side, paired: bool, known: Uncertainty, level: float, factor: str) -> Interval:
    """The interval of the difference of two results, as `jackknife.difference` makes it from theirs."""
    freedoms = [jackknife.freedom_of(side.groups, factor) for side in (a, b)]
    if known.missing:
        none, value = np.full(a.value.shape, np.nan), a.value - b.value
        blocks = min(len(side.groups.blocks) for side in (a, b))
        return Interval(value, none, none, none, none, level, factor, blocks, none, known.missing)
    if paired:
        differences = [one - other for one, other in zip(a.left_out, b.left_out, strict=True)]
        counts = np.minimum(a.groups.counts(), b.groups.counts())
        stderr = jackknife.jackknifed(a.value - b.value, differences, counts).stderr
        freedom = np.minimum(*freedoms)
    else:
        stderr = np.hypot(a.stderr, b.stderr)
        freedom = jackknife.welch([a.stderr, b.stderr], freedoms)
    how = {"level": level, "over": factor, "known": known}
    of_a, of_b = (
        jackknife.from_left_out(side.value, side.left_out, side.groups.counts(), freedom, **how) for side in (a, b)
    )
    return jackknife.difference(of_a, of_b, stderr)


def _factor(a: Result, b: Result, over: str | None) -> tuple[Groups, Groups, str]:
    """The sums of both by the levels of a factor that both have."""
    if over is None and "seeds" in a.groups and "seeds" not in b.groups:
        over = "images"
    ours, factor = a.samples_over(over)
    theirs, factor = b.samples_over(over or factor)
    return ours, theirs, factor


def _apart(a: Result, b: Result, ours: Groups, theirs: Groups, factor: str) -> str:
    """Why two results are not of the same seeds and images; empty if they are."""
    if ours.seen != theirs.seen:
        return f"one has {ours.levels} {factor} and the other {theirs.levels}, or other ones"
    for name in ("seeds", "inputs"):
        if (one := a.provenance.get(name)) != (other := b.provenance.get(name)):
            return f"their {name} are {one!r} and {other!r}"
    return ""
