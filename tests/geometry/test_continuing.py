"""Continuations read off elements, and carried through merged and split axes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from jaxrf.geometry.continuing import refit
from jaxrf.geometry.field import Continuation, Field
from jaxrf.geometry.maps import Pattern, Window
from jaxrf.geometry.merge import merge, source
from jaxrf.geometry.relations import Product, Reshape


def through(field, *shapes):
    """The field behind reshapes from each shape to the next."""
    for old, new in itertools.pairwise(shapes):
        field = Reshape(old, new).push(field)
    return field


def ends(field, size):
    """Unclipped ends of the first `size` elements of the continued axis, as a list of pairs per other element."""
    c = field.continuation
    lo, hi = c.at(np.arange(size))
    return list(zip(lo.ravel().tolist(), hi.ravel().tolist(), strict=True))


def strided(size, step):
    """Along axis 0 of (size, 3): element u sees [step u - 1, step u + 2)."""
    at = step * np.arange(size)[:, None]
    one = np.zeros((1, 1), np.int64)
    lo, hi = np.maximum(at - 1, 0), np.minimum(at + 2, step * size)
    return Field(step * size, lo, hi, Continuation(0, 1, step, one - 1, one + 2))


def test_the_slow_axis_of_a_merge_keeps_its_steps():
    """Rows of 3 tokens: element 3 i + j sees what row i sees, whose steps are those of a period of 3."""
    c = through(strided(4, 2), (4, 3), (12,)).continuation
    assert (c.axis, c.period, c.step) == (0, 3, 2)
    assert c.lo.tolist() == [-1] * 3 and c.hi.tolist() == [2] * 3


def test_the_fast_axis_of_a_merge_repeats():
    """Columns among tokens start again in each row: period 3 and step 0; split again, they step by 1."""
    merged = through(source((4, 3), 1), (4, 3), (12,))
    assert (merged.continuation.period, merged.continuation.step) == (3, 0)
    assert ends(merged, 4) == [(0, 1), (1, 2), (2, 3), (0, 1)]
    split = through(merged, (12,), (4, 3)).continuation
    assert (split.axis, split.period, split.step) == (1, 1, 1)


@pytest.mark.parametrize("parts", [(2, 4), (4, 2), (2, 2, 2)])
def test_a_split_keeps_the_field_of_every_element(parts):
    """On the split axes each element has its unclipped ends, and merging gives the first continuation again."""
    whole = strided(8, 2)
    split = through(whole, (8, 3), (*parts, 3))
    lo, hi = split.continuation.at(np.arange(parts[0]))
    assert split.continuation.axis == 0
    assert np.broadcast_to(lo, (*parts, 1)).ravel().tolist() == [2 * u - 1 for u in range(8)]
    assert np.broadcast_to(hi, (*parts, 1)).ravel().tolist() == [2 * u + 2 for u in range(8)]
    back = through(split, (*parts, 3), (8, 3)).continuation
    assert (back.axis, back.period, back.step) == (0, 1, 2) and back.lo.ravel().tolist() == [-1]


def test_a_saw_is_no_line():
    """Tokens of three rows of four, without a continuation of their own: the line through one row fits no other."""
    lo = np.tile(2 * np.arange(4), 3)
    assert refit(Field(8, lo, lo + 2), (12,)).continuation is None


def test_a_line_with_clamped_ends_is_found():
    """Intervals of 3 that are cut at both ends continue with step 1."""
    at = np.arange(9)
    c = refit(Field(9, np.maximum(at - 1, 0), np.minimum(at + 2, 9)), (9,)).continuation
    assert (c.period, c.step, c.lo.tolist(), c.hi.tolist()) == (1, 1, [-1], [2])


@pytest.mark.parametrize(
    ("rows", "repeat"), [([0, 0, 3, 2], None), ([3, 1, 4, 2, 0], None), ([4, 3, 2, 1, 0], (1, -1))]
)
def test_a_pattern_repeats_only_where_its_rows_do(rows, repeat):
    """Two rows that differ by one are not a pattern of five; a reversal is."""
    assert Pattern(5, len(rows), np.eye(5, dtype=bool)[rows]).repeat == repeat


@pytest.mark.parametrize(("size", "step", "kept"), [(1, 1, True), (1, -1, True), (3, 1, False), (1, 2, False)])
def test_a_margin_gives_way_where_it_is_a_copy(size, step, kept):
    """Of equal size and speed, in either direction, it is a border; of another scale it takes the continuation away."""
    one = np.zeros(1, np.int64)
    main = Field(9, np.arange(9), np.arange(9) + 1, Continuation(0, 1, 1, one, one + 1))
    margin = Field(9, one + 5, one + 6, Continuation(0, 1, step, one + 5, one + 5 + size, marginal=True))
    for joined in (merge(main, margin), merge(margin, main)):
        assert (joined.continuation is main.continuation) is kept and (joined.continuation is None) is not kept


def test_a_marginal_window_marks_its_continuation():
    """Its relation says so to `merge`; a window that stands alone does not."""
    pushed = [Product((5,), (9,), ((Window(5, 9, 1, (-4,), 1, m), 0),)).push(source((5,), 0)) for m in (True, False)]
    assert [one.continuation.marginal for one in pushed] == [True, False]
