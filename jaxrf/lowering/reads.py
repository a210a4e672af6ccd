"""How a batch of units is pulled back: on whole arrays, or on windows, and how these are read; a table of platforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxrf.base import compiler


@dataclass(frozen=True)
class Decision:
    """A line of the table: a way to read, on which platforms and where it is taken, and what was counted."""

    reads: str
    platforms: tuple[str, ...]
    where: str
    when: Callable[[bool, float], bool]
    why: str


COVERED = 0.5
"""From this share of the arithmetic on, windows are not worth cutting: half of a ResNet-50's `layer3` is saved, and lost."""
TPU = ("tpu",)
TABLE = (
    Decision(
        "whole", TPU, "windows hold at least half of the work", lambda product, share: share >= COVERED, "1 to 3 times"
    ),
    Decision(
        "lines", TPU, "units are all of some rows and columns", lambda product, share: product,
        "a slice a unit is a loop: 20 to 200 times",
    ),
    Decision("slices", compiler.PLATFORMS, "otherwise", lambda product, share: True, "a gather in one pass"),
)  # fmt: skip
"""`whole`: nothing is cut, as in plain JAX; `lines`: rows, and then columns, by one gather each, for all units of a batch;
`slices`: a slice for each unit."""


def choose_reads(product: bool, share: float, platform: str | None = None) -> str:
    """How units are pulled back: the first line of the table that applies.

    Args:
        product: whether units are all combinations of some rows and columns, and more than one.
        share: of the arithmetic of a pull-back of whole arrays, what the windows of a unit hold.
        platform: `cpu`, `gpu`, `tpu`; default: that of JAX's default device.

    >>> choose_reads(True, 0.1, "tpu"), choose_reads(False, 0.1, "tpu"), choose_reads(True, 0.9, "tpu")
    ('lines', 'slices', 'whole')
    >>> choose_reads(True, 0.9, "cpu")
    'slices'
    """
    platform = platform or compiler.platform()
    return next(line.reads for line in TABLE if platform in line.platforms and line.when(product, share))


def decisions() -> str:
    """The table as text: the first line that fits decides."""
    width = max(len(line.where) for line in TABLE)
    return "\n".join(f"{d.reads:<7} {'/'.join(d.platforms):<12} {d.where:<{width}}  {d.why}" for d in TABLE)
