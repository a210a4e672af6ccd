"""One use of every operation without a linear rule, on an array (1, 5, 3) of numbers between 0.5 and 1.5."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrf.equations.program import Equation, Variable
from jaxrf.tangent.flatten import Flattener

Array = Any
FUNCTIONS: dict[str, Callable[[Array], Any]] = {}

ONE = (
    "acosh asinh atan bessel_i0e bessel_i1e cbrt ceil cos cosh digamma erf erfc exp exp2 expm1 floor is_finite lgamma log log1p "
    "logistic abs round rsqrt sign sin sinh sqrt square tan tanh"
)
WITHIN_ONE = "acos asin atanh erf_inv"
TWO = "atan2 eq ge gt igamma igammac le lt max min ne nextafter pow rem"
BITS = "bitwise_and bitwise_or bitwise_xor"
SHIFTS = "shift_left shift_right_arithmetic shift_right_logical"


def enter(names: str, use: Callable[[Any, Array], Any]) -> None:
    """Each of the functions of `jax.lax` by these names, as it is used on an array."""
    for name in names.split():
        FUNCTIONS[name] = partial(use, getattr(lax, name))


enter(ONE, lambda f, x: f(x))
enter(WITHIN_ONE, lambda f, x: f(x - 0.7))
enter(TWO, lambda f, x: f(x, x[:, ::-1] + 0.1))
enter(BITS, lambda f, x: f(x > 1, x[:, ::-1] > 1))
enter(SHIFTS, lambda f, x: f(whole(16 * x), whole(2 * x)))
enter("reduce_max reduce_min reduce_prod", lambda f, x: f(x, (1,)))
enter("cumlogsumexp cummax cummin cumprod", lambda f, x: (f(x, 1), f(x, 2, reverse=True)))


def whole(x: Array) -> Array:
    return x.astype(jnp.int32)


FUNCTIONS |= {
    "clamp": lambda x: lax.clamp(x[:, ::-1] - 0.5, x, x[:, ::-1] + 0.5),
    "clz": lambda x: lax.clz(whole(9 * x)),
    "population_count": lambda x: lax.population_count(whole(9 * x)),
    "not": lambda x: lax.bitwise_not(x > 1),
    "integer_pow": lambda x: lax.integer_pow(x - 1, 3),
    "zeta": lambda x: lax.zeta(x + 1, x),
    "polygamma": lambda x: lax.polygamma(jnp.ones_like(x), x),
    "regularized_incomplete_beta": lambda x: lax.betainc(x, x[:, ::-1], x / 2),
    "optimization_barrier": lambda x: lax.optimization_barrier([x, x[0, :2]]),
    "argmax": lambda x: (lax.argmax(x, 1, jnp.int32), lax.argmin(x, 2, jnp.int32)),
    "reduce_and": lambda x: (jnp.all(x > 1, 1), jnp.any(x > 1, 2), lax.reduce_xor(whole(9 * x), (1,))),
    "reduce_window_max": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2), (1, 2, 1), "SAME"),
    "reduce_window_min": lambda x: lax.reduce_window(x, jnp.inf, lax.min, (1, 2, 1), (1, 1, 1), "VALID"),
    "reduce_window": lambda x: lax.reduce_window(x, 1.0, lax.mul, (1, 2, 2), (1, 2, 1), ((0, 0), (1, 0), (0, 0))),
    "sort": lambda x: lax.sort([x, x[:, ::-1]], dimension=1, num_keys=1),
    "tile": lambda x: jnp.tile(x, (1, 2, 3)),
    "iota": lambda x: lax.iota(jnp.float32, 5),
    "random": lambda x: (jax.random.gamma(jax.random.key(0), x), jax.random.bits(jax.random.wrap_key_data(
        jax.random.key_data(jax.random.key(1))), (3,))),
    "uniform": lambda x: lax.rng_uniform(x[0, 0, 0], 2.0, (3,)),
    "reads with indices that are values": lambda x: (
        x[:, jnp.argmax(x[0, :, 0])], lax.dynamic_slice(x, (0, whole(2 * x[0, 0, 0]), 0), (1, 2, 3)), x[:, whole(3 * x[0, :, 0])],
    ),
    "writes with indices that are values": lambda x: (
        x.at[:, jnp.argmax(x[0, :, 0])].set(2 * x[:, 0]), x.at[:, whole(3 * x[0, :2, 0])].add(x[:, :2]),
        x.at[:, whole(3 * x[0, :2, 0])].multiply(x[:, :2]),
        lax.dynamic_update_slice(x, x[:, :2], (0, whole(2 * x[0, 0, 0]), 0)),
    ),
    "products of values": lambda x: (
        jnp.einsum("bic,bjc->bij", x, x), x / x[:, ::-1], jnp.where(x > 1, x, 0.0), x * (x > 1), jnp.pad(x, ((0, 0), (1, 2), (0, 0))),
        lax.conv_general_dilated(x, x[0, :3, :, None], (2,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")),
    ),
    "solves": lambda x: lax.linalg.triangular_solve(jnp.eye(5)[None] + jnp.tril(x[:, :, :1] * x[:, None, :, 0]), x, left_side=True,
                                                    lower=True),
    "transforms": lambda x: jnp.fft.fft(x, axis=1),
    "groups of rows": lambda x: lax.ragged_dot(x[0], jnp.stack([x[0, :3], x[0, 1:4]]), whole(2 * x[0, :2, 0])),
}  # fmt: skip


def equations(name: str) -> tuple[list[Equation], Variable, list[Variable]]:
    """The equations of a function, its argument and its results."""
    closed = jax.make_jaxpr(FUNCTIONS[name])(jax.ShapeDtypeStruct((1, 5, 3), jnp.float32))
    flat = Flattener()
    argument = flat.new(closed.jaxpr.invars[0].aval, False)
    results = flat.run(closed.jaxpr, [flat.const(c) for c in closed.consts], [argument])
    assert not flat.consts, "constants are written into the functions"
    return flat.forward, argument, [v for v in results if isinstance(v, Variable)]
