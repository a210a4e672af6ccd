"""Each layout of JAX's programs that is read here: the flat equations compute the derivative that JAX computes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf
from jaxrf.errors import TraceError
from jaxrf.tangent.flatten import CALLS, UNROLL_LIMIT
from tests.tangent.programs import check_derivative, derivative, program_of

W = np.random.default_rng(0).normal(size=(3, 5, 5)).astype(np.float32)


def names(program) -> list[str]:
    return [eqn.primitive for eqn in program.linear]


def body(carry, w):
    """One step of a loop over layers; its second result is stacked."""
    y = jnp.tanh(carry @ w)
    return y + carry, y.sum(-1)


@jax.custom_jvp
def leaky(x):
    return jnp.where(x > 0, x, 0.1 * x)


@leaky.defjvp
def _leaky_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return leaky(x), jnp.where(x > 0, t, 0.5 * t)


@jax.custom_vjp
def clipped(x, y):
    return x * jnp.minimum(y, 1)


clipped.defvjp(lambda x, y: (x * jnp.minimum(y, 1), y), lambda y, ct: (ct * jnp.minimum(y, 1), 0.5 * ct))


def scanned(x, **options):
    carry, rows = lax.scan(body, x, W, **options)
    return carry.sum(-1), rows


def scanned_tangents(x):
    """Both the carry and the scanned operand are tangents, and a constant of the loop is one too."""
    carry, rows = lax.scan(lambda c, row: (jnp.sin(c) * row + x[:, 0], c * row), x[:, 1], x.swapaxes(0, 1))
    return carry, rows


def nested(x):
    def outer(c, w):
        return lax.scan(lambda d, v: (jnp.sin(d @ v), d.sum()), c, jnp.stack([w, w.T]))

    return lax.scan(outer, x, W)


PROGRAMS = {
    "scan": (scanned, (4, 5)),
    "reverse scan": (functools.partial(scanned, reverse=True), (4, 5)),
    "unrolled scan": (functools.partial(scanned, unroll=2), (4, 5)),
    "scan over tangents": (scanned_tangents, (4, 5)),
    "reverse scan over tangents": (
        lambda x: lax.scan(lambda c, row: (c * 0.5 + row, c * row), x[:, 0], x.swapaxes(0, 1), reverse=True), (4, 5)),
    "nested scan": (nested, (4, 5)),
    "scan of remat": (lambda x: lax.scan(jax.checkpoint(body), x, W), (4, 5)),
    "scan of one step": (lambda x: lax.scan(body, x, W[:1]), (4, 5)),
    "fori_loop": (lambda x: lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) * (i + 1.0), x), (4, 5)),
    "map": (lambda x: lax.map(lambda row: jnp.tanh(row @ W[0]), x[0]), (4, 5)),
    "jit": (jax.jit(lambda x: jax.jit(jnp.sin)(x) @ W[0]), (4, 5)),
    "remat": (jax.checkpoint(lambda x: jnp.sin(jnp.cos(x) @ W[0])), (4, 5)),
    "remat that saves dots": (
        jax.checkpoint(lambda x: jnp.sin(jnp.cos(x) @ W[0]), policy=jax.checkpoint_policies.dots_saveable), (4, 5)),
    "custom_jvp": (lambda x: leaky(x) * 2, (4, 5)),
    "custom_jvp in jit in remat": (jax.checkpoint(jax.jit(lambda x: leaky(jnp.sin(x)))), (4, 5)),
    "cond": (lambda x: lax.cond(x.sum() > 0, lambda y: y * 2, lambda y: jnp.sin(y) @ W[0], x), (4, 5)),
    "cond on a constant branch": (lambda x: x + lax.cond(x.sum() > 0, lambda y: jnp.ones_like(y), jnp.sin, x), (4, 5)),
    "switch": (
        lambda x: lax.switch((x.sum() > 0).astype(int) + 1, [jnp.sin, jnp.cos, lambda y: y @ W[1]], x), (4, 5)),
    "split": (lambda x: [a * (i + 1.0) for i, a in enumerate(jnp.split(jnp.sin(x), [1, 3], -1))], (4, 5)),
    "optimization_barrier": (lambda x: sum(lax.optimization_barrier((jnp.sin(x), x * 2))), (4, 5)),
    "vmap": (jax.vmap(jax.vmap(lambda row: jnp.tanh(row @ W[0]))), (4, 5)),
    "several outputs, one passed on": (lambda x: {"a": x, "b": jnp.sin(x), "n": jnp.argmax(x)}, (4, 5)),
    "linear in nothing": (lambda x: lax.stop_gradient(x) * x, (4, 5)),
}  # fmt: skip


def floats(f):
    """`f` without its outputs of whole numbers, which have no tangent here."""
    return lambda x: [y for y in jax.tree.leaves(f(x)) if jnp.issubdtype(y.dtype, jnp.floating)]


@pytest.mark.parametrize("case", PROGRAMS)
def test_the_flat_program_is_the_derivative(case):
    """Calls are inlined, loops unrolled, branches joined; the equations, run in order, are `jax.jvp`."""
    f, shape = PROGRAMS[case]
    program = check_derivative(floats(f), *shape)
    assert not set(names(program)) & {*CALLS, "scan", "cond", "split", "optimization_barrier", "custom_lin"}
    assert all(len(eqn.results) == 1 and eqn.tangents for eqn in program.linear)


def test_custom_vjp_becomes_ordinary_equations():
    """The derivative of a `custom_vjp` function is the transpose of its backward rule, not that of its forward rule."""
    program = program_of(lambda x: clipped(x, 2 * x), 4, 5)
    assert "custom_lin" not in names(program)
    x = np.full((1, 4, 5), 2, np.float32)
    (found,) = derivative(program, x, np.ones_like(x))
    expected = jax.vjp(lambda x: clipped(x, 2 * x), x)[1](np.ones_like(x))[0]  # elementwise: the transpose is itself
    np.testing.assert_allclose(found, expected)


def test_taps_in_a_loop_are_numbered_by_iteration():
    """A tap in the body of a scan, traced once, names one layer per iteration, forward and reverse."""

    def f(x, reverse):
        return lax.scan(lambda c, w: (jaxrf.tap(jnp.sin(c @ w), "step"), None), x, W, reverse=reverse)[0]

    for reverse in (False, True):
        program = program_of(functools.partial(f, reverse=reverse), 4, 5)
        assert list(program.layers) == ["step", "step#1", "step#2", "output"]
        order = [eqn.result for eqn in program.linear if eqn.primitive == "jaxrf_tap"]
        assert order == [program.layers[name].tangent for name in ("step", "step#1", "step#2")]


def test_taps_that_are_computed_again_are_no_calls():
    """The body of a remat computes its values again inside the derivative; its tap stays one layer."""
    block = jax.checkpoint(lambda x: jnp.sin(jaxrf.tap(jnp.sin(x), "inside")) * 2)
    program = program_of(lambda x: block(block(x)), 4, 5)
    assert list(program.layers) == ["inside", "inside#1", "output"]
    assert all(layer.value is not None and layer.tangent is not None for layer in program.layers.values())


def test_long_loops_stay():
    """A loop above the limit is left as one equation, which has no rule: nothing is guessed."""
    program = program_of(lambda x: lax.fori_loop(0, UNROLL_LIMIT + 1, lambda i, c: jnp.sin(c), x), 2, 3)
    assert "scan" in names(program)
    with pytest.raises(jaxrf.errors.UnknownPrimitiveError, match="No rule for primitive 'scan'"):
        jaxrf.trf(lambda x: lax.fori_loop(0, UNROLL_LIMIT + 1, lambda i, c: jnp.sin(c), x), (2, 3))


def test_empty_loops_are_refused():
    """A scan of no steps that carries the derivative has nothing to unroll."""
    with pytest.raises(TraceError, match="A scan of length 0 carries the derivative"):
        program_of(lambda x: lax.scan(body, x, W[:0]), 4, 5)


def test_the_place_is_the_users_line():
    """An equation knows file, line and function of the user's code, though it calls a function that JAX jitted."""

    def model(x):
        return jax.jit(jnp.sin)(x)

    (eqn,) = program_of(model, 4, 5).linear
    assert eqn.primitive == "mul"
    line = model.__code__.co_firstlineno + 1
    assert eqn.where() == (
        f"in layer 'output', called at test_flatten.py:{line} (test_the_place_is_the_users_line.<locals>.model)"
    )


def test_prints_for_debugging_leave_no_trace():
    """A model that prints has the program of one that does not."""

    def net(x):
        jax.debug.print("{}", x.sum())
        return jnp.tanh(x) * x

    image = np.zeros((1, 4, 5, 2), np.float32)
    maps = [jaxrf.erf(f, None, image + 0.3).mean for f in (net, lambda x: jnp.tanh(x) * x)]
    np.testing.assert_array_equal(*maps)
