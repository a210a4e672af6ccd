"""Positions in physical units: how far apart they are, and a row's numbers in these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxrf.errors import InputError
from jaxrf.geometry.index import Unit
from jaxrf.geometry.layer_field import LayerField


@dataclass(frozen=True)
class Scale:
    """The distance of neighboring positions of the input, per axis, in `unit`.

    Example:
        >>> print(Scale((0.5, 0.5, 2.0), "µm"))
        0.5 × 0.5 × 2 µm
    """

    spacing: tuple[float, ...]
    unit: str = ""

    @classmethod
    def of(cls, spacing: float | Sequence[float] | None, unit: str | None, rate: float | None, axes: int) -> Scale:
        """A scale as users say it.

        Args:
            spacing: one number for all axes or one for each.
            unit: its name; "s" with a rate, none if None.
            rate: positions per unit, in place of the spacing: 16_000 for samples in a second.
            axes: how many spatial axes there are.

        Raises:
            InputError: both or neither of spacing and rate, or numbers that are not above zero.
        """
        if (spacing is None) == (rate is None):
            raise InputError(
                f"spacing={spacing!r} and rate={rate!r}: needed is one of them, the distance of two positions or how many "
                "there are in a unit."
            )
        given = spacing if rate is None else (1 / rate if _above_zero(rate) else rate)
        each = tuple(given) if isinstance(given, Sequence) else (given,) * axes
        if len(each) != axes or not all(map(_above_zero, each)):
            name, value = ("spacing", spacing) if rate is None else ("rate", rate)
            raise InputError(f"{name}={value!r} is not a number above zero for all or each of the {axes} spatial axes.")
        return cls(tuple(map(float, each)), ("s" if rate is not None else "") if unit is None else unit)  # type: ignore[arg-type]

    @classmethod
    def said(
        cls, spacing: float | Sequence[float] | None, unit: str | None, rate: float | None, axes: int
    ) -> Scale | None:
        """Make one as `of` does; None where nobody said anything."""
        return None if spacing is unit is rate is None else cls.of(spacing, unit, rate, axes)

    def of_pairs(self, pairs: Sequence[tuple[float, float] | None]) -> tuple[tuple[float, float] | None, ...]:
        """Pairs of numbers of positions, one pair per axis, in the unit."""
        return tuple(None if pair is None else (pair[0] * d, pair[1] * d) for pair, d in zip(pairs, self.spacing))

    def of_numbers(self, numbers: Sequence[Any]) -> tuple[float | None, ...]:
        """Numbers of positions, one per axis, in the unit."""
        return tuple(None if n is None else float(n) * d for n, d in zip(numbers, self.spacing))

    def words(self, number: float, axis: int = 0) -> str:
        """A number of positions along an axis in words.

        >>> Scale((1 / 16_000,), "s").words(511)
        '0.0319 s'
        """
        return f"{number * self.spacing[axis]:.3g}" + f" {self.unit}" * bool(self.unit)

    def __str__(self) -> str:
        return " × ".join(f"{one:g}" for one in self.spacing) + f" {self.unit}" * bool(self.unit)


def _as_row(name: str) -> property:
    """Numbers of a row, one per axis, by their name."""
    return property(lambda self: self.scale.of_numbers(getattr(self.row, name)), doc=f"As `row.{name}`.")


@dataclass(frozen=True, eq=False)
class Physical:
    """The numbers of a row in physical units, per axis; those that the row does not have are None.

    Sizes, strides, paddings and contexts are numbers of positions times their distance. Position 0 lies at 0.
    """

    row: LayerField
    scale: Scale

    size = _as_row("size")
    stride = _as_row("stride")
    padding = _as_row("padding")
    look_back = _as_row("look_back")
    look_ahead = _as_row("look_ahead")
    latency = _as_row("latency")

    def center(self, unit: Unit) -> tuple[float | None, ...]:
        """As `row.center`."""
        return self.scale.of_numbers(self.row.center(unit))

    def box(self, unit: Unit, clip: bool = False) -> tuple[tuple[float, float], ...]:
        """As `row.box`."""
        return self.scale.of_pairs(self.row.box(unit, clip))  # type: ignore[return-value]

    def halo(self, aligned: bool = True) -> tuple[tuple[float, float] | None, ...]:
        """As `row.halo`."""
        return self.scale.of_pairs(self.row.halo(aligned))

    def __repr__(self) -> str:
        facts = {"size": self.size, "stride": self.stride, "latency": self.latency}
        shown = (f"{name} {_text(value)}" for name, value in facts.items())
        return f"{self.row.name}: {', '.join(shown)}{f' {self.scale.unit}' * bool(self.scale.unit)}"


def _text(numbers: Sequence[float | None]) -> str:
    return " x ".join("none" if n is None else f"{n:g}" for n in numbers)


def _above_zero(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 < number < math.inf
