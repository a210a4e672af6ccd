"""`jaxrf zoo`: the architectures that come with jaxrf, with their fields and costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from jaxrf.cli.options import Command, commands, option
from jaxrf.cli.terminal import columns
from jaxrf.errors import unknown
from jaxrf.zoo.listing import Entry, as_csv, listing

HEADER = ("network", "input", "size", "stride", "parameters", "multiply-adds")
LEFT_OUT = (4, 5, 1)
"""Columns that a narrow terminal has no room for, the first one first."""


@commands.register("zoo")
@dataclass(frozen=True, kw_only=True)
class Zoo(Command):
    """List the architectures that come with jaxrf.

    For each: its usual input, size and stride of the theoretical field of its last map, parameters, multiply-adds.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf zoo
  jaxrf zoo --name convnext
  jaxrf zoo --csv > zoo.csv"""

    name: str | None = option("only networks with this in their name", metavar="TEXT")
    csv: bool = option("as CSV, with the source of each network", default=False)
    fresh: bool = option("build the networks and compute anew, instead of reading the stored table", default=False)

    def run(self) -> int:
        from jaxrf.zoo import models

        chosen = [name for name in sorted(models) if (self.name or "") in name] if self.fresh else None
        entries = (
            [measured(name) for name in chosen]
            if chosen is not None
            else [entry for entry in listing() if (self.name or "") in entry.name]
        )
        if not entries:
            raise unknown("zoo model", self.name or "", models)
        if self.json:
            print(json.dumps([asdict(entry) for entry in entries], indent=2))
        else:
            print(as_csv(entries).rstrip() if self.csv else "\n".join(lines(entries, columns())))
        return 0


def measured(name: str) -> Entry:
    """The entry of a network, from its table of fields and its shapes; takes some seconds."""
    import jaxrf
    from jaxrf.zoo import models
    from jaxrf.zoo.cost import cost

    model = models[name]
    row = jaxrf.trf(model(), model.input_shape)[-1]
    spent = cost(model)
    return Entry(
        name, times(model.input_shape), times(row.size), times(row.stride),
        spent.parameters, spent.multiply_adds, model.source,
    )  # fmt: skip


def times(numbers: Sequence[object]) -> str:
    """Numbers per axis as 224x224x3; "-" where there is none."""
    return "-" if None in numbers else "x".join(map(str, numbers))


def lines(entries: Sequence[Entry], width: int | None = None) -> list[str]:
    """A table in text: names to the left, numbers to the right; columns that find no room in `width` are left out."""
    rows = [HEADER] + [
        (e.name, e.input, e.size, e.stride, f"{e.parameters:,}", short(e.multiply_adds)) for e in entries
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    kept = list(range(len(HEADER)))
    for i in LEFT_OUT:
        if width is not None and sum(widths[k] + 2 for k in kept) - 2 > width:
            kept.remove(i)
    shown = [
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in kept if i)]).rstrip() for row in rows
    ]
    missing = [HEADER[i] for i in LEFT_OUT if i not in kept]
    return [*shown, *[f"no room for: {', '.join(missing)}"] * bool(missing)]


def short(number: int) -> str:
    """A number of operations in thousands of millions.

    >>> short(4_089_184_256)
    '4.09 G'
    """
    return f"{number / 1e9:.2f} G"
