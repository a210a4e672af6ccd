"""Which axes of a reshape hold positions."""

from __future__ import annotations

import pytest

from jaxrf.geometry.kinds import forward, joined
from jaxrf.geometry.relations import Reshape

# Shapes of operand and result, which operand axes hold positions, which result axes are used as such, and those joined.
CASES = {
    "depth to space of one position": ((2, 1, 3, 4), (2, 3, 4), "PP..", "PP.", ".P."),
    "of one image": ((1, 1, 3, 4), (1, 3, 4), "PP..", "PP.", ".P."),
    "behind all other axes": ((2, 3, 1), (2, 3), "P.P", "PP", ".P"),
    "no window slides on it": ((2, 1, 3, 4), (2, 3, 4), "PP..", "P..", "..."),
    "windows over channels behind a global pool": ((1, 1, 5), (1, 5), "P..", "PP", ".."),
    "an axis that keeps its place": ((2, 1, 3), (2, 1, 3, 1), "PP.", "PPPP", "...."),
    "several positions, which is not told here": ((2, 5, 3), (2, 15), "PP.", "PP", ".."),
}


def kinds(text: str) -> tuple[bool, ...]:
    return tuple(letter == "P" for letter in text)


@pytest.mark.parametrize("case", CASES)
def test_features_that_one_position_goes_into(case):
    """Where a single position is left out, the axis beside it holds positions if it is used so; elsewhere none does."""
    into, out, operand, used, expected = CASES[case]
    assert joined(Reshape(into, out), kinds(operand), kinds(used)) == kinds(expected)


def test_single_positions_keep_their_kind():
    """An axis of size 1 that keeps its place among the others is of the same kind behind a reshape."""
    assert forward(Reshape((2, 1, 6, 5), (2, 1, 2, 3, 5)), kinds("PP.P")) == kinds("PP..P")
