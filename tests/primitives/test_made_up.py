"""An operation that nobody knows, in this one file: JAX is told of it, one rule is written, and every question has an answer.

y[i] = x[i] + x[i - lag]    along one axis, with zeros in front
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

import jaxrf
from jaxrf.errors import JaxrfError, UnknownPrimitiveError
from jaxrf.geometry.maps import Window, identity
from jaxrf.geometry.relations import Product
from jaxrf.primitives import Kind, Rule, operations, rules
from jaxrf.primitives.movement import fit
from jaxrf.primitives.rule import rule

NAME = "echo_of_tests"
LAG = 3
SHAPE = (40, 36, 2)

echo_p = Primitive(NAME)


def echo(x, axis: int, lag: int = LAG):
    return echo_p.bind(x, axis=axis, lag=lag)


def _echo(x, axis: int, lag: int, back: bool = False):
    """What it computes; `back` is its transpose."""
    n = x.shape[axis]
    lead = [(lag, 0) if a == axis else (0, 0) for a in range(x.ndim)]
    turned = jnp.flip(x, axis) if back else x
    late = jax.lax.slice_in_dim(jnp.pad(turned, lead), 0, n, axis=axis)
    return x + (jnp.flip(late, axis) if back else late)


def _batched(arrays, dims, axis: int, lag: int):
    (x,), (dim,) = arrays, dims
    return echo_p.bind(jnp.moveaxis(x, dim, 0), axis=axis + 1, lag=lag), 0


echo_p.def_impl(jax.jit(_echo, static_argnames=("axis", "lag")))
echo_p.def_abstract_eval(lambda x, **_: jax.core.ShapedArray(x.shape, x.dtype))
mlir.register_lowering(echo_p, mlir.lower_fun(_echo, multiple_results=False))
ad.deflinear2(echo_p, lambda ct, x, **params: [_echo(ct, **params, back=True)])
batching.primitive_batchers[echo_p] = _batched


class Echo(Rule):
    """Each position and the one `lag` before it."""

    kind = Kind.SUM

    def relation(self, equation, operand):
        shape, axis, lag = equation.result.shape, equation.params["axis"], equation.params["lag"]
        window = Window(shape[axis], shape[axis], 1, (-lag, 0))
        return Product(shape, shape, tuple((window if a == axis else identity(n), a) for a, n in enumerate(shape)))

    def needs_whole(self, equation):
        return frozenset()

    def transpose(self, view, operand, ct):
        axis, lag = view.equation.params["axis"], view.equation.params["lag"]
        before = lag if view.out[axis].moving else 0
        size = view.into[axis].size
        return fit(ct, axis + 1, before, 1, size) + fit(ct, axis + 1, before - lag, 1, size)

    def flops(self, equation):
        return int(np.prod(equation.result.shape))


@pytest.fixture
def registered():
    """The rule, for the length of a test."""
    rule(NAME)(Echo)
    yield
    for registry in (rules, operations):
        registry._things.pop(NAME)


class Net(nn.Module):
    """A convolution, the operation, a gate made of values of the operation, a convolution."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), padding="VALID", name="first")(x)
        x = jaxrf.tap(echo(x, 1), "echoed")
        x = x * jax.lax.stop_gradient(nn.sigmoid(echo(x, 2)))
        return nn.Conv(3, (3, 3), padding="VALID", use_bias=False, name="last")(x)


class Linear(nn.Module):
    """Random weights around the operation, and nothing else."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), padding="VALID", use_bias=False, name="first")(x)
        return nn.Conv(3, (1, 1), use_bias=False, name="last")(echo(x, 1))


def test_without_a_rule_it_is_refused_by_name():
    """The message says where a rule goes."""
    with pytest.raises(UnknownPrimitiveError, match=rf"No rule for primitive '{NAME}'.*jaxrf/primitives/"):
        jaxrf.trf(Net(), SHAPE)


@pytest.mark.usefixtures("registered")
def test_table_and_paths():
    """Size, stride and padding are those of a window of two taps; positions between them have no path."""
    table = jaxrf.trf(Net(), SHAPE)
    assert table["echoed"].size == (3 + LAG, 3)
    assert table["output"].size == (5 + LAG, 5)
    assert table["output"].stride == (1, 1)
    assert table["echoed"].exact
    alone = jaxrf.paths(lambda x: echo(x, 1, 4), (9, 2, 1), unit=(6, 1))
    assert alone.counts[:, 0].tolist() == [1, 0, 0, 0, 1]


@pytest.mark.usefixtures("registered")
def test_windows_and_maps():
    """Inside, at the border where the window leaves the image, and everywhere at once, the maps are those of plain JAX."""
    variables = Net().init(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    for units in (np.array([[20, 15]]), np.array([[0, 0], [1, 31], [35, 2]]), "all"):
        jaxrf.check(Net(), variables, inputs=jaxrf.noise(2), input_shape=SHAPE, units=units)


@pytest.mark.usefixtures("registered")
def test_crop():
    """The values of the gate lie within the crop, beside what derivatives come from."""
    variables = Net().init(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    options = {"inputs": jaxrf.noise(1), "input_shape": SHAPE, "units": np.array([[20, 15]])}
    plan = jaxrf.plan(Net(), variables, **options)
    assert plan.crop.box == ((20 - LAG, 26), (15 - LAG, 20))
    mine, whole = (jaxrf.erf(Net(), variables, crop=crop, **options) for crop in (True, False))
    np.testing.assert_allclose(mine.mean, whole.mean, rtol=1e-5)


@pytest.mark.usefixtures("registered")
def test_signs():
    """Averaged over signs of the weights it is the average of the maps of many networks."""
    options = {"inputs": jaxrf.noise(1), "input_shape": (12, 5, 2), "units": np.array([[6, 1]])}
    averaged = jaxrf.erf(Linear(), seeds=200, estimator="sign_averaged", **options)
    sampled = jaxrf.erf(Linear(), seeds=800, **options)
    error = np.hypot(averaged.stderr, sampled.stderr)
    assert (np.abs(averaged.mean - sampled.mean) <= 5 * error).all()
    assert averaged.mean.sum() == pytest.approx(sampled.mean.sum(), rel=0.1)


@pytest.mark.usefixtures("registered")
def test_a_second_rule_is_refused():
    """The message names the primitive."""
    with pytest.raises(JaxrfError, match=f"{NAME}.*registered twice"):
        rule(NAME)(Echo)
