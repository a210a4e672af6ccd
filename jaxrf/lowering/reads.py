"""How a batch of units is pulled back: on whole arrays, or on windows, and how these are read; a table of platforms."""

from __future__ import annotations

from dataclasses import dataclass

from jaxrf.lowering.table import ANY, TPU, Decision, Table, always

COVERED, SCATTERED = 0.5, 0.25
"""From which share of the arithmetic on windows are not worth cutting, and where each of several units has slices of its own."""


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


TABLE: Table[Batch] = Table((
    Decision("whole", TPU, "windows hold half of the work (scattered: a quarter)", lambda b: b.covered, "1 to 3 times"),
    Decision("lines", TPU, "units are all of some rows and columns", lambda b: b.product, "a slice a unit is a loop: 20 to 200 times"),
    Decision("slices", ANY, "otherwise", always, "a gather in one pass"),
))  # fmt: skip
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
    return TABLE.choose(batch, platform)
