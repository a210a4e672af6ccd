"""Sums by level: which blocks are kept, that it depends on no order or split, and the error of a mean."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from jaxrf.errors import InputError
from jaxrf.statistics import groups
from jaxrf.statistics.groups import Block, Groups

SHAPE = (2, 5, 7)


def block(seed: int) -> Block:
    return Block(np.array([1, 1]), np.random.default_rng(seed).random(SHAPE))


def gathered(levels, limit: int = 8) -> Groups:
    found = Groups(limit)
    for level in levels:
        found = groups.merge(found, groups.of_level(limit, level, block(level)))
    return found


def assert_same(a: Groups, b: Groups):
    assert (a.keys, a.modulus, a.seen) == (b.keys, b.modulus, b.seen)
    np.testing.assert_array_equal(a.counts(), b.counts())
    np.testing.assert_allclose(a.totals(), b.totals(), rtol=1e-12)


def test_levels_have_blocks_of_their_own_up_to_the_limit():
    """Eight levels make eight blocks, whatever their numbers; a ninth halves the modulus until eight are enough."""
    assert gathered([0, 3, 17, 5, 9, 100, 101, 2]).keys == (0, 2, 3, 5, 9, 17, 100, 101)
    nine = gathered(range(9))
    assert (nine.keys, nine.modulus, nine.levels) == (tuple(range(8)), 8, 9)
    np.testing.assert_array_equal(nine.counts()[:, 0], [2, 1, 1, 1, 1, 1, 1, 1])
    many = gathered(range(64))
    assert repr(many) == "Groups(64 levels in 8 blocks)"
    np.testing.assert_array_equal(many.counts(), 8)


def test_order_and_split_do_not_matter():
    """Any order, and merging any two parts, gives the same blocks and sums to 1e-12."""
    levels = [40, 1, 7, 8, 9, 30, 2, 3, 11, 23, 64, 12]
    whole = gathered(levels)
    rng = np.random.default_rng(0)
    for cut in range(len(levels) + 1):
        order = rng.permutation(levels)
        assert_same(groups.merge(gathered(order[:cut]), gathered(order[cut:])), whole)


def test_merge_is_associative_and_init_its_identity():
    """(a b) c equals a (b c), and nothing changes with nothing."""
    a, b, c = gathered(range(7)), gathered(range(20, 33)), gathered([5, 6, 99])
    assert_same(groups.merge(groups.merge(a, b), c), groups.merge(a, groups.merge(b, c)))
    assert_same(groups.merge(a, Groups(8)), a)
    assert_same(groups.merge(Groups(8), a), a)


def test_the_same_level_adds_up():
    """Samples of one seed from two parts are one block."""
    both = groups.merge(gathered([4]), gathered([4]))
    assert both.levels == 1
    np.testing.assert_array_equal(both.totals()[0], 2 * block(4).total)


def test_variance_of_the_mean_is_that_of_independent_blocks():
    """Equal blocks give the squared standard error of their means; unequal ones the delete-block jackknife."""
    found = gathered(range(8))
    values = np.array([block(level).total for level in range(8)])
    np.testing.assert_allclose(found.variance_of_mean(), values.var(0, ddof=1) / 8, rtol=1e-12)
    uneven = gathered(range(9))
    rest = np.array(list(uneven.without_each()))
    size = uneven.counts().astype(float)[..., None, None]
    mean, factor = uneven.totals().sum(0) / 9, 9 / size
    pseudo = factor * mean - (factor - 1) * rest
    by_hand = (np.square(pseudo - mean) / (factor - 1)).mean(0)
    np.testing.assert_allclose(uneven.variance_of_mean(), by_hand, rtol=1e-10)


def test_variance_counts_blocks_per_unit():
    """A unit whose samples lie in one block has no variance, and its neighbor the one of its own."""
    one = Block(np.array([1, 1]), np.ones(SHAPE))
    two = Block(np.array([0, 1]), np.where(np.arange(2)[:, None, None] == 0, 0.0, 3.0) * np.ones(SHAPE))
    found = groups.merge(groups.of_level(8, 0, one), groups.of_level(8, 1, two)).variance_of_mean()
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], 1.0)


def test_coarser_blocks_still_know_the_variance():
    """Over many draws, blocks of several levels estimate the same variance as single levels do, to 5 %."""
    rng = np.random.default_rng(1)
    estimates = []
    for _ in range(400):
        found = Groups(8)
        for level, value in enumerate(rng.standard_normal(24)):
            part = groups.of_level(8, level, Block(np.array([1]), np.full((1, 1), value)))
            found = groups.merge(found, part)
        estimates.append(found.variance_of_mean()[0, 0])
    assert np.mean(estimates) == pytest.approx(1 / 24, rel=0.05)


def test_align_pours_into_the_coarser_blocks():
    """Two results with other limits can be paired block by block."""
    fine, coarse = gathered(range(16), limit=16), gathered(range(16), limit=4)
    one, other = groups.align(fine, coarse)
    assert one.keys == other.keys == (0, 1, 2, 3)
    assert_same(Groups(4, one.seen, one.modulus, one.blocks), other)


def test_restore_is_the_inverse_of_describe():
    """What a file holds gives the same groups back."""
    found = gathered(itertools.chain(range(9), [1000]))
    assert_same(groups.restore(groups.describe(found), found.counts(), found.totals()), found)


@pytest.mark.parametrize("level", [-1, 2**24])
def test_levels_are_counted_within_the_run(level):
    """A level that is not a small number from 0 on is refused."""
    with pytest.raises(InputError, match=f"counted from 0 to 16777215 within a run, and {level} was given"):
        groups.of_level(8, level, block(0))
