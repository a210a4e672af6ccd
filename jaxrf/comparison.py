"""Two results side by side: the difference of a measure, with an interval that knows what they share.

Two models, initializations or layers that saw the same images under the same seeds differ by less than
their own errors say, because what a seed or an image does to one it often does to the other.
Leaving the same seeds out of both keeps that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.result import Result
from jaxrf.statistics import Groups, Interval, jackknife
from jaxrf.statistics.groups import align
from jaxrf.statistics.measures.registry import is_step_function


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


def compare(
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
        Both values, and `a - b` with its jackknife interval.
        Unpaired, the squared errors add, with the degrees of freedom of Welch.

    Raises:
        InputError: nothing to leave out, different units, or `paired=True` on different seeds or images.
        UnknownNameError: there is no such measure.

    Example:
        >>> import jaxrf
        >>> from jaxrf import zoo
        >>> call = {"inputs": jaxrf.noise(1), "input_shape": (20, 20, 3), "seeds": 4}
        >>> deep, flat = (jaxrf.erf(zoo.conv_stack(depth=n, width=4), **call) for n in (6, 3))
        >>> found = jaxrf.compare(deep, flat, measure="sigma")
        >>> found.paired, bool((found.difference.value > 0).all())
        (True, True)

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
    both = {"level": level, "over": factor, "approximate": is_step_function(measure)}
    if reason or paired is False:
        of_a, of_b = (jackknife.interval(g, on, r.mean, **both) for g, on, r in ((ours, on_a, a), (theirs, on_b, b)))
        return Comparison(measure, value_a, value_b, jackknife.difference(of_a, of_b), paired=False)
    ours, theirs = align(ours, theirs)
    pairs = zip(ours.without_each(), theirs.without_each(), strict=True)
    left_out = [np.asarray(on_a(x), np.float64) - np.asarray(on_b(y), np.float64) for x, y in pairs]
    counts = np.minimum(ours.counts(), theirs.counts())
    found = jackknife.from_left_out(value_a - value_b, left_out, counts, **both)
    return Comparison(measure, value_a, value_b, found, paired=True)


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
