"""`jaxrf report`: one page about many results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from jaxrf.cli import figures
from jaxrf.cli.options import Command, commands, option, positional
from jaxrf.errors import InputError


@commands.register("report")
@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Write one page about results: maps, sizes, warnings.

    PLACE is the folder of a sweep or a run, or a saved result (.zarr, .npz, .nc); there may be several.
    The page is one file that needs no network. A sweep may still be running: the page shows what is there.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf report runs/depths --out depths.html
  jaxrf report runs/r18 runs/r50 other.npz --out nets.html --measure sigma --measure participation"""

    places: tuple[str, ...] = positional("folders of sweeps and runs, saved results", metavar="PLACE", many=True)
    out: str | None = option("the page, such as report.html", metavar="FILE")
    title: str = option("what stands above the page", default="")
    measure: tuple[str, ...] = option(
        "a measure of the table; may be repeated (default: those of the sweep)", metavar="NAME", repeat=True
    )
    unit: int = option("number of the unit that is shown of each result", default=0, parse=int, metavar="N")
    level: float = option("nominal coverage of the intervals", default=0.95, parse=float, metavar="SHARE")
    overwrite: bool = option("replace what is at --out", default=False)

    def run(self) -> int:
        from jaxrf.pages.write import write_report

        if not self.places:
            raise InputError("A report needs results: the folder of a sweep or a run, or a saved result.")
        if self.out is None:
            raise InputError("The page needs a place. Add --out report.html.")
        figures.without_window()
        page = write_report(
            list(self.places), self.out, title=self.title, measures=self.measure or None, unit=self.unit,
            level=self.level, overwrite=self.overwrite,
        )  # fmt: skip
        print(json.dumps({"written": [str(page)]}, indent=2) if self.json else f"wrote {page}")
        return 0
