"""How the windows of a batch of units are read from an array: a table of platforms, as for convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from jaxrf.base import compiler


@dataclass(frozen=True)
class Decision:
    """A line of the table: a way to read, on which platforms and where it is taken, and what was counted."""

    reads: str
    platforms: tuple[str, ...]
    where: str
    product: bool
    why: str


TABLE = (
    Decision(
        "lines", ("tpu",), "units are all of some rows and columns", True, "a slice a unit is a loop: 20 to 200 times"
    ),
    Decision("slices", compiler.PLATFORMS, "otherwise", False, "a gather in one pass"),
)
"""`lines`: rows, and then columns, by one gather each, for all units of a batch; `slices`: a slice for each unit."""


def choose_reads(product: bool, platform: str | None = None) -> str:
    """How windows are read: the first line of the table that applies.

    Args:
        product: whether units are all combinations of some rows and columns, and more than one.
        platform: `cpu`, `gpu`, `tpu`; default: that of JAX's default device.

    >>> choose_reads(True, "tpu"), choose_reads(False, "tpu"), choose_reads(True, "cpu")
    ('lines', 'slices', 'slices')
    """
    platform = platform or compiler.platform()
    fits = (line.reads for line in TABLE if platform in line.platforms and product >= line.product)
    return next(fits, TABLE[-1].reads)


def decisions() -> str:
    """The table as text: the first line that fits decides."""
    width = max(len(line.where) for line in TABLE)
    return "\n".join(f"{d.reads:<7} {'/'.join(d.platforms):<12} {d.where:<{width}}  {d.why}" for d in TABLE)
