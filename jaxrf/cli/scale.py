"""How far apart positions are, as flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxrf.cli import values
from jaxrf.cli.options import option


@dataclass(frozen=True, kw_only=True)
class ScaleOptions:
    """The flags --spacing, --rate and --spacing-unit of a command."""

    spacing: Any = option(
        "how far apart positions of the input are, as 0.5 or 0.5x0.5x2", parse=values.numbers, metavar="NUMBERS"
    )
    rate: float | None = option("how many positions there are in a unit, as 16000", parse=float, metavar="NUMBER")
    spacing_unit: str | None = option("the unit of --spacing, as um; seconds with --rate", metavar="NAME")

    @property
    def scale_arguments(self) -> dict[str, Any]:
        """Return the arguments of `jaxrf.trf` and `jaxrf.erf` that say the scale."""
        return {"spacing": self.spacing, "unit": self.spacing_unit, "rate": self.rate}
