"""A row made again, as far as a minute goes, beside what is stored."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from jaxrf.atlases.export import effective
from jaxrf.atlases.protocol import job
from jaxrf.atlases.row import AtlasRow
from jaxrf.errors import InputError
from jaxrf.results.stacked import digest
from jaxrf.sweeps.call import sweep

LEAST = 8
"""Random networks that a repetition has at least."""


@dataclass(frozen=True)
class Again:
    """A row that was made again.

    Attributes:
        row: as it is stored.
        samples: how many were taken this time.
        sigma, low, high: of the map of these; the ends are None where there are too few samples for an interval.
        hash: of the mean map and its errors.
        same_bits: whether the map is the stored one, bit by bit; None with fewer samples than the row has.
    """

    row: AtlasRow
    samples: int
    sigma: float | None
    low: float | None
    high: float | None
    hash: str
    same_bits: bool | None

    @property
    def agrees(self) -> bool:
        """Whether the bits are the same, or else the stored sigma lies in the interval of the new one."""
        if self.same_bits or self.sigma is None or self.row.sigma is None:
            return bool(self.same_bits)
        low, high = self.low or self.sigma, self.high or self.sigma
        return low <= (self.row.sigma_high or self.row.sigma) and high >= (self.row.sigma_low or self.row.sigma)


def redo(row: AtlasRow, seconds: float = 40.0) -> Again:
    """Make a row again, with its first samples: all where the run took less than `seconds`, else as large a share.

    The bits are those of the row on the same kind of device, with the same versions and number of cores.

    Raises:
        InputError: the row failed; says why it did.
    """
    if not row.samples:
        raise InputError(f"{row.network} {row.layer} has no numbers: {row.reason}")
    share = 1.0 if not row.seconds or row.seconds <= seconds else seconds / row.seconds
    own = job(row.network, row.input, row.images)
    least = min(row.samples, LEAST * own.images_per_seed)
    samples = max(round(row.samples * share) // own.images_per_seed * own.images_per_seed, least)
    result = sweep(own.specification(row.layer, row.estimator, samples), f"memory://{uuid.uuid4().hex}").result()
    found = effective(result)
    made = digest(result)[:16]
    same = made == row.hash if result.count == row.samples else None
    return Again(row, result.count, found["sigma"], found["sigma_low"], found["sigma_high"], made, same)
