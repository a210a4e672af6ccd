"""Rows made in another place, with all of their samples: `python docs/atlas/twice.py NETWORK:LAYER ...`.

Writes `twice.csv` beside itself: the hash of each row as the run has it, and that of the row made anew without a stop.
"""

from __future__ import annotations

import csv
import math
import sys

from _rows import FOLDER

import jaxrf
from jaxrf.atlases.redo import redo
from jaxrf.atlases.row import AtlasRow

FILE = FOLDER / "twice.csv"
HEADER = ("network", "layer", "input", "samples", "hash", "again")


def line(row: AtlasRow) -> list[str]:
    """A line of the file."""
    again = redo(row, math.inf)
    return [row.network, row.layer, row.input, f"{row.samples}", row.hash, again.hash]


def main() -> None:
    """Make the rows again, and write."""
    atlas = jaxrf.atlas()
    with FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for given in sys.argv[1:]:
            writer.writerow(line(atlas.find(*given.split(":"))))
            file.flush()


if __name__ == "__main__":
    main()
