"""`jaxrf atlas-export`: the table and the maps of a run of the atlas."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from jaxrf.cli.options import Command, commands, option, positional
from jaxrf.errors import InputError


@commands.register("atlas-export")
@dataclass(frozen=True, kw_only=True)
class AtlasExport(Command):
    """Write the table and the maps of a run of the atlas.

    They are what the run has so far, as CSV and as Zarr.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf atlas-export runs/atlas --csv atlas.csv --maps maps"""

    place: str = positional("where atlas-run writes to", metavar="PLACE")
    csv: str | None = option("the table", metavar="FILE")
    maps: str | None = option("a folder for the maps, a Zarr group for each row", metavar="DIR")

    def run(self) -> int:
        from jaxrf.atlases.export import rows, write_maps
        from jaxrf.atlases.row import to_csv

        if self.csv is None and self.maps is None:
            raise InputError("Nothing to write. Add --csv FILE, or --maps DIR, or both.")
        found = list(rows(self.place)) if self.csv is not None else []
        if self.csv is not None:
            Path(self.csv).write_text(to_csv(found))
        maps = write_maps(self.place, self.maps) if self.maps is not None else []
        if self.json:
            print(json.dumps({"rows": len(found), "maps": list(map(str, maps))}))
        else:
            print(f"{len(found)} rows, {len(maps)} maps")
        return 0
