"""Whole numbers in order, held as the ranges that they make up: seeds, and the numbers of chunks."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from jaxtyping import Int

from jaxrf.errors import InputError


class Ranges(Sequence[int]):
    """Ascending whole numbers; the memory that they take grows with the ranges, not with the numbers.

    Args:
        bounds: (range, 2), the first number of each range and one past its last; ascending, none overlaps another.

    Example:
        >>> seeds = Ranges([(0, 3), (5, 6)])
        >>> list(seeds), len(seeds), seeds[-1], str(seeds[1:])
        ([0, 1, 2, 5], 4, 5, '1:3,5:6')
    """

    def __init__(self, bounds: Any):
        self.bounds: Int[np.ndarray, "range 2"] = np.asarray(bounds, np.int64).reshape(-1, 2)
        self._counts = np.cumsum(self.bounds[:, 1] - self.bounds[:, 0])  # up to and with each range

    @classmethod
    def of(cls, given: Any, name: str) -> Ranges:
        """Numbers from a count, or from text such as "0:8,16:32".

        Args:
            given: a count, which starts at 0; or ranges, each with its first number and one past its last.
            name: what they are, for messages.

        Raises:
            InputError: it is neither, or the ranges overlap or are in another order, or a number is above 2**32 - 1.

        Example:
            >>> list(Ranges.of("0:3,5:6", "seeds")), list(Ranges.of(2, "seeds"))
            ([0, 1, 2, 5], [0, 1])
        """
        text = f"0:{given}" if isinstance(given, int) and not isinstance(given, bool) else str(given)
        bounds: list[tuple[int, int]] = []
        for part in text.split(","):
            found = re.fullmatch(r"\s*(\d{1,10}):(\d{1,10})\s*", part, re.ASCII)
            if not found or not int(found[1]) < int(found[2]) <= 2**32:
                raise InputError(
                    f'{name} = {given!r}: {part!r} is not a range. Write "0:256", the first and one past the last.'
                )
            if bounds and int(found[1]) < bounds[-1][1]:
                raise InputError(
                    f"{name} = {given!r}: the range {part!r} overlaps or precedes another. Put them in order."
                )
            bounds.append((int(found[1]), int(found[2])))
        return cls(bounds)

    def __len__(self) -> int:
        return int(self._counts[-1]) if len(self._counts) else 0

    def __iter__(self) -> Iterator[int]:
        for first, stop in self.bounds:
            yield from range(int(first), int(stop))

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> Ranges: ...

    def __getitem__(self, index: int | slice) -> int | Ranges:
        if isinstance(index, slice):
            first, stop, _ = index.indices(len(self))
            moved = self.bounds[:, 1] - self._counts
            bounds = np.clip(self.bounds, (moved + first)[:, None], (moved + stop)[:, None])
            return Ranges(bounds[bounds[:, 0] < bounds[:, 1]])
        place = range(len(self))[index]
        one = bisect_right(self._counts, place)
        return place + int(self.bounds[one, 1] - self._counts[one])

    def below(self, numbers: Any) -> Int[np.ndarray, "..."]:
        """How many of these are smaller than each of `numbers`.

        >>> Ranges([(0, 3), (5, 6)]).below([1, 4, 9]).tolist()
        [1, 3, 4]
        """
        if not len(self):
            return np.zeros(np.shape(numbers), np.int64)
        counts = self._counts[:, None] - self.bounds[:, 1:] + self.bounds
        # It rises by one from number to number within ranges, and is flat between them.
        return np.interp(numbers, self.bounds.ravel(), counts.ravel()).astype(np.int64)

    def holds(self, others: Ranges) -> bool:
        """Whether all of `others` are among these."""
        sizes = np.diff(others.bounds, axis=1)
        return bool((np.diff(self.below(others.bounds), axis=1) == sizes).all())

    def gaps(self, first: int, stop: int) -> Ranges:
        """The numbers from `first` to before `stop` that are not among these.

        >>> str(Ranges([(0, 3), (5, 6)]).gaps(1, 9))
        '3:5,6:9'
        """
        edges = np.concatenate([[first], np.clip(self.bounds, first, stop).ravel(), [stop]]).reshape(-1, 2)
        return Ranges(edges[edges[:, 0] < edges[:, 1]])

    def __str__(self) -> str:
        return ",".join(f"{first}:{stop}" for first, stop in self.bounds.tolist())
