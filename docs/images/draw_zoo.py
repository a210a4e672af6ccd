"""Draws zoo/NAME.svg for networks of the zoo, from shapes alone: `python docs/images/draw_zoo.py [NAME ...]`.

Each is a curve of the theoretical size over the layers in order, both as everywhere on the same scale; all take some
minutes. A test draws a few of them again, and says which are of another network than the stored table.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import jaxrf
from jaxrf import zoo
from jaxrf.geometry.table import Row
from jaxrf.zoo.listing import listing

FOLDER = Path(__file__).parent / "zoo"
WIDTH, HEIGHT = 120, 64
LARGEST = 2**14
"""Input positions at the upper edge; the lower one is 1, and each line between them sixteen times the one below."""
STYLE = """\
<style>
.g{stroke:#d5d8dc}.i{stroke:#888;stroke-dasharray:4 3}.s{stroke:#2563a8;stroke-width:1.8}.w{stroke:#c8442d;stroke-width:1.8}
@media(prefers-color-scheme:dark){.g{stroke:#444}.s{stroke:#7ab0ea}.w{stroke:#f08a76}}
</style>"""


def picture(name: str) -> str:
    """The curve of a network as SVG: blue where units see a part of the image, red where they see all by a global operation."""
    model = zoo.models[name]
    rows = jaxrf.trf(model(), model.input_shape)[:-1]
    size = max(model.input_shape[:-1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" fill="none">',
        f"<title>{name}: {rows[0].size[-1]} to {rows[-1].size[-1]} positions over {len(rows)} layers</title>",
        f"<desc>{state(name)}</desc>",
        STYLE,
        *(f'<path class="g" d="M0 {height(16**k)}H{WIDTH}"/>' for k in range(1, 4)),
        f'<path class="i" d="M0 {height(size)}H{WIDTH}"/>',
        *(f'<path class="{kind}" d="{line}"/>' for kind, line in lines(rows)),
        "</svg>\n",
    ]
    return "\n".join(parts)


def lines(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Stretches of layers of one kind, "s" or "w", as paths of steps."""
    ends = [i * WIDTH / len(rows) for i in range(len(rows) + 1)]
    kind, line, last = "", "", ""
    for i, row in enumerate(rows):
        now, y = "w" if row.global_axes else "s", height(max(row.size[-1], 1))
        if now != kind:
            if line:
                yield kind, f"{line}H{ends[i]:.1f}"
            kind, line = now, f"M{ends[i]:.1f} {y}"
        elif y != last:
            line += f"H{ends[i]:.1f}V{y}"
        last = y
    yield kind, f"{line}H{ends[-1]:.1f}"


def height(size: int) -> str:
    """Where a size lies, from the upper edge."""
    return f"{HEIGHT * (1 - math.log(size) / math.log(LARGEST)):.1f}"


def state(name: str) -> str:
    """What the stored table says of a network, as it stands in its picture."""
    entry = next(asdict(entry) for entry in listing() if entry.name == name)
    return " ".join(str(entry[key]) for key in ("input", "size", "stride", "parameters"))


def stale(name: str) -> bool:
    """Whether a network has no picture, or one of another network."""
    file = FOLDER / f"{name}.svg"
    return not file.exists() or f"<desc>{state(name)}</desc>" not in file.read_text()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in sys.argv[1:] or sorted(zoo.models):
        (FOLDER / f"{each}.svg").write_text(picture(each))
