"""`jaxrf atlas-redo`: make a row of the atlas again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxrf.cli.options import Command, commands, option, positional

if TYPE_CHECKING:
    from jaxrf.atlases.redo import Again

DIFFERS = 1


@commands.register("atlas-redo")
@dataclass(frozen=True, kw_only=True)
class AtlasRedo(Command):
    """Make a row of the atlas again, and compare.

    It takes about a minute. All samples are taken where that is quick, else the first ones.
    The exit status is 0 when the row agrees: the same bits, or intervals of sigma that meet. It is 1 when it does not.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf atlas-redo unet down_2 --input 64x64x1"""

    network: str = positional("its name in the zoo", metavar="NETWORK")
    layer: str = positional("the last of a stage, as jaxrf atlas lists it", metavar="LAYER")
    input: str | None = option("shape of the input (default: the largest that there is)", metavar="SHAPE")
    images: str = option("noise or photos", default="noise", metavar="KIND")
    file: str | None = option("a table of atlas-export, instead of the stored one", metavar="FILE")

    def run(self) -> int:
        from jaxrf.atlases.atlas import atlas
        from jaxrf.atlases.redo import redo

        found = redo(atlas(self.file).find(self.network, self.layer, input=self.input, images=self.images))
        if self.json:
            print(json.dumps({**facts(found), "stored": {"sigma": found.row.sigma, "samples": found.row.samples}}))
        else:
            print("\n".join(lines(found)))
        return 0 if found.agrees else DIFFERS


def facts(found: Again) -> dict[str, object]:
    """What came out, in JSON's types."""
    names = ("samples", "sigma", "low", "high", "same_bits", "agrees")
    return {name: getattr(found, name) for name in names}


def lines(found: Again) -> list[str]:
    """Stored and new, a line for each, and whether they agree."""
    row = found.row
    stored = f"stored  sigma {row.sigma} in [{row.sigma_low}, {row.sigma_high}], {row.samples} samples"
    new = f"now     sigma {found.sigma:.7g} in [{_short(found.low)}, {_short(found.high)}], {found.samples} samples"
    verdict = "the same bits" if found.same_bits else "they agree" if found.agrees else "they do not agree"
    return [f"{row.network} {row.layer} on {row.input}, {row.images}", stored, new, verdict]


def _short(number: float | None) -> str:
    return "unknown" if number is None else f"{number:.7g}"
