"""How units are dealt into batches of one size: as they come, or as products of rows and columns.

A batch that is a product lets windows be read along one axis at a time, for a whole line of units at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

LINES = 8
"""Lines of units in a batch, the sublanes of a tile of a TPU: with 14 of 28 units, moves of axes take most of the time."""


@dataclass(frozen=True, eq=False)
class Batches:
    """Units in batches.

    Attributes:
        cells: numbers of the units, by their place on each axis of the product; (count,) where they are a list.
        size: units of a batch, at most.
        per_call: a multiple of so many batches is made; what is too much repeats units and weighs nothing.
    """

    cells: np.ndarray
    size: int
    per_call: int = 1

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """A batch as a product: how many places it takes of each axis of `cells`, of the last axes first."""
        return _chunk(self.cells.shape, self.size)

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many batches there are along each axis of `cells`."""
        return tuple(-(-n // c) for n, c in zip(self.cells.shape, self.shape))

    @cached_property
    def numbers(self) -> np.ndarray:
        """(batch, unit): numbers of the units; int32."""
        return self._dealt(np.pad(self.cells, self._missing, mode="edge"), "edge").astype(np.int32)

    @cached_property
    def real(self) -> np.ndarray:
        """(batch, unit): False for those that fill up the last batches."""
        return self._dealt(np.pad(np.ones(self.cells.shape, bool), self._missing), "constant")

    def restored(self, found: Any) -> Any:
        """What was found for the units of all batches, (image, batch * unit, ...), in the order of their numbers."""
        rest, d = found.shape[2:], len(self.shape)
        found = found[:, : int(np.prod(self.blocks)) * int(np.prod(self.shape))]
        found = found.reshape(len(found), *self.blocks, *self.shape, *rest)
        pairs = [axis for k in range(d) for axis in (1 + k, 1 + d + k)]
        found = found.transpose(0, *pairs, *range(1 + 2 * d, found.ndim))
        found = found.reshape(len(found), *(b * c for b, c in zip(self.blocks, self.shape)), *rest)
        found = found[(slice(None), *(slice(n) for n in self.cells.shape))].reshape(len(found), self.cells.size, *rest)
        order = self.cells.ravel()
        return found if (order == np.arange(order.size)).all() else found[:, np.argsort(order)]

    @property
    def _missing(self) -> list[tuple[int, int]]:
        return [(0, b * c - n) for n, b, c in zip(self.cells.shape, self.blocks, self.shape)]

    def _dealt(self, filled: np.ndarray, mode: Any) -> np.ndarray:
        d = filled.ndim
        apart = filled.reshape([n for pair in zip(self.blocks, self.shape) for n in pair])
        apart = apart.transpose(*range(0, 2 * d, 2), *range(1, 2 * d, 2))
        dealt = apart.reshape(int(np.prod(self.blocks)), -1)
        return np.pad(dealt, [(0, -len(dealt) % self.per_call), (0, 0)], mode=mode)


def _chunk(extents: tuple[int, ...], size: int) -> tuple[int, ...]:
    """At most `size` places, of the last axes first.

    >>> _chunk((28, 14), 64), _chunk((3, 100), 64)
    ((4, 14), (1, 64))
    """
    found, left = [], size
    for n in reversed(extents):
        found.append(max(1, min(n, left)))
        left //= found[-1]
    return tuple(reversed(found))


def fitting(extents: tuple[int, ...], most: int) -> int:
    """The size of batches of at most `most` units that are products: up to `LINES` lines, as long as there is room.

    >>> fitting((28, 28), 512), fitting((5, 600), 512), fitting((14, 14), 64)
    (224, 300, 56)
    """
    size = 1
    for number, n in enumerate(reversed(extents)):
        room = max(1, most // size)
        size *= -(-n // -(-n // room)) if number == 0 else min(n, room, LINES)
        if n > room:
            break
    return size


def product(units: Mapping[int, np.ndarray], count: int) -> np.ndarray:
    """Numbers of units by their place on each axis, where they are all combinations of some positions; else (count,).

    Combinations that stand several times, as one for each channel, make a last axis.

    >>> product({1: np.array([4, 4, 7, 7]), 2: np.array([0, 9, 0, 9])}, 4).tolist()
    [[0, 1], [2, 3]]
    >>> product({1: np.array([4, 5]), 2: np.array([0, 9])}, 2).tolist()
    [0, 1]
    """
    places = [np.unique(along, return_inverse=True) for along in units.values()]
    extents = [len(values) for values, _ in places]
    cells = int(np.prod(extents, dtype=np.int64))
    flat = np.arange(count)
    if not places or cells == 1 or count % cells:
        return flat
    which = np.ravel_multi_index([place.reshape(-1) for _, place in places], extents)
    if (np.bincount(which, minlength=cells) != count // cells).any():
        return flat
    numbers = np.argsort(which, kind="stable")
    return numbers.reshape(*extents, *([count // cells] if count > cells else []))
