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
    when: Callable[[Batch], bool]
    why: str


COVERED, SCATTERED = 0.5, 0.25
"""From which share of the arithmetic on windows are not worth cutting, and where each of several units has slices of its own."""
TPU = ("tpu",)


@dataclass(frozen=True)
class Batch:
    """What the choice looks at.

    Attributes:
        units: how many.
        product: whether they are all combinations of some rows and columns, and more than one.
        share: of the arithmetic of a pull-back of whole arrays, what the windows of a unit hold.
    """

    units: int
    product: bool
    share: float

    @property
    def covered(self) -> bool:
        """Whether windows hold too much of the arrays to be worth cutting."""
        return self.share >= (SCATTERED if self.units > 1 and not self.product else COVERED)


TABLE = (
    Decision("whole", TPU, "windows hold half of the work (scattered: a quarter)", lambda b: b.covered, "1 to 3 times"),
    Decision("lines", TPU, "units are all of some rows and columns", lambda b: b.product, "a slice a unit is a loop: 20 to 200 times"),
    Decision("slices", compiler.PLATFORMS, "otherwise", lambda b: True, "a gather in one pass"),
)  # fmt: skip
"""`whole`: nothing is cut, as in plain JAX; `lines`: rows, and then columns, by one gather each, for all units of a batch;
`slices`: a slice for each unit."""


def choose_reads(batch: Batch, platform: str | None = None) -> str:
    """How units are pulled back: the first line of the table that applies.

    Args:
        batch: the units.
        platform: `cpu`, `gpu`, `tpu`; default: that of JAX's default device.

    >>> [choose_reads(Batch(64, True, share), "tpu") for share in (0.1, 0.9)]
    ['lines', 'whole']
    >>> choose_reads(Batch(64, False, 0.1), "tpu"), choose_reads(Batch(64, True, 0.9), "cpu")
    ('slices', 'slices')
    """
    platform = platform or compiler.platform()
    return next(line.reads for line in TABLE if platform in line.platforms and line.when(batch))


def decisions() -> str:
    """The table as text: the first line that fits decides."""
    width = max(len(line.where) for line in TABLE)
    return "\n".join(f"{d.reads:<7} {'/'.join(d.platforms):<12} {d.where:<{width}}  {d.why}" for d in TABLE)
