"""`jaxrf atlas`: the rows of the atlas that comes with jaxrf."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxrf.cli.options import Command, commands, option

if TYPE_CHECKING:
    from jaxrf.atlases.row import AtlasRow

HEADER = ("network", "layer", "input", "images", "size", "sigma", "error", "samples", "estimator", "status")


@commands.register("atlas")
@dataclass(frozen=True, kw_only=True)
class Atlas(Command):
    """List the atlas, the fields of the zoo's networks.

    For each stage's last layer: size of the theoretical field, sigma of the effective one and its relative standard error.
    The CSV has all columns.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf atlas
  jaxrf atlas --network resnet50
  jaxrf atlas --csv > atlas.csv"""

    network: str | None = option("only this network", metavar="NAME")
    file: str | None = option("a table of atlas-export, instead of the stored one", metavar="FILE")
    csv: bool = option("as CSV, with all columns", default=False)

    def run(self) -> int:
        from jaxrf.atlases.atlas import atlas
        from jaxrf.atlases.row import to_csv

        found = atlas(self.file)
        rows = found.rows if self.network is None else found[self.network].rows
        if self.json:
            print(json.dumps([{**asdict(row), "command": row.command} for row in rows], indent=2))
        else:
            print(to_csv(rows).rstrip() if self.csv else "\n".join(lines(rows)))
        return 0


def lines(rows: Iterable[AtlasRow]) -> list[str]:
    """A table in text, and below it the command that makes the last row again."""
    from jaxrf.atlases.row import joined

    rows = list(rows)
    cells: list[tuple[str, ...]] = [HEADER]
    for row in rows:
        sigma = "-" if row.sigma is None else f"{row.sigma:.4g}"
        error = "-" if row.sigma_error is None else f"{100 * row.sigma_error:.1f} %"
        size = joined([f"{side:g}" for side in row.size]) or "-"
        cells.append(
            (row.network, row.layer or "-", row.input, row.images, size, sigma, error,
             f"{row.samples}", row.estimator or "-", row.reason or row.status)
        )  # fmt: skip
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADER) - 1)]
    text = ["  ".join([*(c.ljust(w) for c, w in zip(line, widths)), line[-1]]) for line in cells]
    made = next((row for row in reversed(rows) if row.samples), None)
    return [*text, *([f"To make the last row again: {made.command}"] if made else [])]
