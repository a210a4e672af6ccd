"""Sums by coefficients whose zeros are known, against boolean matrices."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.geometry.counting import pull, unit_counts
from jaxrf.geometry.field import Field
from jaxrf.geometry.maps import identity
from jaxrf.geometry.masked_sum import Choice, MaskedSum
from jaxrf.geometry.merge import merge, source
from jaxrf.geometry.relations import Masked, Product, Relation

BAND = (lambda away: (away >= 0) & (away < 3))(np.arange(7)[:, None] - np.arange(5))
DRAW = np.random.default_rng(0)
# (operand axes, result axes, support on the result's axes and then on those that are summed over), as einsum letters.
FORMS = {
    "a matrix": ("bkc", "bcq", BAND[None, None]),
    "any matrix": ("bkc", "bqc", (DRAW.random((7, 5)) < 0.4)[None, :, None]),
    "one mask per head": ("bhkc", "bhcq", DRAW.random((1, 3, 1, 7, 5)) < 0.4),
    "a head that sees nothing": ("bhkc", "bhqc", np.arange(3).reshape(1, 3, 1, 1, 1) % 2 * BAND[None, None, :, None] > 0),
    "two axes, each by its own": ("bijc", "byxc", (np.eye(4, 3, -1)[:, None, :, None] * np.tri(6, 4)[None, :, None])[None, :, :, None] > 0),
    "rows without anything": ("bkc", "bqc", (np.arange(7) % 3 > 0)[None, :, None, None]),
    "some of what is summed": ("bk", "b", np.array([[False, True, True, True, False]])),
    "only the result's own axes": ("bkc", "bkcq", DRAW.random((1, 5, 2, 7)) < 0.5),
}  # fmt: skip
SIZES = {"b": 2, "h": 3, "k": 5, "q": 7, "c": 2, "i": 3, "j": 4, "y": 4, "x": 6}


def form(name: str) -> tuple[MaskedSum, np.ndarray]:
    """The summed_up, and which element (operand's axes behind the result's) depends on which."""
    mine, result, support = FORMS[name]
    gone = [letter for letter in mine if letter not in result]
    shape, out = (tuple(SIZES[x] for x in letters) for letters in (mine, result))
    full = np.broadcast_to(support, (*out, *(SIZES[x] for x in gone)))
    same = np.ones((*out, *shape), bool)
    for a, letter in enumerate(mine):
        if letter in result:
            index = np.ix_(*(np.arange(n) for n in same.shape))
            same = same & (index[result.index(letter)] == index[len(out) + a])
    order = [len(out) + i for i, _ in enumerate(gone)]
    placed = full.transpose(*range(len(out)), *order)
    wide = np.expand_dims(placed, [len(out) + a for a, letter in enumerate(mine) if letter in result])
    driven = tuple(result.find(letter) for letter in mine)
    return MaskedSum(shape, out, driven, support), same & wide


def related(name: str) -> tuple[Relation, np.ndarray]:
    """The relation of a form, and which element depends on which."""
    summed_up, depends = form(name)
    assert summed_up.relation is not None
    return summed_up.relation, depends


@pytest.mark.parametrize("name", FORMS)
def test_fields_are_hulls_of_what_the_support_lets_through(name):
    """Also where the operand's elements see several positions each, or none."""
    relation, depends = related(name)
    rank = len(relation.out_shape)
    lo = DRAW.integers(0, 20, relation.in_shape)
    hi = lo + DRAW.integers(0, 4, relation.in_shape)
    found = relation.push(Field(30, np.where(lo < hi, lo, 2**40), np.where(lo < hi, hi, -(2**40))))
    seen = depends & (lo < hi)
    axes = tuple(range(rank, depends.ndim))
    right_lo, right_hi = np.where(seen, lo, 2**40).min(axes), np.where(seen, hi, -(2**40)).max(axes)
    some = right_lo < right_hi
    got_lo, got_hi = (np.broadcast_to(a, some.shape) for a in (found.lo, found.hi))
    assert np.array_equal(got_lo < got_hi, some)
    assert np.array_equal(got_lo[some], right_lo[some]) and np.array_equal(got_hi[some], right_hi[some])


@pytest.mark.parametrize("name", FORMS)
def test_pulled_boxes_hold_the_support(name):
    """The box of one result holds every element on which it depends."""
    relation, depends = related(name)
    rank = len(relation.out_shape)
    for unit in np.argwhere(np.ones(relation.out_shape, bool))[::5]:
        box = relation.pull([(np.array([u]), np.array([u + 1])) for u in unit])
        mine = np.argwhere(depends[tuple(unit)])
        for axis, (lo, hi) in enumerate(box):
            assert ((mine[:, axis] >= lo[0]) & (mine[:, axis] < hi[0])).all(), (rank, unit, axis)


def test_heads_with_masks_of_their_own_count_a_path_once():
    """Heads are features: a position has one path through any of them; where the first axis is one of places, they add."""
    summed_up, depends = form("one mask per head")
    relation = summed_up.relation
    assert isinstance(relation, Choice)
    for head_is_place in (False, True):
        kinds = (False, head_is_place, True, False)
        start = unit_counts((False, head_is_place, False, True), (0, 1 if head_is_place else 0, 0, 3), log=False)
        counts = pull(relation, start, kinds)
        found = np.zeros(5, int)
        block = counts.values.reshape(counts.values.shape[2])
        found[counts.start[2] : counts.start[2] + len(block)] = block
        heads = depends[0, [1] if head_is_place else slice(None), 0, 3, 0]
        assert np.array_equal(found, heads[:, slice(None), :, 0].any((0, 1)).astype(int))


def test_supports_of_no_simple_form_have_no_relation():
    """Two axes that are masked together are not a product of pairs."""
    support = np.indices((1, 2, 3, 4)).sum(0) % 2 == 0
    assert MaskedSum((1, 3, 4), (1, 2), (0, -1, -1), support).relation is None


def test_simple_forms():
    """A matrix is a product of axes; rows alone are a mask."""
    assert isinstance(form("a matrix")[0].relation, Product)
    assert isinstance(form("rows without anything")[0].relation, Masked)


def test_a_band_goes_on_through_scores_of_pairs():
    """What queries and keys see goes on along the queries once keys are summed over: (0, 1) and (-2, 1) make (-2, 1)."""
    n = 9
    band = (lambda away: (away >= 0) & (away < 3))(np.arange(n)[:, None] - np.arange(n))
    along = source((1, n), 1)
    queries = Product((1, n), (1, n, n), tuple(_same((1, n), (0, 1))))
    keys = Product((1, n), (1, n, n), tuple(_same((1, n), (0, 2))))
    pairs = Masked(Product((1, n, n), (1, n, n), tuple(_same((1, n, n), (0, 1, 2)))), band[None])
    scores = pairs.push(merge(queries.push(along), keys.push(along)))
    assert scores.continuation is None and len(scores.along) == 2
    summed = MaskedSum((1, n, n), (1, n), (0, 1, -1)).whole
    end = summed.push(scores).continuation
    assert end is not None and (end.axis, end.period, end.step, int(end.lo.item()), int(end.hi.item())) == (
        1,
        1,
        1,
        -2,
        1,
    )


def _same(shape, places):
    return [(identity(n), place) for n, place in zip(shape, places)]
