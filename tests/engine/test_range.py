"""Cotangents beyond single precision: exponents of two beside them, exact, and nothing changed where none is needed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.engine.pull import Shared, pull_back
from jaxrf.engine.range import NOTHING, Scaled, alike, patience, room, times, unscaled
from jaxrf.engine.scores import degree, scores
from jaxrf.engine.windows import windows
from jaxrf.programs import traced
from tests.engine.models import LAYOUTS, RESIDUAL, images, residual, weights

pytestmark = pytest.mark.usefixtures("quick")


def shrinking(factor: float, layers: int):
    """`f(w, x)`: one-dimensional convolutions of three taps, each followed by a factor that single precision holds."""

    def f(w, x):
        for kernel in w:
            x = jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=LAYOUTS[1]) * factor
        return x

    return f, weights(*[(3, 2, 2)] * layers, dtype=np.float32)


@pytest.mark.parametrize("factor", [2.0**-8, 2.0**8])
def test_gradients_far_beyond_the_range_are_exact(factor):
    """Twenty-four layers that each shrink or grow the gradient by 2**8 give, to rounding, the map of those that do not."""
    inputs = images(1, 9, 2, dtype=np.float32)
    (f, w), (g, _) = shrinking(factor, 24), shrinking(1.0, 24)
    found, plain = (jaxrf.erf(one, w, inputs, units=np.array([[4], [6]]), channels=0) for one in (f, g))
    assert found.dead == found.nonfinite == 0
    np.testing.assert_allclose(found.mean / factor**48, plain.mean, rtol=1e-4)


def test_forty_sigmoid_layers_do_not_underflow():
    """Their squared gradients are below 1e-45 and none is dead; the map is that of double precision."""
    model = zoo.conv_stack(depth=40, width=2, rank=1, activation="sigmoid")
    inputs = images(1, 11, 2)
    variables = jax.jit(model.init)(jax.random.key(0), inputs.astype(np.float32))
    single = jaxrf.erf(model, variables, inputs.astype(np.float32), channels=0)
    assert single.dead == 0 and 0 < single.mean.max() < 1e-45
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: np.asarray(a, np.float64), variables)
        gradient = jax.jacobian(lambda x: model.apply(wide, x)[0, int(single.units[0, 0]), 0])(inputs)
    np.testing.assert_allclose(single.mean[0], np.square(gradient[0]).sum(-1), rtol=1e-3)


def test_pooled_units_may_be_of_very_different_strength():
    """The mean over units is that of their maps, though one unit's score is 1e60 times another's, and one is dead."""
    strength = np.array([1.0, 1e-25, 0.0, 1e-15, 1e5, 1e-30, 1.0], np.float32).reshape(1, 7, 1)

    def f(x):
        for _ in range(9):
            x = x * 0.5
        return x * strength

    inputs = images(1, 7, 2, dtype=np.float32)
    pooled = jaxrf.erf(f, None, inputs, units="all", channels=0, pool_units=True)
    np.testing.assert_allclose(
        pooled.mean.ravel().sum(), np.square(strength / 2.0**9, dtype=np.float64).mean(), rtol=1e-6
    )
    weak = jaxrf.erf(f, None, inputs, units=np.array([[1], [2], [5]]), channels=0, pool_units=True)
    np.testing.assert_allclose(weak.mean.sum(), (1e-50 + 1e-60) / 4.0**9 / 3, rtol=1e-5)


def test_nothing_changes_where_nothing_leaves_the_range():
    """The bits of a gradient that is looked at after every equation are those of one that never is."""
    w, inputs = weights(*RESIDUAL, dtype=np.float32), images(1, 17, 21, 2, dtype=np.float32)
    program = traced(adapt(residual, inputs.shape[1:], variables=w))
    target = program.layers["output"].tangent
    plan = windows(program, target, program.input, {1: np.array([1, 2]), 2: np.array([2, 0])})
    table, ct = plan.starts.table(plan.count), np.ones((2, *(s.size for s in plan.unit)), np.float32)
    wanted = plan.coefficients()
    values = program.evaluate(wanted, {**dict(zip(program.arguments, w)), program.image: inputs})
    shared = Shared(dict(zip(wanted, values)), plan.starts)
    often, never = (pull_back(plan, shared, table, ct, patient=patient) for patient in (0.0, 1e9))
    assert not np.asarray(never.exponents()).any() and not np.asarray(often.exponents()).any()
    np.testing.assert_array_equal(np.asarray(often.array), np.asarray(never.array))
    assert np.asarray(never.array).any()


def test_a_look_brings_each_unit_into_range():
    """Units out of range are scaled to about one, others stay; zeros, infinities and NaN are left as they are."""
    rows = np.array([[1e-20, -3e-21], [1e20, 1.0], [0.5, 4.0], [0.0, 0.0], [np.inf, 1.0], [np.nan, 1.0]], np.float32)
    found = Scaled(jnp.asarray(rows), None, 60.0).looked_at(patience(np.dtype(np.float32)))
    array, exponent = np.asarray(found.array), np.asarray(found.exponent)
    assert (exponent != 0).tolist() == [True, True, False, True, False, False]
    assert ((np.abs(array[:2]).max(axis=1) >= 0.5) & (np.abs(array[:2]).max(axis=1) < 1)).all()
    np.testing.assert_array_equal(np.ldexp(array[:2].astype(np.float64), exponent[:2, None]), rows[:2])
    np.testing.assert_array_equal(array[2:], rows[2:])
    young = Scaled(jnp.asarray(rows), None, 1.0)
    assert young.looked_at(2.0) is young


def test_sums_take_the_larger_exponent():
    """Cotangents of different exponents are added exactly, also where one is zero; of the same, without a product."""
    a, b = (
        Scaled(jnp.array([[1.0], [1.0]]), jnp.array([-40, 3])),
        Scaled(jnp.array([[0.5], [2.0]]), jnp.array([-41, 0])),
    )
    total = a + b
    assert np.asarray(total.exponent).tolist() == [-40, 3]
    assert np.asarray(total.array).ravel().tolist() == [1.25, 1.25]
    zero = Scaled(jnp.zeros((2, 1)), None, 1.0).looked_at(1.0)
    assert np.asarray(zero.exponent).tolist() == [NOTHING, NOTHING]
    far = Scaled(jnp.ones((2, 1)), jnp.array([-400, -400]))
    assert np.asarray((far + zero).array).tolist() == np.asarray((zero + far).array).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_powers_of_two_are_exact_in_two_steps(dtype):
    """A factor that is no number of the type itself still takes its smallest normal number to its middle."""
    info = jnp.finfo(dtype)
    tiny = jnp.full((1, 2), info.smallest_normal, dtype)
    risen = times(tiny, jnp.array([info.maxexp - 1 - info.minexp]))
    assert (np.asarray(risen, np.float64) == 2.0 ** (info.maxexp - 1)).all()
    assert room(jnp.dtype(dtype)) == {"float16": 4}.get(dtype, 32)


def test_maps_get_one_exponent_for_all():
    """The largest; on the host scores are double where an exponent needs it, and untouched where none does."""
    maps, common = alike(jnp.array([[2.0, 4.0], [8.0, 0.0]]), jnp.array([-3, -1]))
    assert (np.asarray(maps).tolist(), int(common)) == ([[0.5, 1.0], [8.0, 0.0]], -1)
    scores_, none = np.ones((2, 3), np.float32), np.zeros(2, np.int32)
    assert unscaled(scores_, none) is scores_
    assert unscaled(scores_, np.array([-300, 0]))[:, 0].tolist() == [2.0**-300, 1.0]


@pytest.mark.parametrize("name", list(scores))
def test_every_score_has_a_degree(name):
    """Twice the gradient gives 2**degree times the score."""
    gradient = jnp.asarray(images(1, 5, 3)[0], jnp.float32)
    np.testing.assert_allclose(scores[name](2 * gradient), 2.0 ** degree(name) * scores[name](gradient), rtol=1e-6)
