"""What a pull-back reads of coefficients: nothing outside of the windows that the rule says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrf.engine.pull import pull_back
from jaxrf.engine.range import times
from jaxrf.engine.view import Shared
from jaxrf.engine.windows import Windows, windows
from jaxrf.equations.program import Variable
from jaxrf.primitives import rules
from tests.primitives.cases import CASES
from tests.primitives.equations import inputs, program


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def read_of(plan: Windows) -> dict[Variable, np.ndarray]:
    """For each coefficient of numbers with digits, the elements that the rules say they read, for the one unit."""
    found: dict[Variable, np.ndarray] = {}
    for step in plan.steps:
        eqn, out = step.equation, plan.regions[step.equation.result]
        for j, v in enumerate(eqn.operands):
            if not isinstance(v, Variable) or v.tangent or not jnp.issubdtype(v.dtype, jnp.inexact):
                continue
            read = found.setdefault(v, np.zeros(v.shape, bool))
            for i, into in step.into.items():
                spans = rules[eqn.primitive].reads(eqn, i, j, out, into) or [None] * len(v.shape)
                cut = []
                for span in spans:
                    start = 0 if span is None or span.start is None else int(plan.starts.rows[span.start][0])
                    cut.append(slice(None) if span is None else slice(max(0, start), max(0, start + span.size)))
                read[tuple(cut)] = True
    return found


def gradient(plan: Windows, values: dict[Variable, Any]) -> np.ndarray:
    shape = [1, *(span.size for span in plan.unit)]
    ct = np.random.default_rng(3).standard_normal(shape).astype(plan.target.dtype)
    pulled = pull_back(plan, Shared(values, plan.starts), jnp.asarray(plan.starts.table(1)), ct)
    return np.asarray(times(pulled.array, pulled.exponents()))


def tried() -> dict[str, Windows]:
    """Three cases for each primitive that reads a part of some coefficient for a unit in the middle, and the windows."""
    found, seen = {}, Counter[str]()
    for name in CASES:
        target = program(name).layers["output"].tangent
        if target is None or 0 in target.shape or not target.shape:
            continue
        middle = {a: np.array([n // 2]) for a, n in enumerate(target.shape)}
        plan = windows(program(name), target, program(name).input, middle)
        partly = {v for v, read in read_of(plan).items() if not read.all()}
        primitives = {s.equation.primitive for s in plan.steps if partly.intersection(s.equation.operands)}
        if any(seen[primitive] < 3 for primitive in primitives):
            seen.update(primitives)
            found[name] = plan
    assert set(seen) >= {"mul", "div", "dot_general", "select_and_gather_add"}
    return found


@pytest.mark.slow
def test_nothing_else_of_a_coefficient_is_read():
    """With NaN in all other elements of all coefficients, the gradient of a unit stays as it is."""
    for name, plan in tried().items():
        traced, wanted = program(name), plan.coefficients()
        values = dict(zip(wanted, traced.evaluate(wanted, {traced.image: next(inputs(name))})))
        spoiled = values | {v: jnp.where(read, values[v], jnp.nan) for v, read in read_of(plan).items()}
        np.testing.assert_allclose(gradient(plan, spoiled), gradient(plan, values), rtol=1e-12, err_msg=name)
