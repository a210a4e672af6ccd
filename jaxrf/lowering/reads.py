"""How the windows of a batch of units are read from an array: a table of platforms, as for convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxrf.base import compiler

WIDE = 96
"""Features from which on the compiler keeps them in the lanes; below, it puts units there."""


@dataclass(frozen=True)
class Asked:
    """What is known of the batches of a request.

    Attributes:
        product: whether units are all combinations of some rows and columns, and more than one.
        features: how many features the windows have, in the mean over what is read.
    """

    product: bool
    features: float


@dataclass(frozen=True)
class Decision:
    """A line of the table: a way to read, on which platforms and where it is taken, and what was counted."""

    reads: str
    platforms: tuple[str, ...]
    where: str
    when: Callable[[Asked], bool]
    why: str


TABLE = (
    Decision(
        "columns", ("tpu",), f"units in rows and columns, at least {WIDE} features",
        lambda asked: asked.product and asked.features >= WIDE, "4 to 8 times fewer cycles for moves than row by row",
    ),
    Decision(
        "rows", ("tpu",), "units in rows and columns",
        lambda asked: asked.product, "20 to 200 times fewer cycles than slices",
    ),
)  # fmt: skip
READS = ("slices", "rows", "columns")
"""A slice for each unit; rows and then columns by one gather each, the units of a batch row by row or column by column."""


def choose_reads(asked: Asked, platform: str | None = None) -> str:
    """One of `READS`: the first line of the table that applies, else slices.

    >>> choose_reads(Asked(True, 32.0), "tpu"), choose_reads(Asked(True, 32.0), "cpu")
    ('rows', 'slices')
    """
    platform = platform or compiler.platform()
    fits = (line.reads for line in TABLE if platform in line.platforms and line.when(asked))
    return next(fits, "slices")


def decisions() -> str:
    """The table as text: the first line that fits decides."""
    width = max(len(line.where) for line in TABLE)
    lines = [f"{line.reads:<7} {'/'.join(line.platforms):<4} {line.where:<{width}}  {line.why}" for line in TABLE]
    return "\n".join([*lines, f"{'slices':<7} {'any':<4} {'otherwise':<{width}}  a gather in one kernel"])
