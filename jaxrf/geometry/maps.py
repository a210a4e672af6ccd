"""The kinds of maps from positions of one output axis to those of one input axis: windows, blocks, reductions, scans, matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.continuing import extended, moving_end, repeated
from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO


@dataclass(frozen=True, eq=False)
class Window(AxisMap):
    """Sliding window: output `o` reads dilated position `stride * o + t` for each offset `t`; holes between are zeros.

    Convolution, pooling, padding, slicing and reversal (`stride` -1) are of this kind.
    Offsets already contain the padding: a kernel of 3 with padding 1 has offsets (-1, 0, 1).
    Dilated position `q` is input position `q / holes` where that is whole, and nothing elsewhere.
    A `marginal` window stands beside a longer one, as a border does that is copied.

    Example (5 positions, kernel 3, stride 2, padding 1): 0 sees -1, 0, 1; 1 sees 1, 2, 3; 2 sees 3, 4, 5.
    """

    stride: int = 1
    offsets: tuple[int, ...] = (0,)
    holes: int = 1
    marginal: bool = False

    @property
    def identity(self) -> bool:
        return self.stride == 1 and self.holes == 1 and self.offsets == (0,) and self.in_size == self.out_size

    @property
    def cuts(self) -> bool:
        """Whether one position is left of several."""
        return self.in_size > self.out_size == 1 == self.stride == len(self.offsets)

    @property
    def met(self) -> np.ndarray:
        """Which offsets meet a position at all: where stride and holes share a factor, the others fall into holes only."""
        return np.asarray(self.offsets, np.int64) % math.gcd(self.holes, self.stride) == 0

    @property
    def reduced(self) -> Window | Pattern:
        """The same dependence by the offsets that are `met`, their common factor taken out; a map of none without any.

        Law: starts of the result at which the first offset meets a position exist and repeat with `holes`.

        Example (stride 4, holes 2, offsets -1, 0, 1): stride 2, no holes, offset 0.
        """
        common = math.gcd(self.holes, self.stride)
        offsets = tuple(int(t) // common for t, met in zip(self.offsets, self.met) if met)
        if not offsets:
            return Pattern(self.in_size, self.out_size, np.zeros((self.out_size, self.in_size), bool))
        return replace(self, stride=self.stride // common, offsets=offsets, holes=self.holes // common)

    @property
    def repeat(self) -> tuple[int, int]:
        common = math.gcd(self.holes, self.stride)
        return self.holes // common, self.stride // common

    def taps(self, out):
        dilated = self.stride * out[None, :] + np.asarray(self.offsets, np.int64).reshape(-1, 1)
        return dilated // self.holes, dilated % self.holes == 0

    def pull(self, lo, hi):
        first, last = (lo, hi - 1) if self.stride >= 0 else (hi - 1, lo)
        start = self.stride * first + min(self.offsets)
        stop = self.stride * last + max(self.offsets)
        return -(-start // self.holes), stop // self.holes + 1

    def push(self, lo, hi, axis):
        if self.identity:
            return lo, hi
        return super().push(lo, hi, axis)

    def push_endless(self, lo, hi, axis):
        return (lo, hi) if self.holes == 1 and self.offsets else super().push_endless(lo, hi, axis)


@dataclass(frozen=True, eq=False)
class Blocks(AxisMap):
    """Groups: output `o` reads all of block `o // out_block`, which is `in_block` positions long."""

    in_block: int = 1
    out_block: int = 1

    @property
    def repeat(self):
        return self.out_block, self.in_block

    def taps(self, out):
        index = (out // self.out_block) * self.in_block + np.arange(self.in_block)[:, None]
        return index, np.ones(index.shape, bool)

    def pull(self, lo, hi):
        return (lo // self.out_block) * self.in_block, ((hi - 1) // self.out_block + 1) * self.in_block


@dataclass(frozen=True, eq=False)
class Fixed(AxisMap):
    """Every output position reads the same input positions `[lo, hi)`: a reduction, or one known index.

    `whole` maps are reductions of the full axis.
    """

    lo: int = 0
    hi: int = 1

    @property
    def whole(self) -> bool:
        return self.lo == 0 and self.hi == self.in_size

    def taps(self, out):
        index = np.broadcast_to(np.arange(self.lo, self.hi)[:, None], (self.hi - self.lo, len(out)))
        return index, np.ones(index.shape, bool)

    def pull(self, lo, hi):
        return np.full_like(lo, self.lo), np.full_like(hi, self.hi)

    def push(self, lo, hi, axis):
        if self.hi <= self.lo or 0 in lo.shape:
            none = [1 if a == axis else n for a, n in enumerate(lo.shape)]
            return np.full(none, EMPTY_LO), np.full(none, EMPTY_HI)
        if lo.shape[axis] == 1:
            return lo, hi
        part = slice(self.lo, self.hi)
        cut = tuple(part if a == axis else slice(None) for a in range(lo.ndim))
        return lo[cut].min(axis=axis, keepdims=True), hi[cut].max(axis=axis, keepdims=True)

    def push_endless(self, lo, hi, axis):
        return self.push(lo, hi, axis)

    def count(self, counts, axis, start, add, none):
        return np.repeat(add.reduce(counts, axis=axis, keepdims=True), self.hi - self.lo, axis=axis), self.lo


def whole(in_size: int, out_size: int = 1) -> Fixed:
    """Every output position reads the full axis."""
    return Fixed(in_size, out_size, 0, in_size)


@dataclass(frozen=True, eq=False)
class Scan(AxisMap):
    """Cumulative operations: output `o` reads every position up to `o`, where it stands, or from `o` on if `reverse`."""

    reverse: bool = False

    @property
    def place(self):
        return Window(self.in_size, self.out_size)

    def taps(self, out):
        index = np.broadcast_to(np.arange(self.in_size)[:, None], (self.in_size, len(out)))
        return index, (index >= out) if self.reverse else (index <= out)

    def pull(self, lo, hi):
        if self.reverse:
            return lo, np.full_like(hi, self.in_size)
        return np.zeros_like(lo), hi

    def push(self, lo, hi, axis):
        if lo.shape[axis] == 1:
            return lo, hi
        turn = (slice(None),) * axis + (slice(None, None, -1 if self.reverse else 1),)
        return (
            np.minimum.accumulate(lo[turn], axis=axis)[turn],
            np.maximum.accumulate(hi[turn], axis=axis)[turn],
        )

    def push_endless(self, lo, hi, axis):
        return lo, hi

    def count(self, counts, axis, start, add, none):
        """Sums over all later (or earlier) outputs; input positions beyond the last output have no path."""
        along = [(0, 0)] * counts.ndim
        along[axis] = (start, self.in_size - start - counts.shape[axis])
        full = np.pad(counts, along, constant_values=none)
        turn = (slice(None),) * axis + (slice(None, None, 1 if self.reverse else -1),)
        return add.accumulate(full[turn], axis=axis)[turn], 0


@dataclass(frozen=True, eq=False)
class Pattern(AxisMap):
    """A known matrix: output `o` reads the positions where `support[o]` (out, in) is true.

    Resizing, gathering by known indices and permuting are of this kind.
    The map without borders is read off rows that it does not lead beyond the ends of the input axis.
    """

    support: np.ndarray = field(default=None)  # type: ignore[assignment]

    @cached_property
    def place(self):
        """Rows that all begin, or all end, where the axis does stand at their other ends: so in a triangle."""
        found = moving_end(*self._rows, self.in_size)
        return self if found is None else Window(self.in_size, self.out_size, found[0], (found[1],))

    def push(self, lo, hi, axis):
        if lo.shape[axis] == 1:
            return self._reaching(self.support.T, lo, hi, axis)
        return super().push(lo, hi, axis)

    @cached_property
    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        """First and one-past-last input position of each row; empty rows have lo > hi."""
        some = self.support.any(axis=1)
        lo = np.where(some, self.support.argmax(axis=1), EMPTY_LO)
        hi = np.where(some, self.in_size - self.support[:, ::-1].argmax(axis=1), EMPTY_HI)
        return lo, hi

    @cached_property
    def repeat(self):
        return self._repeated and (len(self._repeated[1]), self._repeated[0])

    @cached_property
    def _repeated(self) -> tuple[int, np.ndarray] | None:
        """Find by how much the rows move in a period, and an inner row of each phase."""
        lo, hi = self._rows
        for period in range(1, max(1, self.out_size // 4) + 1):
            found = repeated(lo, hi, self.in_size, period)
            if found is None:
                continue
            first, stop = extended(lo, hi, found[1], found[0], np.arange(self.out_size))
            rows = np.flatnonzero((first >= 0) & (stop <= self.in_size) & (first < stop))
            like = found[1][rows % period]
            if all(
                np.array_equal(self.support[r, lo[r] : hi[r]], self.support[m, lo[m] : hi[m]])
                for r, m in zip(rows, like)
            ):
                return found
        return None

    @cached_property
    def _phases(self) -> tuple[np.ndarray, np.ndarray]:
        """Taps of the outputs `0..period-1`, moved there from inner rows."""
        assert self._repeated is not None
        shift, rows = self._repeated
        sets = [np.flatnonzero(self.support[r]) - shift * (r // len(rows)) for r in rows]
        size = max(map(len, sets))
        index = np.stack([np.pad(s, (0, size - len(s)), mode="edge") for s in sets], axis=1)
        return index, np.ones(index.shape, bool)

    def taps(self, out):
        if self.repeat is None:
            sets = self.support[out]
            size = max(int(sets.sum(axis=1).max(initial=0)), 1)
            index = np.argsort(~sets, axis=1, kind="stable")[:, :size].T
            return index, np.take_along_axis(sets, index.T, axis=1).T
        period, shift = self.repeat
        index, valid = self._phases
        return index[:, out % period] + shift * (out // period), valid[:, out % period]

    @cached_property
    def _clipped(self):
        size = max(int(self.support.sum(axis=1).max(initial=0)), 1)
        index = np.argsort(~self.support, axis=1, kind="stable")[:, :size].T
        return index, np.take_along_axis(self.support, index.T, axis=1).T

    def pull(self, lo, hi):
        row_lo, row_hi = self._rows
        out_lo, out_hi = np.empty_like(lo), np.empty_like(hi)
        for i, (a, b) in enumerate(zip(np.clip(lo, 0, self.out_size), np.clip(hi, 0, self.out_size))):
            out_lo[i] = row_lo[a:b].min(initial=EMPTY_LO)
            out_hi[i] = row_hi[a:b].max(initial=EMPTY_HI)
        empty = out_lo >= out_hi
        return np.where(empty, 0, out_lo), np.where(empty, 1, out_hi)


def identity(size: int) -> Window:
    """Each position reads itself."""
    return Window(size, size)
