"""Whole numbers held as ranges are what a list of them is."""

from __future__ import annotations

import random

import pytest

from jaxrf.base.ranges import Ranges


def drawn(chance: random.Random) -> tuple[Ranges, list[int]]:
    """Some ranges, which may touch each other, and their numbers."""
    edges = sorted(chance.sample(range(40), 2 * chance.randrange(6)))
    bounds = list(zip(edges[::2], edges[1::2], strict=True))
    if bounds and chance.random() < 0.5:
        bounds.append((bounds[-1][1], bounds[-1][1] + 2))
    return Ranges(bounds), [number for first, stop in bounds for number in range(first, stop)]


@pytest.mark.parametrize("seed", range(40))
def test_they_are_what_a_list_of_the_numbers_is(seed):
    """Length, members, stretches, gaps and counts, of random ranges and of none."""
    chance = random.Random(seed)
    ranges, numbers = drawn(chance)
    assert (list(ranges), len(ranges), bool(ranges)) == (numbers, len(numbers), bool(numbers))
    assert [ranges[i] for i in range(len(numbers))] == numbers
    for _ in range(10):
        first, stop = sorted((chance.randrange(45), chance.randrange(45)))
        assert list(ranges[first:stop]) == numbers[first:stop]
        assert list(ranges.gaps(first, stop)) == [n for n in range(first, stop) if n not in numbers]
        assert ranges.below([first, stop]).tolist() == [sum(n < x for n in numbers) for x in (first, stop)]
        others, more = drawn(chance)
        assert ranges.holds(others) == (set(more) <= set(numbers))
        assert ranges.holds(ranges[first:stop])


def test_numbers_behind_the_last_are_refused():
    """As in a list, from both ends."""
    assert Ranges([(3, 5), (9, 10)])[-3] == 3
    for index in (3, -4):
        with pytest.raises(IndexError):
            Ranges([(3, 5), (9, 10)])[index]
