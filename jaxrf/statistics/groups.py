"""Sums of maps by seed or by image, in a bounded number of blocks, for errors that respect who shares what.

Samples of one network are not independent of each other, nor are those of one image.
So the sum of the maps is kept for each level of a factor (each seed, each image),
and where that would be too many arrays, for blocks of levels: those that are equal modulo a power of two.
The modulus is the largest that leaves at most `limit` blocks of the levels seen.
It depends on the levels alone, not on their order or on any split, so that `merge` stays associative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from jaxrf.errors import InputError

EVERY = 2**62
"""The modulus that keeps all levels apart."""
LARGEST = 2**24
"""Levels are numbers below this: they are kept as bits of one integer."""


@dataclass(frozen=True, eq=False)
class Block:
    """Samples of some levels: their number (unit,), and the sum of their maps (unit, *spatial)."""

    count: np.ndarray
    total: np.ndarray

    def __add__(self, other: Block) -> Block:
        return Block(self.count + other.count, self.total + other.total)


@dataclass(frozen=True, eq=False)
class Groups:
    """Blocks of the levels of one factor.

    Attributes:
        limit: the largest number of blocks.
        seen: a number whose bit i is set where level i was seen.
        modulus: block k holds the levels that are k modulo this.
        blocks: by their keys.
    """

    limit: int
    seen: int = 0
    modulus: int = EVERY
    blocks: Mapping[int, Block] = field(default_factory=dict)

    @property
    def levels(self) -> int:
        """How many levels were seen."""
        return self.seen.bit_count()

    @property
    def keys(self) -> tuple[int, ...]:
        """Keys of the blocks, ascending."""
        return tuple(sorted(self.blocks))

    @property
    def whole(self) -> Block:
        """All samples together."""
        first, *others = (self.blocks[key] for key in self.keys)
        return sum(others, first)

    def counts(self) -> Int[np.ndarray, "block unit"]:
        """Samples per block, in the order of the keys."""
        return np.array([self.blocks[key].count for key in self.keys])

    def totals(self) -> Float[np.ndarray, "block unit *spatial"]:
        """Sums of maps per block, in the order of the keys."""
        return np.array([self.blocks[key].total for key in self.keys])

    def powers(self) -> Float[np.ndarray, "block unit"]:
        """Sums of maps per block over all positions, in the order of the keys."""
        totals = (self.blocks[key].total for key in self.keys)
        return np.array([total.sum(tuple(range(1, total.ndim))) for total in totals])

    def without_each(self) -> Iterator[Float[np.ndarray, "unit *spatial"]]:
        """The mean map of all samples but those of one block, for each block in turn; NaN where none are left."""
        whole = self.whole
        for key in self.keys:
            block = self.blocks[key]
            yield _mean(whole.total - block.total, whole.count - block.count)

    def variance_of_mean(self) -> Float[np.ndarray, "unit *spatial"]:
        """Squared standard error of the mean map, were this factor the only one whose levels were drawn.

        The jackknife that leaves out one block at a time, which for a mean has a closed form.
        NaN for units with fewer than two blocks.

        References:
            Busing, Meijer, van der Leeden (1999), Delete-m jackknife for unequal m, equation 8.
        """
        whole = self.whole
        count, mean = whole.count, _mean(whole.total, whole.count)
        del whole  # maps may be large: no more of them at a time than are needed
        squares, used = np.zeros(mean.shape), np.zeros(len(count))
        for key in self.keys:
            block = self.blocks[key]
            rest = count - block.count
            there = (block.count > 0) & (rest > 0)
            deviation = _mean(block.total, block.count)
            deviation -= mean
            deviation *= deviation
            deviation *= _wide(np.where(there, block.count / np.maximum(rest, 1), 0.0), mean)
            deviation[~there] = 0.0
            squares += deviation
            used += there
        squares /= _wide(np.maximum(used, 1), mean)
        squares[used <= 1] = np.nan
        return squares

    def __repr__(self) -> str:
        return f"Groups({self.levels} levels in {len(self.blocks)} blocks)"


def of_level(limit: int, level: int, block: Block) -> Groups:
    """Groups of the samples of a single level.

    Raises:
        InputError: the level is not a number from 0 on, or too large a one.
    """
    if not 0 <= level < LARGEST:
        raise InputError(f"Seeds and images are counted from 0 to {LARGEST - 1} within a run, and {level} was given.")
    level = int(level)  # a NumPy integer would overflow as a bit
    return Groups(limit, 1 << level, EVERY, {level: block})


def merge(a: Groups, b: Groups) -> Groups:
    """The samples of `a` and of `b` together."""
    modulus, blocks = min(a.modulus, b.modulus), {}
    for groups in (a, b):
        _pour(groups.blocks, modulus, blocks)
    return _fold(Groups(min(a.limit, b.limit), a.seen | b.seen, modulus, blocks))


def align(a: Groups, b: Groups) -> tuple[Groups, Groups]:
    """Both with the same blocks, the coarser ones."""
    modulus = min(a.modulus, b.modulus)
    first, second = ({}, {})
    _pour(a.blocks, modulus, first)
    _pour(b.blocks, modulus, second)
    return Groups(a.limit, a.seen, modulus, first), Groups(b.limit, b.seen, modulus, second)


def restore(facts: Mapping, counts: np.ndarray, totals: np.ndarray) -> Groups:
    """Groups from `describe`, `counts()` and `totals()`."""
    blocks = {key: Block(count, total) for key, count, total in zip(facts["keys"], counts, totals, strict=True)}
    return Groups(facts["limit"], int(facts["seen"], 16), facts["modulus"], blocks)


def describe(groups: Groups) -> dict[str, int | str | Sequence[int]]:
    """What groups are besides arrays, JSON-able."""
    return {
        "limit": groups.limit,
        "seen": f"{groups.seen:x}",
        "modulus": groups.modulus,
        "keys": list(groups.keys),
    }


def _pour(blocks: Mapping[int, Block], modulus: int, into: dict[int, Block]) -> None:
    for key, block in blocks.items():
        into[key % modulus] = into[key % modulus] + block if key % modulus in into else block


def _fold(groups: Groups) -> Groups:
    """The same groups with as few blocks as `limit` allows, and no fewer than needed."""
    modulus = groups.modulus
    while len({key % modulus for key in groups.blocks}) > groups.limit:
        modulus //= 2
    if modulus == groups.modulus:
        return groups
    blocks: dict[int, Block] = {}
    _pour(groups.blocks, modulus, blocks)
    return Groups(groups.limit, groups.seen, modulus, blocks)


def _mean(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    count = _wide(count, total)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=np.broadcast_to(count > 0, total.shape))


def _wide(per_unit: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """(unit,) that broadcasts against (unit, *spatial)."""
    return per_unit.reshape(per_unit.shape + (1,) * (maps.ndim - per_unit.ndim))
