"""The program of a case, the dense Jacobian of each of its equations, and pull-backs through it on chosen windows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters import Subject
from jaxrf.engine.pull import Shared, pull_back
from jaxrf.engine.windows import windows
from jaxrf.tangent.program import Equation, TangentProgram, Variable
from jaxrf.tangent.trace import trace
from tests.primitives.cases import CASES


@lru_cache(maxsize=None)
def program(name: str) -> TangentProgram:
    """The tangent program of a case, in float64."""
    case = CASES[name]
    subject = Subject(
        name, lambda _, x: case.fn(x), (), (), None, case.shape[1:], np.dtype(np.float64), tuple(range(1, len(case.shape)))
    )
    return trace(subject, case.shape[0])


def inputs(name: str) -> Iterator[np.ndarray]:
    """Positive inputs, as many as the case takes."""
    draw = np.random.default_rng(7)
    for _ in range(CASES[name].draws):
        yield draw.uniform(0.5, 1.5, CASES[name].shape)


def coefficients(program: TangentProgram, equations: list[Equation], x: np.ndarray) -> dict[Variable, Any]:
    wanted = list({v: None for e in equations for v in e.operands if isinstance(v, Variable) and not v.tangent})
    return dict(zip(wanted, program.evaluate(wanted, {program.image: jnp.asarray(x)})))


def supports(name: str) -> Iterator[tuple[Equation, int, np.ndarray]]:
    """Each linear equation and tangent operand, and where its Jacobian (*result, *operand) is not zero for some input."""
    traced = program(name)
    equations = list(traced.linear)
    pairs = [(e, i) for e in equations for i in e.tangents]

    @jax.jit
    def jacobians(values: list[Any]) -> list[Any]:
        known = dict(zip(order, values))
        return [_jacobian(e, i, known) for e, i in pairs]

    order, found = None, None
    for x in inputs(name):
        known = coefficients(traced, equations, x)
        order = list(known)
        some = [np.asarray(j) != 0 for j in jacobians(list(known.values()))]
        found = some if found is None else [a | b for a, b in zip(found, some)]
    assert found is not None
    yield from ((e, i, support) for (e, i), support in zip(pairs, found))


def _jacobian(equation: Equation, operand: int, known: dict[Variable, Any]) -> jax.Array:
    """(*result, *operand), row by row through JAX's own transpose."""
    target, result = equation.operands[operand], equation.result
    assert isinstance(target, Variable)

    def forward(t: jax.Array) -> jax.Array:
        values = [
            t if i == operand else jnp.zeros(v.shape, v.dtype) if v.tangent else known[v] if isinstance(v, Variable) else v.value
            for i, v in enumerate(equation.operands)
        ]
        return equation.evaluate(*values)[0]

    back = jax.linear_transpose(forward, jax.ShapeDtypeStruct(target.shape, target.dtype))
    size = int(np.prod(result.shape))
    rows = jnp.eye(size, dtype=result.dtype).reshape(size, *result.shape)
    return jax.vmap(lambda ct: back(ct)[0])(rows).reshape(*result.shape, *target.shape)


def pulled(name: str, moving: tuple[int, ...], whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of all units along the result axes `moving`: by the engine on windows, and by `jax.vjp`.

    Other axes of the result are whole and have random cotangents. Both are (unit, *input shape).
    """
    case, traced = CASES[name], program(name)
    x = next(inputs(name))
    target = traced.layers["output"].tangent
    assert target is not None
    count = int(np.prod([target.shape[a] for a in moving], dtype=int))
    places = np.indices([target.shape[a] for a in moving]).reshape(len(moving), count)
    units = dict(zip(moving, places))
    plan = windows(traced, target, traced.input, units, whole=whole)
    rest = [1 if a in moving else n for a, n in enumerate(target.shape)]
    draw = np.random.default_rng(3)
    ct = draw.standard_normal((plan.count, *rest)).astype(target.dtype)
    wanted = plan.coefficients()

    @jax.jit
    def mine(x: jax.Array, table: jax.Array, ct: jax.Array) -> jax.Array:
        values = traced.evaluate(wanted, {traced.image: x})
        shared = Shared(dict(zip(wanted, values)), plan.starts)
        return pull_back(plan, shared, table, ct)

    gradient = np.asarray(mine(x, plan.starts.table(plan.count), ct))
    full = np.zeros((plan.count, *target.shape), target.dtype)
    for n in range(plan.count):
        full[(n, *(slice(places[moving.index(a), n], places[moving.index(a), n] + 1) if a in moving else slice(None)
                   for a in range(len(target.shape))))] = ct[n]  # fmt: skip
    theirs = jax.jit(jax.vmap(lambda ct: jax.vjp(case.fn, x)[1](ct)[0]))(full)
    return _embed(gradient, plan, case.shape), np.asarray(theirs)


def _embed(gradient: np.ndarray, plan: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Windows laid into whole arrays; what lies outside must be zero."""
    result = np.zeros((len(gradient), *shape), gradient.dtype)
    for n, window in enumerate(gradient):
        cut, there = [], []
        for span, size in zip(plan.regions[plan.source], shape):
            start = int(plan.starts.rows[span.start][n]) if span.start is not None else 0
            lo, hi = max(0, start), min(size, start + span.size)
            cut.append(slice(lo - start, max(hi - start, lo - start)))
            there.append(slice(lo, max(hi, lo)))
        assert np.count_nonzero(window) == np.count_nonzero(window[tuple(cut)]), "not zero outside of the array"
        result[(n, *there)] = window[tuple(cut)]
    return result
