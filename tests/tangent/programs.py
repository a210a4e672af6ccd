"""Tangent programs of plain functions, and what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxrf.adapters import adapt
from jaxrf.equations.program import Literal, TangentProgram, Variable
from jaxrf.tangent.trace import trace


def program_of(f: Callable, *shape: int, batch: int = 1) -> TangentProgram:
    """The tangent program of `f(x)` for images of `shape`."""
    return trace(adapt(f, shape), batch)


def derivative(program: TangentProgram, image: Any, tangent: Any) -> list[Any]:
    """The outputs' tangents by running the linear equations one after the other."""
    coefficients = [v for eqn in program.linear for v in eqn.operands if isinstance(v, Variable) and not v.tangent]
    values = dict(zip(coefficients, program.evaluate(coefficients, {program.image: image})))
    values[program.input] = tangent
    for eqn in program.linear:
        operands = [v.value if isinstance(v, Literal) else values[v] for v in eqn.operands]
        (values[eqn.result],) = eqn.evaluate(*operands)
    outputs = (program.layers[name].tangent for name in program.outputs)
    return [values[v] for v in outputs if v is not None]


def check_derivative(f: Callable, *shape: int) -> TangentProgram:
    """Asserts that the program of `f` computes what `jax.jvp` does, to float32 rounding; returns it."""
    rng = np.random.default_rng(3)
    image, tangent = rng.normal(size=(2, 1, *shape)).astype(np.float32)
    program = program_of(f, *shape)
    expected = jax.tree.leaves(jax.jvp(f, (image,), (tangent,))[1])
    found = derivative(program, image, tangent)
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)
    return program
