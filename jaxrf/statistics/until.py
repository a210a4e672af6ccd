"""When to stop: a relative standard error that is wanted of a measure, looked at when the samples have doubled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

import numpy as np

from jaxrf.errors import InputError, unknown
from jaxrf.statistics.gathered import TRUSTED
from jaxrf.statistics.measures.uncertainty import uncertainty_of

FIRST = 32


@dataclass(frozen=True)
class Until:
    """A stopping rule.

    It is looked at with 32 samples, 64, 128 and so on:
    an error that is looked at after every sample is too small when the run stops,
    because it stops where the error happens to be small.

    Attributes:
        error: relative standard error to reach, on all units.
        measure: of which measure of the mean map.
        options: of the measure.
        part: which of its numbers, for a measure that has several.
        cap: samples after which the run stops in any case.

    Raises:
        InputError: an error that is not positive, a cap below 32, or a measure that has no interval.
        UnknownNameError: there is no such measure.

    Example:
        >>> rule = Until(0.01, "area_ratio", options={"share": 0.5})
        >>> rule.next_check(32), rule.next_check(33), rule.next_check(5000)
        (64, 64, 4096)
    """

    error: float
    measure: str = "sigma"
    options: Mapping[str, Any] = field(default_factory=dict)
    part: str | None = None
    cap: int = 4096

    def __post_init__(self):
        if not isinstance(self.error, Real) or isinstance(self.error, bool) or not 0 < self.error < np.inf:
            raise InputError(f"until={self.error!r} is not a relative error. It is a positive number, such as 0.01.")
        if not isinstance(self.cap, Integral) or isinstance(self.cap, bool):
            raise InputError(f"cap={self.cap!r} is not a number of samples. It is a whole number of at least {FIRST}.")
        if self.cap < FIRST:
            raise InputError(f"A cap of {self.cap} samples leaves nothing to look at: the first look is at {FIRST}.")
        if not isinstance(self.options, Mapping):
            raise InputError(
                f"options={self.options!r} is not a table of a measure's options, such as {{'share': 0.5}}."
            )
        if missing := uncertainty_of(self.measure, self.part).missing:
            raise InputError(f"until cannot wait for the error of {self.measure!r}, which has no interval: {missing}")

    def next_check(self, count: int) -> int:
        """How many samples the next look needs, after `count` samples."""
        check = FIRST
        while check <= count:
            check *= 2
        return min(check, self.cap)

    def stops(self, result: Any) -> bool:
        """Whether to stop, at a look at the `jaxrf.results.result.Result` of the samples so far."""
        return result.count >= self.cap or self.reached(result)

    def reached(self, result: Any) -> bool:
        """Whether the error of a result is as small as it should be.

        It is not while the mean is worth fewer than 30 samples, whose errors are not known well enough;
        units that are always dead are not waited for.
        """
        if (result.effective < TRUSTED).any():
            return False
        found = result.interval(self.measure, part=self.part, **self.options)
        dead = np.isnan(result.effective)
        relative = np.where(dead.reshape(-1, *(1,) * (found.value.ndim - 1)), 0.0, found.relative)
        return bool((relative <= self.error).all())


def as_until(until: float | Mapping[str, Any] | Until | None) -> Until | None:
    """A number as the rule for sigma, or a table of a rule's fields.

    Raises:
        UnknownNameError: a key that there is not.
        InputError: no error is named, or a value does not fit.
    """
    if until is None or isinstance(until, Until):
        return until
    given = until if isinstance(until, Mapping) else {"error": until}
    known = [f.name for f in fields(Until)]
    for key in given:
        if key not in known:
            raise unknown("key of until", key, known)
    if not isinstance(given.get("error"), Real):
        raise InputError(f"until = {until!r} names no relative error. Write until = 0.01, or error = 0.01.")
    return Until(**given)
