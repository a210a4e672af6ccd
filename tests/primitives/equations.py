"""The program of a case, the dense Jacobian of each of its equations, and pull-backs through it on chosen windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.adapters import Subject
from jaxrf.engine.pull import pull_back
from jaxrf.engine.range import times
from jaxrf.engine.view import Shared
from jaxrf.engine.windows import windows
from jaxrf.equations.program import Equation, TangentProgram, Variable
from jaxrf.lowering.forward import lower
from jaxrf.tangent.trace import trace
from tests.primitives.cases import CASES, Case


@cache
def program(name: str) -> TangentProgram:
    """The tangent program of a case, in float64."""
    case = CASES[name]
    subject = Subject(
        name,
        lambda _, x: case.fn(x),
        (),
        (),
        None,
        case.shape[1:],
        np.dtype(np.float64),
        tuple(range(1, len(case.shape))),
    )
    return trace(subject, case.shape[0])


def inputs(name: str) -> Iterator[np.ndarray]:
    """Positive inputs, as many as the case takes."""
    draw = np.random.default_rng(7)
    for _ in range(CASES[name].draws):
        yield draw.uniform(0.5, 1.5, CASES[name].shape)


@dataclass(frozen=True, eq=False)
class Tried:
    """One tangent operand of one linear equation of a case.

    Attributes:
        equation: the equation.
        operand: the number of the operand.
        support: (*result, *operand), where its Jacobian is not zero for some input.
        jacobian: the Jacobian itself, for the first input.
        known: coefficients for the first input.
    """

    equation: Equation
    operand: int
    support: np.ndarray
    jacobian: np.ndarray
    known: dict[Variable, np.ndarray]


@cache
def tried(name: str) -> list[Tried]:
    """Each linear equation and tangent operand of a case.

    What is nothing but rounding, beside the largest derivative of the equation, counts as zero.
    """
    traced = program(name)
    pairs = [(e, i) for e in traced.linear for i in e.tangents]
    wanted = list({v: None for e in traced.linear for v in e.operands if isinstance(v, Variable) and not v.tangent})

    @jax.jit
    def jacobians(x: jax.Array) -> tuple[list[Any], list[Any]]:
        values = traced.evaluate(wanted, {traced.image: x})
        known = dict(zip(wanted, values))
        return values, [jacobian(e, i, known) for e, i in pairs]

    values, first = jax.tree.map(np.asarray, jacobians(next(inputs(name))))
    supports = [_support(one) for one in first]
    for x in list(inputs(name))[1:]:
        supports = [old | _support(np.asarray(one)) for old, one in zip(supports, jacobians(x)[1])]
    known = dict(zip(wanted, values))
    return [Tried(e, i, there, one, known) for (e, i), there, one in zip(pairs, supports, first)]


def _support(one: np.ndarray) -> np.ndarray:
    return np.abs(one) > 1e-14 * np.abs(one).max(initial=0)


def jacobian(equation: Equation, operand: int, known: dict[Variable, Any]) -> jax.Array:
    """(*result, *operand): the equation on a basis; through its transpose where it cannot be evaluated forward."""
    target, result = equation.operands[operand], equation.result
    assert isinstance(target, Variable)

    def forward(t: jax.Array) -> jax.Array:
        values = [
            t
            if i == operand
            else jnp.zeros(v.shape, v.dtype)
            if v.tangent
            else known[v]
            if isinstance(v, Variable)
            else v.value
            for i, v in enumerate(equation.operands)
        ]
        return equation.evaluate(*values)[0]

    if equation.primitive == "custom_lin":
        back = jax.linear_transpose(forward, jax.ShapeDtypeStruct(target.shape, target.dtype))
        return lax.map(lambda ct: back(ct)[0], _basis(result)).reshape(*result.shape, *target.shape)
    columns = lax.map(forward, _basis(target)).reshape(*target.shape, *result.shape)
    rank = len(target.shape)
    return columns.transpose(*range(rank, columns.ndim), *range(rank))


def _basis(variable: Variable) -> jax.Array:
    """(size, *shape): one element after the other; complex ones in both parts."""
    size = int(np.prod(variable.shape))
    one = 1 + 1j if np.issubdtype(variable.dtype, np.complexfloating) else 1
    return (one * jnp.eye(size, dtype=variable.dtype)).reshape(size, *variable.shape)


def pulled(name: str, choices: list[tuple[int, ...]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each choice of moving axes of the result: gradients by the engine on windows, and by JAX on whole arrays.

    As in a run, two inputs go side by side through forward pass and pull-back, in the forms of `lowering`.
    Each position along the moving axes is a unit; other axes are whole and have random cotangents.
    Without moving axes every window is a whole array. Gradients are (input, unit, *input shape).
    """
    case, traced = CASES[name], program(name)
    xs, target = np.stack([next(inputs(name)), 2 - next(inputs(name))]), traced.layers["output"].tangent
    assert target is not None
    plans, cotangents, full = [], [], []
    for moving in choices:
        count = int(np.prod([target.shape[a] for a in moving], dtype=int))
        places = np.indices([target.shape[a] for a in moving]).reshape(len(moving), count)
        plans.append(windows(traced, target, traced.input, dict(zip(moving, places)), whole=not moving))
        shape = [1 if a in moving else n for a, n in enumerate(target.shape)]
        cotangents.append(np.random.default_rng(3).standard_normal((count, *shape)).astype(target.dtype))
        full.append(_on_whole_arrays(cotangents[-1], moving, places, target.shape))

    def gradients(x: jax.Array, tables: list[jax.Array], cts: list[jax.Array]) -> list[jax.Array]:
        wanted = list({v: None for plan in plans for v in plan.coefficients()})
        computed = traced.evaluate(wanted, {traced.image: x}, lambda e, values: lower(e.primitive, e.params, values))
        values = dict(zip(wanted, computed))
        found = [pull_back(p, Shared(values, p.starts), t, ct) for p, t, ct in zip(plans, tables, cts)]
        return [times(one.array, one.exponents()) for one in found]

    @jax.jit
    def both(xs: jax.Array, tables: list[jax.Array], cts: list[jax.Array], full: jax.Array) -> Any:
        mine = jax.vmap(gradients, in_axes=(0, None, None))(xs, tables, cts)
        return mine, lax.map(lambda x: _gradient(case, x, full), xs)

    mine, theirs = both(xs, [p.starts.table(p.count) for p in plans], cotangents, np.concatenate(full))
    parts = np.split(np.asarray(theirs), np.cumsum([p.count for p in plans])[:-1], axis=1)
    laid = [np.stack([_embed(one, plan, case.shape) for one in np.asarray(m)]) for m, plan in zip(mine, plans)]
    return list(zip(laid, parts, strict=True))


def _on_whole_arrays(
    cts: np.ndarray, moving: tuple[int, ...], places: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    full = np.zeros((len(cts), *shape), cts.dtype)
    for n, ct in enumerate(cts):
        at = dict(zip(moving, places[:, n]))
        full[(n, *(slice(at[a], at[a] + 1) if a in at else slice(None) for a in range(len(shape))))] = ct
    return full


def _gradient(case: Case, x: jax.Array, cts: jax.Array) -> jax.Array:
    """(unit, *input shape)."""
    if case.reverse:
        back = jax.vjp(case.fn, x)[1]
        return lax.map(lambda ct: back(ct)[0], cts)
    size = int(np.prod(case.shape))
    columns = lax.map(lambda t: jax.jvp(case.fn, (x,), (t,))[1], jnp.eye(size).reshape(size, *case.shape))
    return (cts.reshape(len(cts), -1) @ columns.reshape(size, -1).T).reshape(len(cts), *case.shape)


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
