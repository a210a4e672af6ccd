"""Where elements lie: local parts beside global fields, cumulative operations, borders that repeat."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.geometry.center import centers_on
from jaxrf.geometry.continuing import moving_end
from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Continuation, Field
from jaxrf.geometry.hull import hull
from jaxrf.geometry.maps import Fixed, Pattern, Scan, Window, identity, whole
from jaxrf.geometry.merge import merge, source
from jaxrf.geometry.relations import Masked, Product
from jaxrf.geometry.row import Row
from tests.geometry.made_rows import token_row

WIDE = Product((7,), (7,), ((Window(7, 7, 1, (-1, 0, 1, 2)), 0),))
MEAN = Product((7,), (1,), ((whole(7), None),))
REPEAT = Product((1,), (7,), ((Fixed(1, 7, 0, 1), None),))
SAME = Product((7,), (7,), ((identity(7), 0),))


def middles(field: Field, *shape: int) -> list[float]:
    return np.broadcast_to(centers_on(field, shape, True), shape).ravel().tolist()


def test_a_mean_beside_a_map_takes_no_place_from_it():
    """x - mean(x) is global, and its elements lie where those of x do, on an endless input too."""
    x = WIDE.carry(source((7,), 0))
    normed = merge(x, REPEAT.carry(MEAN.carry(x)))
    assert normed.continuation is None and (normed.lo == 0).all() and (normed.hi == 7).all()
    assert middles(normed, 7) == middles(x, 7) == [u + 0.5 for u in range(7)]
    behind = WIDE.carry(normed)
    assert middles(behind, 7) == middles(WIDE.carry(x), 7) == [u + 1.0 for u in range(7)]


def test_a_mean_has_no_place():
    """All positions count alike, so that neither the mean nor what it is repeated to lies anywhere."""
    mean = MEAN.carry(source((7,), 0))
    assert mean.local == () and np.isnan(middles(mean, 1)).all()
    assert np.isnan(middles(REPEAT.carry(mean), 7)).all()


@pytest.mark.parametrize("start", [0, 3, 6])
def test_one_position_that_is_cut_out_keeps_its_place(start):
    """x[3] lies at 3, although nothing is left to tell it from its neighbors."""
    cut = Product((7,), (1,), ((Fixed(7, 1, start, start + 1), None),)).carry(source((7,), 0))
    assert middles(cut, 1) == [start]


def test_scores_lie_at_their_query_and_their_key_until_the_keys_are_summed():
    """Attention scores (query, key) keep both places; a sum over keys lies at its query, one over queries at its key."""
    tokens = source((7,), 0)
    to_query, to_key = (Product((7,), (7, 7), ((identity(7), axis),)) for axis in (0, 1))
    scores = merge(to_query.carry(tokens), to_key.carry(tokens))
    for summed in (0, 1):
        axes = [(identity(7), 0), (identity(7), 0)]
        axes[summed] = whole(7), None
        found = Product((7, 7), (7,), tuple(axes)).carry(scores)
        assert (found.hi - found.lo == 7).all() and middles(found, 7) == list(range(7))


def test_positions_in_a_window_are_finer_than_the_window():
    """(window, position) beside sums over the window: elements lie at their positions, and so they do side by side."""
    x = source((6,), 0)
    shape = (3, 2)
    at = np.arange(6).reshape(shape)
    one = np.array([[0, 1]])
    fine = Field(6, at, at + 1, Continuation(0, 1, 2, one, one + 1))
    coarse = Field(6, at[:, :1], at[:, :1] + 2, Continuation(0, 1, 2, one[:, :1], one[:, :1] + 2))
    for joined in (merge(fine, coarse), merge(coarse, fine)):
        assert joined.continuation is not None and (joined.hi - joined.lo == 2).all()
        assert middles(joined, *shape) == middles(x, 6)


def test_of_places_that_disagree_the_smaller_field_counts():
    """A branch at another scale beside a local one moves no unit; the hull of equally large ones stays."""
    x = WIDE.carry(source((7,), 0))
    rows = np.zeros((7, 7), bool)
    rows[np.arange(7), [0, 1, 1, 3, 4, 4, 6]] = True
    uneven = Product((7,), (7,), ((Pattern(7, 7, rows), 0),)).carry(x)
    coarse = WIDE.carry(WIDE.carry(uneven))
    assert uneven.continuation is None and middles(merge(x, coarse), 7) == middles(x, 7)
    turned = Product((7,), (7,), ((Window(7, 7, -1, (6,)), 0),)).carry(source((7,), 0))
    assert middles(merge(source((7,), 0), turned), 7) == [3] * 7


@pytest.mark.parametrize("reverse", [False, True])
def test_cumulative_operations_lie_at_their_own_position(reverse):
    """A cumulative sum and a triangular matrix see all on one side and lie where they end."""
    triangle = np.triu(np.ones((7, 7), bool)) if reverse else np.tril(np.ones((7, 7), bool))
    for axis_map in (Scan(7, 7, reverse), Pattern(7, 7, triangle)):
        field = Product((7,), (7,), ((axis_map, 0),)).carry(WIDE.carry(source((7,), 0)))
        assert middles(field, 7) == [u + 0.5 for u in range(7)]


def test_only_even_ends_make_a_triangle():
    """Ends that stand still, that move by several steps, or that leave both ends of the axis do not say a place."""
    at = np.arange(4)
    assert moving_end(0 * at, 2 * at + 2, 9) == (2, 1) and moving_end(at, 0 * at + 9, 9) == (1, 0)
    for lo, hi in ((0 * at, 0 * at + 9), (0 * at, np.array([1, 2, 4, 5])), (at, at + 3), (0 * at + 1, at + 2)):
        assert moving_end(lo, hi, 9) is None


def test_known_zeros_leave_a_query_where_it_stands():
    """Scores 0 · q have no path, and still lie at their query; beside another path along that axis they say nothing."""
    zeros = Masked(SAME, np.zeros(7, bool)).carry(source((7,), 0))
    assert (zeros.lo >= zeros.hi).all()
    total = REPEAT.carry(MEAN.carry(source((7,), 0)))
    for joined in (merge(zeros, total), merge(total, zeros)):
        assert (joined.hi - joined.lo == 7).all() and middles(joined, 7) == list(range(7))
    wide = WIDE.carry(source((7,), 0))
    assert merge(zeros, wide) is wide and merge(wide, zeros) is wide


@pytest.mark.parametrize(("before", "inside"), [(2, 5), (0, 5), (3, 1), (4, 2)])
def test_a_border_that_repeats_the_outermost_element_is_none_on_an_endless_input(before, inside):
    """It gives way to the map beside it, however short that is; what it sees stays in the clipped field."""
    x = Product((inside,), (inside,), ((Window(inside, inside, 1, (-1, 0, 1)), 0),)).push(source((inside,), 0))
    total = before + inside + 2
    main = Product((inside,), (total,), ((Window(inside, total, 1, (-before,), 1, before > inside), 0),)).push(x)
    lo, hi = np.full(total, EMPTY_LO), np.full(total, EMPTY_HI)
    lo[:before], hi[:before], lo[-2:], hi[-2:] = x.lo[0], x.hi[0], x.lo[-1], x.hi[-1]
    border = Field(inside, lo, hi)
    for joined in (merge(main, border), merge(border, main)):
        first, stop = joined.continuation.at(np.arange(total))
        assert first.tolist() == [u - before - 1 for u in range(total)] and (stop - first == 3).all()
        assert not joined.continuation.marginal
        assert joined.lo[:before].tolist() == [0] * before and joined.hi[-1] == inside


@pytest.mark.parametrize("change", ["other place", "not beside", "a mean"])
def test_what_is_beside_a_map_is_no_border_unless_it_is_its_end(change):
    """Another position, one laid over the map, and a mean take the continuation away."""
    main = Product((5,), (7,), ((Window(5, 7, 1, (-2,)), 0),)).push(source((5,), 0))
    lo, hi = np.full(7, EMPTY_LO), np.full(7, EMPTY_HI)
    place = 3 if change == "not beside" else 1
    lo[place], hi[place] = (1, 2) if change == "other place" else (0, 1)
    local = () if change == "a mean" else None
    assert hull(main, Field(5, lo, hi, local=local)).continuation is None


def test_parts_are_saved_with_a_row_and_unknown_in_older_files():
    """A row that is read back has the same centers; one that was written before says that a global field has none."""
    x = source((7,), 0)
    normed = merge(x, REPEAT.carry(MEAN.carry(x)))
    row = Row("norm", "Norm", (7, 2), (7,), (normed,))
    again = Row.from_dict(row.to_dict())
    assert [again.center(u) for u in range(7)] == [row.center(u) for u in range(7)] == [(u,) for u in range(7)]
    old = row.to_dict()
    del old["fields"][0]["local"]
    assert np.isnan(Row.from_dict(old).center(3)).all() and again.center_unit == (3,)


def test_rows_without_any_path_have_no_numbers():
    """Stride, padding, halo and center of units that see nothing are None or nan, and never a sentinel."""
    empty = Masked(SAME, np.zeros(7, bool)).carry(source((7,), 0))
    row = Row("dead", "Conv", (7, 2), (7,), (empty,))
    assert (row.size, row.stride, row.padding, row.halo()) == ((0,), (None,), (None,), (None,))
    assert np.isnan(row.center(2)).all() and row.center_unit == (3,)


def test_the_center_unit_of_tokens_is_the_middle_of_their_grid():
    """Of 5 x 7 patches in one list it is (2, 3), and the lower of the middle ones where their number is even."""
    assert token_row(4, 5, 7).center_unit == (2 * 7 + 3,)
    assert token_row(4, 3, 4).center_unit == (1 * 4 + 1,)
