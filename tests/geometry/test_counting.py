"""Counts of paths through single maps and relations, against sums over all pairs of positions."""

from __future__ import annotations

import inspect
import itertools
import math

import numpy as np
import pytest

from jaxrf.geometry import counting
from jaxrf.geometry.counting import Counts
from jaxrf.geometry.elements import Elements
from jaxrf.geometry.kinds import forward
from jaxrf.geometry.maps import Blocks, Fixed, Pattern, Scan, Window, identity, whole
from jaxrf.geometry.relations import Masked, Product, Relation, Reshape, Union

RESIZE = np.array(
    [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0] * 5],
    bool,
)
MAPS = {
    "conv": Window(5, 5, 1, (-1, 0, 1)),
    "strided": Window(7, 3, 3, (-1, 0, 1, 2)),
    "stride above the kernel": Window(11, 3, 4, (0, 1)),
    "dilated": Window(9, 5, 1, (-2, 0, 4)),
    "transposed": Window(4, 9, 1, (-1, 0, 1), 2),
    "holes and stride": Window(5, 6, 2, (-2, -1, 1), 3),
    "reversed": Window(5, 5, -1, (4,)),
    "pad": Window(3, 7, 1, (-2,)),
    "blocks": Blocks(6, 4, 3, 2),
    "sum": whole(5),
    "one index": Fixed(5, 1, 2, 3),
    "cumulative": Scan(5, 5),
    "cumulative from the end": Scan(5, 5, True),
    "matrix": Pattern(5, 7, RESIZE),
}


def dense(axis_map) -> np.ndarray:
    """(out, in) zeros and ones, one output position after the other."""
    result = np.zeros((axis_map.out_size, axis_map.in_size), int)
    for o in range(axis_map.out_size):
        index, valid = axis_map.taps(np.array([o]))
        for i in index[valid]:
            if 0 <= i < axis_map.in_size:
                result[o, i] += 1
    return result


def exact(relation: Relation) -> np.ndarray:
    """(out, in) of a product of axes, as a Kronecker product in the order of the operand's axes."""
    factors = [dense(m) for m, _ in relation.axes]  # type: ignore[attr-defined]
    result = factors[0]
    for factor in factors[1:]:
        result = np.kron(result, factor)
    return result


@pytest.mark.parametrize("name", MAPS)
def test_a_map_pulls_counts_back_as_its_matrix_does(name):
    """Counts at inputs are the transposed matrix times those at outputs, on every block of outputs."""
    axis_map = MAPS[name]
    matrix, rng = dense(axis_map), np.random.default_rng(0)
    for start, stop in itertools.combinations(range(axis_map.out_size + 1), 2):
        counts = np.zeros((2, axis_map.out_size), np.int64)
        counts[:, start:stop] = rng.integers(1, 50, (2, stop - start))
        found, first = axis_map.count(counts[:, start:stop], 1, start, np.add, 0)
        full = np.zeros((2, axis_map.in_size), np.int64)
        full[:, first : first + found.shape[1]] = found
        np.testing.assert_array_equal(full, counts @ matrix)


@pytest.mark.parametrize("name", MAPS)
def test_logarithms_follow_whole_numbers(name):
    """With logaddexp a map gives the logarithms of what it gives with add."""
    axis_map = MAPS[name]
    counts = np.arange(1, axis_map.out_size + 1)
    plain, first = axis_map.count(counts, 0, 0, np.add, 0)
    logs, at = axis_map.count(np.log(counts), 0, 0, np.logaddexp, -np.inf)
    assert at == first
    np.testing.assert_allclose(np.exp(logs), plain)


@pytest.mark.parametrize("name", MAPS)
def test_reach_bounds_how_often_a_position_is_read(name):
    """No input position is read by more outputs than `reach` says, and one is read by that many."""
    assert MAPS[name].reach == dense(MAPS[name]).sum(axis=0).max()


def test_a_product_of_axes_is_pulled_axis_by_axis():
    """Two windowed axes and features: the counts are those of the Kronecker product, features once."""
    link = Product(
        (7, 5, 3), (4, 3, 5), ((Window(7, 3, 3, (-1, 0, 1, 2)), 1), (Window(5, 5, 1, (-1, 0, 1)), 2), (whole(3), None))
    )
    values = np.arange(1, 16).reshape(1, 3, 5)
    found = counting.pull(link, Counts((False, True, True), (0, 0, 0), values, 15), (True, True, False))
    plane = Product((7, 5), (3, 5), link.axes[:2])
    expected = np.zeros((7, 5, 1), int)
    expected[...] = (values.ravel() @ exact(plane)).reshape(7, 5, 1)
    full = np.zeros((7, 5, 1), int)
    full[tuple(slice(a, a + n) for a, n in zip(found.start, found.values.shape))] = found.values
    np.testing.assert_array_equal(full, expected)
    assert found.bound >= expected.max()


def test_a_repeated_operand_gets_the_sum_of_its_copies():
    """What is broadcast over positions has as many paths as all positions together."""
    link = Product((1, 3), (5, 3), ((Fixed(1, 5, 0, 1), None), (identity(3), 1)))
    found = counting.pull(link, Counts((True, False), (1, 0), np.array([[2], [3], [4]]), 4), (True, False))
    assert found.values.tolist() == [[9]]


def test_a_reshape_keeps_positions_and_counts_features_once():
    """(y, x) merged into tokens and back keeps each count; a merged feature axis gives its largest count."""
    link = Reshape((2, 3, 4), (6, 4))
    tokens = Counts((True, False), (1, 0), np.array([[7], [8], [9]]), 9)
    found = counting.pull(link, tokens, (True, True, False))
    assert found.values[..., 0].tolist() == [[0, 7, 8], [9, 0, 0]]
    flat = Counts((True,), (0,), np.arange(24), 23)
    found = counting.pull(Reshape((2, 3, 4), (24,)), flat, (True, True, False))
    assert found.values[..., 0].tolist() == [[3, 7, 11], [15, 19, 23]]


def test_masked_positions_have_no_paths():
    """Counts are dropped where a relation is masked; a mask over features is looked at as a whole."""
    support = np.array([[True, False], [False, False], [False, True]])
    link = Masked(Product((3, 2), (3, 2), ((identity(3), 0), (identity(2), 1))), support)
    found = counting.pull(link, Counts((True, False), (0, 0), np.array([[5], [6], [7]]), 7), (True, False))
    assert found.values[:, 0].tolist() == [5, 0, 7]


def test_taps_of_several_features_count_once():
    """A kernel whose zeros depend on the feature: a tap that two groups of features share is one step."""
    windows = [Window(5, 5, 1, taps) for taps in ((-1, 0), (0, 1), (-1, 0, 1))]
    some = Pattern(2, 2, np.array([[True, False], [False, False]]))
    first, second, hull = (Product((5, 2), (5, 2), ((w, 0), (some, 1))) for w in windows)
    counts = counting.unit_counts((True, False), (2, 0), False)
    found = counting.pull(Union((first, second), hull), counts, (True, False))
    assert (found.start[0], found.values[:, 0].tolist()) == (1, [1, 1, 1])
    assert counting.pull(Union((), hull), counts, (True, False)).empty


def test_elements_give_each_position_its_readers():
    """A gather by known indices: a position has the paths of all elements that read it, -1 reads nothing."""
    link = Elements((2, 3), (4,), np.array([[0, 5, 5, -1]]))
    found = counting.pull(link, Counts((True,), (0,), np.array([1, 2, 3, 4]), 4), (True, True))
    assert found.values.tolist() == [[1, 0, 0], [0, 0, 5]]
    assert forward(link, (False, True)) == (True,)
    assert forward(Elements((2, 3), (4,), np.array([[1, 1, 4, 4]])), (False, True)) == (False,)


def test_counts_beyond_64_bits_are_python_integers():
    """Fifty sums of three: 3^50 does not fit an int64 and is exact."""
    counts = counting.unit_counts((True,), (100,), False)
    link = Product((201,), (201,), ((Window(201, 201, 1, (-1, 0, 1)), 0),))
    for _ in range(50):
        counts = counting.pull(link, counts, (True,))
    assert counts.values.dtype == object
    assert sum(counts.values) == 3**50
    assert counts.values[50] == sum(
        math.comb(50, k) * math.comb(50 - k, k) for k in range(26)
    )  # the central trinomial coefficient


def test_joined_counts_add_up_and_do_not_overflow():
    """Blocks at different places are added on their common hull, in Python integers where needed."""
    a = Counts((True,), (1,), np.array([2**61, 1]), 2**61)
    b = Counts((True,), (2,), np.array([5, 2**61]), 2**61)
    assert a.join(b).values.tolist() == [2**61, 6, 2**61]
    assert a.join(a).join(a).values.tolist() == [3 * 2**61, 3]


def below(kind: type) -> list[type]:
    """All that are made of a class."""
    return [each for one in kind.__subclasses__() for each in (one, *below(one))]


def test_every_relation_counts_paths():
    """Each kind of relation says how counts and positions go through it."""
    kinds = [kind for kind in below(Relation) if not inspect.isabstract(kind)]
    assert {Product, Masked, Union} <= {*kinds}
    for act in (counting.pull, forward):
        assert not [kind.__name__ for kind in kinds if act.dispatch(kind) is act.dispatch(Relation)]


def test_features_that_read_nothing_are_no_path():
    """A part of a kernel without any pair of features is not a step; features read by positions add up over these."""
    none, some = Pattern(2, 3, np.zeros((3, 2), bool)), Pattern(2, 3, np.array([[1, 0], [0, 0], [1, 1]], bool))
    counts = Counts((True, True), (1, 0), np.array([[2, 3, 5]]), 5)
    links = [Product((5, 2), (5, 3), ((Window(5, 5, 1, (-1, 1)), 0), (m, 1))) for m in (none, some)]
    assert counting.pull(Union((links[0],), links[0]), counts, (True, False)).empty
    found = counting.pull(links[1], counts, (True, False))
    assert (found.start, found.values.tolist()) == ((0, 0), [[7], [0], [7]])
    apart = counting.pull(links[1], counts, (True, True))
    assert (apart.start, apart.values.tolist()) == ((0, 0), [[7, 5], [0, 0], [7, 5]])


def test_positions_read_by_features_are_those_that_any_of_them_reads():
    """Counts that hold for every feature reach the positions that some feature depends on."""
    some = Pattern(4, 3, np.array([[1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]], bool))
    link = Product((5, 4), (5, 3), ((identity(5), 0), (some, 1)))
    found = counting.pull(link, Counts((True, False), (2, 0), np.array([[6]]), 6), (True, True))
    assert (found.start, found.values.tolist()) == ((2, 0), [[6, 0, 6, 0]])


def test_doubled_counts_stay_exact():
    """Paths that are joined with themselves double, exactly, from one to 2^70."""
    counts = counting.unit_counts((True,), (3,), log=False)
    for doubled in range(1, 71):
        counts = counts.join(counts)
        assert int(counts.values[0]) == 2**doubled
