"""What rules say of zeros: with zeros put into the operands, nothing outside of the support that is told is other than zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrf.equations.levels import Known, constant
from jaxrf.equations.program import Equation
from jaxrf.primitives import rules
from tests.primitives.cases import CASES
from tests.primitives.equations import tried

WRITTEN_BACKWARD = "custom_lin"  # has no evaluation of its own


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def zeroed(equation: Equation, known: dict, draw: np.random.Generator, share: float) -> tuple[list, list[Known]]:
    """Operands of positive numbers in which a share is zero, and what is told of them; indices as they are."""
    values, told = [], []
    for v in equation.operands:
        number = jnp.issubdtype(v.dtype, jnp.inexact)
        value = (
            draw.uniform(0.5, 1.5, v.shape).astype(v.dtype)
            if number
            else np.asarray(known.get(v, getattr(v, "value", 0)))
        )
        there = draw.random(v.shape) >= share
        values.append(value * there if number else value)
        told.append(Known(support=there) if number else constant(value))
    return values, told


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", CASES)
def test_nothing_outside_of_a_support_is_other_than_zero(name, share):
    """For every rule that follows zeros, in every case of it."""
    draw = np.random.default_rng(11)
    for one in tried(name):
        equation = one.equation
        if equation.primitive == WRITTEN_BACKWARD:
            continue
        values, told = zeroed(equation, one.known, draw, share)
        known = rules[equation.primitive].known(equation, told)
        if known is None or known.support is None:
            continue
        result = np.nan_to_num(equation.evaluate(*values)[0])  # none over none
        assert not (result != 0)[~np.broadcast_to(known.support, result.shape)].any(), equation.primitive
