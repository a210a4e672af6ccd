"""A protocol: every choice that a published number rests on, as data.

It fixes input size, units, channels, score, average, what is shown and what is measured.
It holds no weights and no images: those are the caller's, and the protocol says which were meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrf.base.registry import Registry
from jaxrf.errors import InputError

if TYPE_CHECKING:
    from jaxrf.results.result import Result

protocols: "Registry[Protocol]" = Registry("protocol")
displays: Registry[Callable[[np.ndarray], np.ndarray]] = Registry("display transform")
FIXED = ("units", "channels", "score", "average")


@dataclass(frozen=True)
class Reading:
    """A measure with its options, and the name under which the source reports it."""

    label: str
    measure: str
    options: Mapping[str, Any] = field(default_factory=dict)
    part: str | None = None


@dataclass(frozen=True)
class Protocol:
    """A published way to make effective receptive fields.

    Attributes:
        name: its registered name.
        source: paper and code.
        input_size: spatial size of the images, or None where any is used.
        inputs: which images, in words.
        count: how many samples the source averages over; None where it is not fixed.
        units: of the layer: "center" (by geometry) or "middle" (position `n // 2` of each axis).
        channels: the rule for a unit's channels.
        score: what an input position gets.
        average: "weighted" or "normalized".
        display: name of the transform before the map is shown.
        readings: what is measured, on the mean map; none where the source shows a figure alone.
        known: facts from the source.
        unknown: what the source leaves open, and how it is read here.
        incomparable: what in the protocol keeps its numbers from being compared, with each other or with ours.
    """

    name: str
    source: str
    input_size: tuple[int, ...] | None
    inputs: str
    count: int | None
    units: str
    channels: str | int
    score: str
    average: str
    display: str
    readings: tuple[Reading, ...]
    known: tuple[str, ...]
    unknown: tuple[str, ...]
    incomparable: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Protocol({self.name}: {', '.join(f'{name} {getattr(self, name)!r}' for name in FIXED)})"

    def settings(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The options for `jaxrf.erf` that it fixes: units, channels, score and average.

        Args:
            given: options that the caller chose; they may repeat the protocol, not contradict it.

        Raises:
            InputError: they contradict it.
        """
        fixed = {name: getattr(self, name) for name in FIXED}
        for name, value in (given or {}).items():
            if name in fixed and not _same(value, fixed[name]):
                raise InputError(
                    f"The protocol {self.name!r} fixes {name}={fixed[name]!r}, and {name}={value!r} was given. "
                    "Leave it out, or go without the protocol and choose all options yourself."
                )
        return fixed

    def check_size(self, spatial: tuple[int, ...]) -> None:
        """Raises an `InputError` unless images have the protocol's size."""
        if self.input_size is not None and tuple(spatial) != self.input_size:
            wanted, found = ("x".join(map(str, size)) for size in (self.input_size, spatial))
            raise InputError(
                f"The protocol {self.name!r} is for images of {wanted} positions, and these have {found}. "
                "Resize them; effective fields of other sizes are not its numbers."
            )

    def read(self, result: Result) -> dict[str, Any]:
        """What it measures, on a result, by the source's names; each over units.

        Raises:
            InputError: the result was made with other choices.
        """
        self.settings({name: getattr(result, name) for name in ("channels", "score", "average")})
        self.check_size(result.input_shape)
        return {r.label: result.measuring(r.measure, r.part, **r.options)(result.mean) for r in self.readings}

    def shown(self, maps: np.ndarray) -> np.ndarray:
        """Maps (unit, *spatial) as the source shows them."""
        return displays[self.display](np.asarray(maps, np.float64))


@displays.register("as_is")
def as_is(maps: np.ndarray) -> np.ndarray:
    """The maps themselves."""
    return maps


@displays.register("log10_of_one_more")
def log10_of_one_more(maps: np.ndarray) -> np.ndarray:
    """`log10(map + 1)` divided by its peak; it depends on the scale of the map."""
    return _divided(np.log10(maps + 1), np.max)


@displays.register("power_0.2")
def power_fifth(maps: np.ndarray) -> np.ndarray:
    """The maps to the power 0.2, divided by their peaks."""
    return _divided(maps**0.2, np.max)


@displays.register("power_0.25")
def power_quarter(maps: np.ndarray) -> np.ndarray:
    """The maps to the power 0.25, divided by their peaks."""
    return _divided(maps**0.25, np.max)


@displays.register("peak_to_one")
def peak_to_one(maps: np.ndarray) -> np.ndarray:
    """The maps divided by their peaks."""
    return _divided(maps, np.max)


@displays.register("sum_to_one")
def sum_to_one(maps: np.ndarray) -> np.ndarray:
    """The maps divided by their sums."""
    return _divided(maps, np.sum)


def _divided(maps: np.ndarray, by: Callable[..., np.ndarray]) -> np.ndarray:
    scale = by(maps, axis=tuple(range(1, maps.ndim)), keepdims=True)
    return maps / np.where(scale > 0, scale, 1.0)


def _same(value: Any, fixed: Any) -> bool:
    return type(value) is type(fixed) and value == fixed
