"""The field of one input axis as a line of units with phases: stride, padding, halo, smallest input.

Takes a `Continuation` that varies along one unit axis only; all numbers are input positions on an endless input.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from jaxrf.geometry.field import Continuation


@dataclass(frozen=True, eq=False)
class Phases:
    """Unit `u` sees `[lo[u % period] + step * (u // period), hi[...] + ...)`; `lo` and `hi` are (period,)."""

    step: int
    lo: np.ndarray
    hi: np.ndarray

    @property
    def period(self) -> int:
        """Number of phases."""
        return len(self.lo)

    @property
    def stride(self) -> Fraction:
        """Positions per unit, on average over a period."""
        return Fraction(self.step, self.period)

    @property
    def padding(self) -> Fraction:
        """The padding in start = stride * unit - padding, through the first phase that has the largest size."""
        phase = int(np.argmax(self.hi - self.lo))
        return self.stride * phase - int(self.lo[phase])

    def at(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`lo` and `hi` of any integers `units` (n,)."""
        shift = self.step * (units // self.period)
        phase = units % self.period
        return self.lo[phase] + shift, self.hi[phase] + shift

    def owned(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and one-past-last position that `units` own: [stride*u, stride*(u + 1)) rounded down, at least one."""
        begin = units * self.step // self.period
        return begin, np.maximum((units + 1) * self.step // self.period, begin + 1)

    def around(self) -> tuple[int, int, int] | None:
        """What the units of a period see before and behind the positions that they own, and from the first of these on.

        All at worst, and at least 0; None where they stand still or run backwards.
        """
        if self.step <= 0:
            return None
        begin, end = self.owned(np.arange(self.period))
        some = self.lo < self.hi
        numbers = ((begin - self.lo)[some], (self.hi - end)[some], (self.hi - 1 - begin)[some])
        before, behind, late = (max(int(number.max()), 0) for number in numbers)
        return before, behind, late

    def halo(self, aligned: bool) -> tuple[int, int] | None:
        """Positions before and after the owned ones that a tile of units [a, b) sees, at worst; at least 0.

        The tile owns [stride*a, stride*b) rounded down; `aligned` tiles have a and b at multiples of the period.
        None where they stand still or run backwards.
        """
        if self.step <= 0:
            return None
        if aligned:
            before, after = -self.lo.min(), self.hi.max() - self.step
        else:
            begins = np.arange(self.period)
            owned = begins * self.step // self.period
            lo, hi = self.at(np.arange(-self.period, 2 * self.period))
            coming = np.stack([lo[a + self.period : a + 2 * self.period] for a in begins])
            gone = np.stack([hi[a : a + self.period] for a in begins])
            before = (owned - coming.min(axis=1)).max()
            after = (gone.max(axis=1) - owned).max()
        return max(int(before), 0), max(int(after), 0)


def phases_of(continuation: Continuation) -> Phases | None:
    """The phases of a continuation along one axis.

    None where it changes along another one too, where it does not move on, and where no unit has a path.
    """
    others = tuple(a for a in range(continuation.lo.ndim) if a != continuation.axis)
    lo, hi = continuation.lo, continuation.hi
    if (
        not (lo < hi).any()
        or continuation.step == 0
        or any((b != b.min(axis=others, keepdims=True)).any() for b in (lo, hi))
    ):
        return None
    return Phases(continuation.step, lo.min(axis=others), hi.min(axis=others))


def smallest_input(phases: Phases) -> int | None:
    """The smallest input size whose unit nearest to the middle lies wholly inside.

    Units begin at 0, and there are as many as needed; of two that are equally near the lower one counts.
    The search ends where each phase has a center within half a step of the middle and room on both sides.
    None where the phases stand still, run backwards or have no path.
    """
    lo, hi = phases.lo, phases.hi
    some = lo < hi
    if phases.step <= 0 or not some.any():
        return None
    lowest = int((lo + hi)[some].min())
    enough = max(int((hi - lo).max()) + phases.step, lowest)
    repeats = (enough + max(-lowest, 0)) // phases.step + 2
    lo, hi = phases.at(np.flatnonzero(np.tile(some, repeats)))
    sizes = np.arange(1, enough)
    nearest = _nearest(lo + hi, sizes)
    fits = (lo[nearest] >= 0) & (hi[nearest] <= sizes)
    return int(sizes[fits.argmax()]) if fits.any() else enough


def _nearest(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Find for each target the index of the nearest value, the first of several."""
    places, first = np.unique(values, return_index=True)
    above = np.searchsorted(places, targets).clip(0, len(places) - 1)
    below = (above - 1).clip(0)
    gap = np.abs(places[below] - targets) - np.abs(places[above] - targets)
    return np.where(gap == 0, np.minimum(first[below], first[above]), np.where(gap < 0, first[below], first[above]))


def plain(number: Fraction) -> int | Fraction:
    """An int where `number` is whole."""
    return int(number) if number.denominator == 1 else number
