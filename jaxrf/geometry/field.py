"""Which positions of one input axis the elements of a variable depend on.

A `Field` is kept for each variable and each input axis.
Its `lo` and `hi` are exact at borders; its `continuation` says what an interior element would see on an endless input.
Numbers only: nothing here knows of models or of JAX.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

EMPTY_LO = np.int64(2**40)
EMPTY_HI = np.int64(-(2**40))


@dataclass(frozen=True, eq=False)
class Continuation:
    """The unclipped field, as a pattern that repeats along one axis of the variable.

    Element `u` of `axis` sees `[lo[u % period] + step * (u // period), hi[...] + ...)`.
    `lo` and `hi` have the variable's rank, `period` entries along `axis`, and size 1 or the full size elsewhere.
    A `marginal` one is that of a part beside a longer one, and gives way to the longer one's where it is a copy of it.
    A `cut` one is that of a single position that was cut out of several, as a step of a loop is.
    """

    axis: int
    period: int
    step: int
    lo: np.ndarray
    hi: np.ndarray
    marginal: bool = False
    cut: bool = False

    def at(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`lo` and `hi` at the positions `index` (any integers) of `axis`."""
        shift_shape = [1] * self.lo.ndim
        shift_shape[self.axis] = len(index)
        shift = (self.step * (index // self.period)).reshape(shift_shape)
        lo = np.take(self.lo, index % self.period, axis=self.axis)
        hi = np.take(self.hi, index % self.period, axis=self.axis)
        empty = lo >= hi
        return np.where(empty, EMPTY_LO, lo + shift), np.where(empty, EMPTY_HI, hi + shift)


@dataclass(frozen=True, eq=False)
class Aside:
    """How a field goes on along an axis of one position that the variable does not have any more.

    Attributes:
        endless: along that axis alone, as if it were axis 0; None where nothing is known of it.
        place: which of the axes it was that went away together.
        count: how many these were; 0 where none will be given back.
        above: how many other axes of one position came since and are still there.
    """

    endless: Continuation | None
    place: int = 0
    count: int = 0
    above: int = 0


@dataclass(frozen=True, eq=False)
class Part:
    """A continuation that holds for some elements only: `where` (broadcastable to the variable's shape), None for all."""

    continuation: Continuation
    where: np.ndarray | None = None


@dataclass(frozen=True)
class Paths:
    """What the paths from the input axis agree on: sub-sampling and center.

    A path sends unit `u` to the position `stride * u + center`, on average over phases.
    """

    stride: Fraction
    center_lo: Fraction
    center_hi: Fraction
    min_size: Fraction
    aligned: bool


@dataclass(frozen=True, eq=False)
class Field:
    """Half-open intervals `[lo, hi)` of positions on one input axis, one per element of a variable.

    `lo` and `hi` are int64, broadcastable to the variable's shape, and clipped to the input at every variable on the way.
    An element without any path has `lo >= hi`.
    `continuation` is None where the field is not a repeated pattern along one axis; `global_cause` then may say why.
    `along` then are patterns along several axes, of which the unclipped field is the union, where it is one:
    the score of a query and a key sees what each of them sees.
    `local` is None where the field itself says where its elements lie, by the middles of its intervals.
    Elsewhere it holds the parts of the field that say so: of `x - mean(x)` that of `x`. Where none does it is empty.
    `aside` is how the field goes on along an axis of one position that a reshape has taken away.
    """

    extent: int
    lo: np.ndarray
    hi: np.ndarray
    continuation: Continuation | None = None
    paths: Paths | None = None
    global_cause: str | None = None
    local: tuple[Field, ...] | None = None
    along: tuple[Part, ...] = ()
    aside: Aside | None = None

    @property
    def parts(self) -> tuple[Field, ...]:
        """The fields that say where the elements lie: itself, or its local parts."""
        return (self,) if self.local is None else self.local

    @property
    def endless(self) -> Field | Continuation:
        """Where the field looks on an endless input, where it goes on there; elsewhere the field itself."""
        return self.continuation or (self.aside and self.aside.endless) or self

    @property
    def alike(self) -> bool:
        """Whether all elements that see something see the same."""
        some = self.lo < self.hi
        ends = (np.broadcast_to(x, some.shape)[some] for x in (self.lo, self.hi))
        return all(x.size == 0 or bool((x == x[0]).all()) for x in ends)
