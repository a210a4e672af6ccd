"""What a rule says of its kind, against the Jacobians of all cases: nothing here asks a relation."""

from __future__ import annotations

import math
from collections import defaultdict

import jax
import numpy as np
import pytest

from jaxrf.equations.program import Literal
from jaxrf.primitives import rules
from jaxrf.primitives.operation import Kind
from tests.primitives.cases import CASES
from tests.primitives.equations import Tried, tried


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def flat(one: Tried, support: bool = False) -> np.ndarray:
    """(result, operand), the Jacobian of the first input, or where that of some input is not zero."""
    array = one.support if support else one.jacobian
    return array.reshape(math.prod(one.equation.result.shape), math.prod(one.equation.operands[one.operand].shape))


def at_own_place(one: Tried) -> np.ndarray:
    """(*result, *operand): the pairs at the same place, an operand being broadcast along axes of size 1."""
    out, shape = one.equation.result.shape, one.equation.operands[one.operand].shape
    same = np.ones((*out, *shape), bool)
    for a, n in enumerate(shape):
        here = np.arange(n) == np.arange(out[a])[:, None] if n == out[a] else np.ones((out[a], n), bool)
        same &= here.reshape([out[a] if b == a else n if b == len(out) + a else 1 for b in range(same.ndim)])
    return same


def coefficient(one: Tried, operand: int) -> np.ndarray:
    found = one.equation.operands[operand]
    return np.asarray(found.value if isinstance(found, Literal) else one.known[found])


def passes(one: Tried) -> None:
    assert (one.jacobian == at_own_place(one)).all()


def parts(one: Tried) -> None:
    assert not (one.support & ~at_own_place(one)).any()


def adds(one: Tried) -> None:
    assert (np.abs(one.jacobian) == at_own_place(one)).all()


def scales(one: Tried) -> None:
    """At each place the coefficients, raised to the powers that the rule says."""
    rule, out = rules[one.equation.primitive], one.equation.result.shape
    factor = np.ones(out)
    for j, power in rule.powers(one.equation, one.operand).items():
        factor = factor * np.abs(coefficient(one, j).astype(complex)) ** power
    expected = np.reshape(factor, (*out, *[1] * (one.jacobian.ndim - len(out)))) * at_own_place(one)
    size = np.abs(one.jacobian) / (np.sqrt(2) if np.iscomplexobj(one.jacobian) else 1)
    np.testing.assert_allclose(size, expected, rtol=1e-12)


def selects(one: Tried) -> None:
    assert not (one.support & ~at_own_place(one)).any()
    assert np.isin(one.jacobian, [0, 1]).all()


def moves(one: Tried) -> None:
    reads(one)
    if rules[one.equation.primitive].takes_one(one.equation, one.operand):  # the value of a padding goes to many places
        assert ((flat(one) != 0).sum(0) <= 1).all()


def reads(one: Tried) -> None:
    assert np.isin(one.jacobian, [0, 1, 1 + 1j]).all()
    assert ((flat(one) != 0).sum(1) <= 1).all()


def writes(one: Tried) -> None:
    """The array stays where it is; each update goes to one place at most."""
    if one.operand == rules[one.equation.primitive].linear[0]:
        assert not (one.support & ~at_own_place(one)).any()
    else:
        assert ((flat(one) != 0).sum(0) <= 1).all()
        assert np.isin(np.abs(one.jacobian), [0, 1]).all()


def sums(one: Tried) -> None:
    assert np.isin(one.jacobian, [0, 1]).all()


def multiplies(one: Tried) -> None:
    """Each derivative is zero, or one element of the other factor."""
    other = coefficient(one, 1 - one.operand).ravel()
    size = np.abs(one.jacobian[np.abs(one.jacobian) > 0]) / (np.sqrt(2) if np.iscomplexobj(one.jacobian) else 1)
    assert all(np.isclose(np.abs(other), x, rtol=1e-12).any() for x in np.unique(size))


def anything(one: Tried) -> None:
    """What it mixes may be told by a matrix that holds zeros: all cases together say that it mixes."""


LAWS = {
    Kind.PASS: passes, Kind.PART: parts, Kind.ADD: adds, Kind.SCALE: scales, Kind.SELECT: selects, Kind.MOVE: moves,
    Kind.READ: reads, Kind.CHOICE: reads, Kind.WRITE: writes, Kind.SUM: sums, Kind.PRODUCT: multiplies, Kind.MIX: anything,
    Kind.OTHER: anything,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_kind_is_what_the_jacobian_says(name):
    """Each derivative is of the form that the rule's kind says; operands that it calls no linear ones are not tangents."""
    for one in tried(name):
        rule = rules[one.equation.primitive]
        LAWS[rule.kind](one)
        assert rule.linear is None or one.operand in rule.linear
        assert not rule.pointwise or not (one.support & ~at_own_place(one)).any()


@pytest.mark.parametrize("name", CASES)
def test_elements_that_are_taken_alone_stay_apart(name):
    """`takes_one`: no element of the result has two of the operand; unless the rule `gathers`, none goes to two places."""
    for one in tried(name):
        rule = rules[one.equation.primitive]
        if rule.takes_one(one.equation, one.operand):
            assert ((flat(one) != 0).sum(1) <= 1).all()
            assert rule.gathers or ((flat(one) != 0).sum(0) <= 1).all()


def test_kinds_are_no_weaker_than_the_operations():
    """Of each rule that reduces, some result has several elements; of each that gathers, some element is read twice."""
    most: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2, int))
    for name in CASES:
        for one in tried(name):
            there = flat(one, support=True)
            both = [there.sum(1).max(initial=0), there.sum(0).max(initial=0)]
            most[one.equation.primitive] = np.maximum(most[one.equation.primitive], both)
    for name, (in_one, of_one) in most.items():
        assert not rules[name].reduces or in_one > 1, name
        assert not rules[name].gathers or of_one > 1, name
        assert rules[name].kind is not Kind.MIX or in_one > 1, name
        assert rules[name].kind is not Kind.PRODUCT or in_one > 1, name
    assert {rule.kind for rule in rules.values()} == set(LAWS)
