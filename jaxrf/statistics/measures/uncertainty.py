"""What is known of the error of each measure, and the curve that measures in steps are read off.

A jackknife is right for smooth functions of the mean map. Beside each measure stands what else there is to know:
on which scale its errors are symmetric, whether noise in the map biases it, whether it moves in steps,
and, where no interval is right, why there is none.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec

import numpy as np

from jaxrf.statistics.measures.arrays import Array, namespace, rounding
from jaxrf.statistics.measures.registry import measures
from jaxrf.statistics.measures.steps import in_steps

Q = ParamSpec("Q")

SCALES = {"plain": "symmetric about the value", "log": "symmetric on a logarithmic scale"}


@dataclass(frozen=True)
class Uncertainty:
    """How the interval of a measure, or of one part of it, is made.

    Attributes:
        scale: "plain", or "log" for positive numbers: their intervals end at `value / factor` and `value * factor`.
        corrected: True where noise in the map shifts the measure by more than its error tells, as speckle lowers the
            effective number of positions: the interval then lies about the value less its bias.
        curve: for a number that is read off a curve, the function that makes the `Curve`, with the measure's arguments.
            Such a number moves in steps, and so do the ends of its interval: they are read off the curve's own bounds.
        missing: why there is no interval; empty where there is one.
    """

    scale: str = "plain"
    corrected: bool = False
    curve: Callable[..., Curve] | None = None
    missing: str = ""

    def __str__(self) -> str:
        if self.missing:
            return f"It has no interval: {self.missing}"
        if self.curve is not None:
            return "It moves in steps: its interval ends on steps, and holds the true one at least as often as stated."
        return f"Its interval is {SCALES[self.scale]}{', less its bias' * self.corrected}."


@dataclass(frozen=True, eq=False)
class Curve:
    """A rising curve, and the level at which a number is read off it.

    Attributes:
        level: (*lead, k), rising along the last axis; NaN for maps without a field.
        value: what has that level, rising too; broadcasts to (*lead, k).
        at: the level that is looked for.
        scale: from a value that was read, (*lead), to the number that is measured; it rises.
    """

    level: Any
    value: Any
    at: float
    scale: Callable[[Any], Any] = lambda value: value

    def read(self, level: Any = None) -> Any:
        """The number at the first value whose level is at least `at`, (*lead); NaN where there is none.

        Args:
            level: to be read in place of the curve's own.
        """
        level = self.level if level is None else level
        xp = namespace(level, self.value)
        if not level.shape[-1]:
            return xp.full(level.shape[:-1], np.nan)
        reached = level >= self.at - rounding(level)
        index = xp.argmax(reached, axis=-1)[..., None]
        value = xp.take_along_axis(xp.broadcast_to(self.value, level.shape), index, axis=-1)[..., 0]
        return self.scale(xp.where(reached.any(-1), value, np.nan))


def uncertainty(whole: Uncertainty | None = None, **parts: Uncertainty) -> Callable[[Callable], Callable]:
    """Declare how the interval of a measure is made, or of each part of one that gives several numbers."""

    def declare(measure: Callable[..., Any]) -> Callable[..., Any]:
        measure.uncertainty = parts if whole is None else whole  # type: ignore[attr-defined]
        return measure

    return declare


def read_off(instead: str) -> Callable[[Callable[Q, Curve]], Callable[Q, Array]]:
    """Make a measure of the function that gives the `Curve` which it is read off.

    It moves in steps, and so do the ends of its interval.

    Args:
        instead: the measure to differentiate in its place.
    """

    def make(curve: Callable[Q, Curve]) -> Callable[Q, Array]:
        @functools.wraps(curve)
        def measure(*args: Q.args, **options: Q.kwargs) -> Array:
            return curve(*args, **options).read()

        signature = inspect.signature(curve)
        measure.__signature__ = signature.replace(return_annotation='Float[Array, "*lead"]')  # type: ignore[attr-defined]
        return uncertainty(Uncertainty(curve=curve))(in_steps(instead)(measure))

    return make


def uncertainty_of(name: str, part: str | None = None) -> Uncertainty:
    """What the measure of that name declares of itself or of its `part`; plain where it declares nothing.

    Raises:
        UnknownNameError: there is no such measure.
    """
    declared = getattr(measures[name], "uncertainty", Uncertainty())
    return declared.get(part, Uncertainty()) if isinstance(declared, Mapping) else declared
