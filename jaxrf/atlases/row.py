"""One row of the atlas, and the table as text."""

from __future__ import annotations

import csv
import math
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from io import StringIO
from typing import Any, get_args, get_origin, get_type_hints

from jaxrf.errors import StoreError, cell

SCHEMA = 1
"""Raised when a column is added, removed, or means something else."""
TITLE = "# jaxrf atlas, schema "
DIGITS = 7


@dataclass(frozen=True, kw_only=True)
class AtlasRow:
    """The field of one layer, the last of a stage, on one input and one kind of images.

    Positions and sizes are those of the input, an axis after the other; what is not known is None.
    Each measure has the ends of its interval of 95 %, for other random networks on the same images, and its relative
    standard error; where a measure has one number for each axis, all of these are means over the axes.

    Attributes:
        network: its name in the zoo.
        layer: its name in the network; empty where the network failed as a whole.
        input: shape of the input, as 224x224x3.
        images: "noise", one image of standard normal noise; "photos", four of scikit-image.
        status: "done" where sigma's relative standard error is at most 1 % and the samples are worth 30 equally strong ones,
            "capped" where that is not so after all samples of the protocol, "begun" where the run was stopped, "failed"
            where there are no numbers.
        reason: why it failed.
        stage: which stage of the network, from 1; 0 where the network failed as a whole.
        stages: how many there are.
        size: of the theoretical field of the center unit, not cut at the borders of the input.
        stride: how far apart the fields of two neighbors lie; "-" where all see the same.
        padding: how far the field of unit 0 reaches over the input's border; "-" where there is no such number.
        center: of the theoretical field of the center unit.
        exact: whether the theoretical size is the hull of all paths, and not an upper bound.
        unit: the center unit.
        estimator: "sign_averaged" where it holds, else "sampled".
        estimator_exact: False where the estimator's assumptions are met only nearly; see its page.
        samples: random networks times images.
        effective: how many equally strong samples the mean is worth.
        dead: samples whose map was zero everywhere.
        nonfinite: samples whose map held a NaN or an infinity.
        sigma: standard deviation of the mean map about its own mean.
        half_width: full width at half of the maximum of the map's profile.
        participation: effective number of positions.
        area_ratio: share of the input in the smallest square about the center that holds half of the map.
        size_luo2016: the size of Luo et al. (2016), which has no interval.
        seconds: on the machine of the run, with compilation.
        hash: of the mean map and its errors; equal where all of their bits are.
        versions: of jaxrf and what it stands on.
        device: on which it was computed.
    """

    network: str
    layer: str
    input: str
    images: str
    status: str
    reason: str = ""
    stage: int = 0
    stages: int = 0
    size: tuple[int, ...] = ()
    stride: str = ""
    padding: str = ""
    center: tuple[float, ...] = ()
    exact: bool | None = None
    unit: tuple[int, ...] = ()
    estimator: str = ""
    estimator_exact: bool | None = None
    samples: int = 0
    effective: float | None = None
    dead: int = 0
    nonfinite: int = 0
    sigma: float | None = None
    sigma_low: float | None = None
    sigma_high: float | None = None
    sigma_error: float | None = None
    half_width: float | None = None
    half_width_low: float | None = None
    half_width_high: float | None = None
    half_width_error: float | None = None
    participation: float | None = None
    participation_low: float | None = None
    participation_high: float | None = None
    participation_error: float | None = None
    area_ratio: float | None = None
    area_ratio_low: float | None = None
    area_ratio_high: float | None = None
    area_ratio_error: float | None = None
    size_luo2016: float | None = None
    seconds: float | None = None
    hash: str = ""
    versions: str = ""
    device: str = ""

    @property
    def command(self) -> str:
        """What makes the row again in about a minute, with fewer samples where all of them take longer."""
        return f"jaxrf atlas-redo {self.network} {self.layer} --input {self.input} --images {self.images}"

    @property
    def mean_size(self) -> float:
        """Side of the theoretical field, the mean over the axes; NaN where the row failed."""
        return sum(self.size) / len(self.size) if self.size else math.nan


def to_csv(rows: Iterable[AtlasRow]) -> str:
    """The rows as text, below a line that says the schema."""
    out = StringIO()
    out.write(f"{TITLE}{SCHEMA}\n")
    names = [field.name for field in fields(AtlasRow)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_written(getattr(row, name)) for name in names] for row in rows)
    return out.getvalue()


def from_csv(text: str, name: str) -> list[AtlasRow]:
    """The rows of a text that `to_csv` made.

    Args:
        text: of the file.
        name: of the file, for messages.

    Raises:
        StoreError: it is not an atlas, or one of another schema, or a row does not fit; says which.
    """
    title, _, rest = text.partition("\n")
    if not title.startswith(TITLE):
        raise StoreError(f"{name} is not an atlas: it begins with {title[:40]!r}, and an atlas with '{TITLE}{SCHEMA}'.")
    if (found := title.removeprefix(TITLE).strip()) != str(SCHEMA):
        raise StoreError(
            f"{name} is an atlas of schema {found}, and this jaxrf reads schema {SCHEMA}. "
            "Use the version of jaxrf that wrote it, or make the table anew with jaxrf atlas-export."
        )
    lines = list(csv.DictReader(StringIO(rest)))
    types = get_type_hints(AtlasRow)
    rows = []
    for number, line in enumerate(lines, 3):
        try:
            if line.keys() != types.keys():
                raise ValueError(f"its columns are {', '.join(map(str, line))}")
            rows.append(AtlasRow(**{key: _read(value, types[key]) for key, value in line.items()}))
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{name}, line {number}: {error}. Take the table as it was released.") from error
    return rows


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "x".join(f"{one:g}" for one in value)
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    return cell(value) if isinstance(value, str) and value != "-" else str(value)


def _read(text: str, kind: Any) -> Any:
    """The value of a cell of a column of this type."""
    if kind is str:
        return text
    if get_origin(kind) is tuple:
        return tuple(map(get_args(kind)[0], text.split("x"))) if text else ()
    if isinstance(kind, types.UnionType):
        if not text:
            return None
        kind = next(one for one in get_args(kind) if one is not type(None))
    if kind is bool:
        return {"True": True, "False": False}[text]
    return kind(text)


def joined(values: Sequence[object]) -> str:
    """Numbers per axis as 8x8; "-" where there is none."""
    return "-" if None in values else "x".join(map(str, values))
