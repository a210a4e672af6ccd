"""The stored table of the zoo: what each network costs and how far its last map sees, without building any."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from importlib import resources
from io import StringIO


@dataclass(frozen=True)
class Entry:
    """One network on its usual image; shapes are written as 224x224x3.

    Attributes:
        name: in the zoo.
        input: shape of the image.
        size: of the theoretical field of a unit of the last map, in positions of the image, per axis: that of the
            center unit. Where it is the whole image, attention, a gate or a normalization saw all of it.
        stride: how far apart the fields of two neighbors on the last map lie, per axis; "-" where all see the same.
        parameters: how many numbers are trained, with a classifier of 1000 classes where there is one.
        multiply_adds: for one image, in convolutions and matrix products; papers often call them FLOPs.
        source: the paper.
    """

    name: str
    input: str
    size: str
    stride: str
    parameters: int
    multiply_adds: int
    source: str


def listing() -> list[Entry]:
    """All networks, in the order of their names.

    Example:
        >>> [entry.size for entry in listing() if entry.name == "resnet50"]
        ['427x427']
    """
    text = resources.files("jaxrf.zoo").joinpath("table.csv").read_text()
    rows = csv.DictReader(StringIO(text))
    return [
        Entry(**{**row, "parameters": int(row["parameters"]), "multiply_adds": int(row["multiply_adds"])})
        for row in rows
    ]


def as_csv(entries: Iterable[Entry]) -> str:
    """The text of the stored table."""
    out = StringIO()
    writer = csv.DictWriter(out, [field.name for field in fields(Entry)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(entry) for entry in entries)
    return out.getvalue()
