"""How positions of one output axis depend on positions of one input axis of a single operation.

An `AxisMap` sends an output position to a set of input positions; its kinds are in `maps.py`.
Everything that geometry needs follows from that set: pushing fields forward, pulling intervals back, counting paths.
A map without borders repeats: position `o + period` sees what `o` sees, moved by `shift`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Paths

Interval = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class AxisMap(ABC):
    """Positions `0..in_size-1` that each of the positions `0..out_size-1` depends on."""

    in_size: int
    out_size: int

    @property
    def repeat(self) -> tuple[int, int] | None:
        """`(period, shift)` of the map without borders, or None where it has none."""
        return None

    @abstractmethod
    def taps(self, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Input positions of the output positions `out` (n,), unclipped.

        Returns:
            `index` (t, n) and `valid` (t, n): position `out[j]` depends on `index[i, j]` where `valid[i, j]`.
        """

    @abstractmethod
    def pull(self, lo: np.ndarray, hi: np.ndarray) -> Interval:
        """Interval that contains the input positions of every output position in `[lo, hi)`, unclipped, per entry."""

    @property
    def place(self) -> AxisMap:
        """The map that says where outputs stand among the inputs: this one, unless they see all on one side."""
        return self

    def push(self, lo: np.ndarray, hi: np.ndarray, axis: int) -> Interval:
        """The union over this map of the intervals that lie along `axis`, clipped to the input axis."""
        index, valid = self._clipped
        if lo.shape[axis] == 1:
            return self._reaching(valid, lo, hi, axis)
        return union(lo, hi, index, valid, axis)

    def push_endless(self, lo: np.ndarray, hi: np.ndarray, axis: int) -> Interval:
        """Do as `push` of intervals that are the same all along `axis` (size 1), on an axis without ends."""
        return self._reaching(self.taps(np.arange(self.out_size))[1], lo, hi, axis)

    def _reaching(self, valid: np.ndarray, lo: np.ndarray, hi: np.ndarray, axis: int) -> Interval:
        """The intervals, at output positions with any valid tap."""
        reached = valid.any(axis=0)
        if reached.all():
            return lo, hi
        shape = [1] * lo.ndim
        shape[axis] = self.out_size
        reached = reached.reshape(shape)
        return np.where(reached, lo, EMPTY_LO), np.where(reached, hi, EMPTY_HI)

    @cached_property
    def _clipped(self) -> tuple[np.ndarray, np.ndarray]:
        index, valid = self.taps(np.arange(self.out_size))
        valid = valid & (index >= 0) & (index < self.in_size)
        return np.where(valid, index, 0), valid

    @property
    def seeing(self) -> np.ndarray:
        """Which output positions depend on any input position."""
        return np.logical_or.reduce(self._clipped[1], axis=0)

    @property
    def seen(self) -> np.ndarray:
        """Which input positions any output position depends on."""
        index, valid = self._clipped
        return np.bincount(index[valid], minlength=self.in_size) > 0

    @property
    def reach(self) -> int:
        """At most how many output positions depend on one input position."""
        index, valid = self._clipped
        return int(np.bincount(index[valid], minlength=1).max()) if index.size else 0

    def count(self, counts: np.ndarray, axis: int, start: int, add: np.ufunc, none: float) -> tuple[np.ndarray, int]:
        """Counts of paths at input positions, from counts at the output positions from `start` on along `axis`.

        Law: the count of input position i is the sum over all output positions that depend on i.

        Args:
            counts: of output positions `start, start + 1, ...` along `axis`.
            axis: the axis of `counts` that this map is about.
            start: the first output position.
            add: how counts are added: `np.add`, or `np.logaddexp` for their logarithms.
            none: the count that says "no path": 0, or minus infinity.

        Returns:
            Counts of the input positions between the first and the last with a path, and the first of them.
        """
        rows = np.moveaxis(counts, axis, 0)
        index, valid = (a[:, start : start + len(rows)] for a in self._clipped)
        if not valid.any():
            return np.moveaxis(rows[:0], 0, axis), 0
        first, last = int(index[valid].min()), int(index[valid].max())
        result = np.full((last + 1 - first, *rows.shape[1:]), none, counts.dtype)
        for tap, ok in zip(index, valid):
            at = tap[ok] - first
            if len(np.unique(at)) == len(at):
                result[at] = add(result[at], rows[ok])
            else:
                add.at(result, at, rows[ok])
        return np.moveaxis(result, 0, axis), first

    def follow(self, paths: Paths) -> Paths | None:
        """What paths agree on behind this map; None where the map gives no sub-sampling and center."""
        if self.repeat is None:
            return None
        period, shift = self.repeat
        out = np.arange(period)
        index, valid = self.taps(out)
        if not valid.any():
            return paths
        lows = np.where(valid, index, EMPTY_LO).min(axis=0)
        highs = np.where(valid, index, EMPTY_HI).max(axis=0)
        seen = valid.any(axis=0)
        slope = Fraction(shift, period)
        middles = [Fraction(int(a + b), 2) - slope * int(o) for a, b, o in zip(lows[seen], highs[seen], out[seen])]
        center = sum(middles, Fraction(0)) / len(middles)
        extent = Fraction(int((highs - lows)[seen].sum()), int(seen.sum()))
        return Paths(
            stride=paths.stride * slope,
            center_lo=paths.center_lo + paths.stride * center,
            center_hi=paths.center_hi + paths.stride * center,
            min_size=paths.min_size + abs(paths.stride) * extent,
            aligned=paths.aligned,
        )


def union(lo: np.ndarray, hi: np.ndarray, index: np.ndarray, valid: np.ndarray, axis: int) -> Interval:
    """Hull of the intervals at `index` (t, n) along `axis`, over the taps t that are valid."""
    shape = [1] * lo.ndim
    shape[axis] = index.shape[1]
    out_lo = out_hi = None
    for row, ok in zip(index, valid):
        if not ok.any():  # nothing can be taken from an axis of size 0
            continue
        ok = ok.reshape(shape)
        some_lo = np.where(ok, np.take(lo, row, axis=axis), EMPTY_LO)
        some_hi = np.where(ok, np.take(hi, row, axis=axis), EMPTY_HI)
        out_lo = some_lo if out_lo is None else np.minimum(out_lo, some_lo)
        out_hi = some_hi if out_hi is None else np.maximum(out_hi, some_hi)
    if out_lo is None or out_hi is None:
        full = [*lo.shape]
        full[axis] = index.shape[1]
        return np.full(full, EMPTY_LO), np.full(full, EMPTY_HI)
    return out_lo, out_hi
