"""Cotangents beyond single precision: exponents of two beside them, exact, and nothing changed where none is needed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.engine.pull import pull_back
from jaxrf.engine.range import NOTHING, Scaled, alike, patience, times, unscaled
from jaxrf.engine.scales import Scales, exponent_of, greatest, largest_exponents, room
from jaxrf.engine.scores import degree, scores
from jaxrf.engine.view import Shared
from jaxrf.engine.windows import windows
from jaxrf.equations.program import Literal
from jaxrf.errors import InputError
from jaxrf.planning.programs import traced
from tests.engine.models import LAYOUTS, RESIDUAL, images, residual, weights

pytestmark = pytest.mark.usefixtures("quick")


def shrinking(factor: float, layers: int):
    """`f(w, x)`: one-dimensional convolutions of three taps, each followed by a factor that single precision holds."""

    def f(w, x):
        for kernel in w:
            x = jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=LAYOUTS[1]) * factor
        return x

    return f, weights(*[(3, 2, 2)] * layers, dtype=np.float32)


@pytest.mark.parametrize("factor", [2.0**-8, pytest.param(2.0**8, marks=pytest.mark.slow)])
def test_gradients_far_beyond_the_range_are_exact(factor):
    """Twenty-four layers that each shrink or grow the gradient by 2**8 give, to rounding, the map of those that do not."""
    inputs = images(1, 9, 2, dtype=np.float32)
    (f, w), (g, _) = shrinking(factor, 24), shrinking(1.0, 24)
    found, plain = (jaxrf.erf(one, w, inputs, units=np.array([[4], [6]]), channels=0) for one in (f, g))
    assert found.dead == found.nonfinite == 0
    np.testing.assert_allclose(found.mean / factor**48, plain.mean, rtol=1e-4)


@pytest.mark.slow
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


@pytest.mark.slow
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
    found = Scaled(jnp.asarray(rows), None, 60.0).looked_at(patience(np.dtype(np.float32)), 32)
    array, exponent = np.asarray(found.array), np.asarray(found.exponent)
    assert (exponent != 0).tolist() == [True, True, False, True, False, False]
    assert ((np.abs(array[:2]).max(axis=1) >= 0.5) & (np.abs(array[:2]).max(axis=1) < 1)).all()
    np.testing.assert_array_equal(np.ldexp(array[:2].astype(np.float64), exponent[:2, None]), rows[:2])
    np.testing.assert_array_equal(array[2:], rows[2:])
    young = Scaled(jnp.asarray(rows), None, 1.0)
    assert young.looked_at(2.0, 32) is young


def test_a_look_at_the_ends_of_the_range():
    """Beyond the powers of two that have an inverse, units come near to one, and are what they were, exactly."""
    rows = np.array([[2.0**-126, 2.0**-130], [-(2.0**127), 3.0]])
    found = Scaled(jnp.asarray(rows, jnp.float32), None, 60.0).looked_at(patience(np.dtype(np.float32)), 32)
    array, exponent = np.asarray(found.array, np.float64), np.asarray(found.exponent)
    assert exponent.tolist() == [-125, 126] and np.abs(array).max(axis=1).tolist() == [0.5, 2.0]
    np.testing.assert_array_equal(np.ldexp(array, exponent[:, None])[:, 0], rows[:, 0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, jnp.bfloat16])
def test_exponents_of_powers_of_two(dtype):
    """Read off their bits, also where a division on an accelerator left them a bit away."""
    most = greatest(dtype)
    exponents = np.array([-most, -3, 0, 1, most])
    powers = np.ldexp(1.0, exponents).astype(dtype)
    for near in (powers, np.nextafter(powers, dtype(0)), np.nextafter(powers, dtype(np.inf))):
        np.testing.assert_array_equal(exponent_of(jnp.asarray(near)), exponents)


def test_sums_take_the_larger_exponent():
    """Cotangents of different exponents are added exactly, also where one is zero; of the same, without a product."""
    a, b = (
        Scaled(jnp.array([[1.0], [1.0]]), jnp.array([-40, 3])),
        Scaled(jnp.array([[0.5], [2.0]]), jnp.array([-41, 0])),
    )
    found = Scales(lambda operand: jnp.asarray(operand.value))
    total = a.met(b, found)
    assert np.asarray(total.exponent).tolist() == [-40, 3]
    assert np.asarray(total.array).ravel().tolist() == [1.25, 1.25]
    zero = Scaled(jnp.zeros((2, 1)), None, 1.0).looked_at(1.0, 32)
    assert np.asarray(zero.exponent).tolist() == [NOTHING, NOTHING]
    far = Scaled(jnp.ones((2, 1)), jnp.array([-400, -400]))
    sums = far.met(zero, found), zero.met(far, found)
    assert [np.asarray(one.array).tolist() for one in sums] == [[[1.0], [1.0]]] * 2


@pytest.mark.parametrize("grown", [-90, -3, 0, 5, 90])
def test_cotangents_that_lost_different_scales(grown):
    """Their sum is that of their true values, whichever is larger, also once what they lost meets again."""
    weights = [Literal(np.float32([0.75, -0.5]) * np.float32(2.0**n)) for n in (grown, 20)]
    found = Scales(lambda operand: jnp.asarray(operand.value))
    exponents = [int(found.exponent((((w, 1.0), 1),))) for w in weights]
    assert exponents == [0 if abs(grown) <= 4 else grown, 20]
    assert float(found.factor((weights[0], 1.0))) == 2.0 ** -exponents[0]
    one, other = jnp.float32([[3.0], [0.0]]), jnp.float32([[5.0], [1.0]])
    lost = [Scaled(one, None, 0.0, (((weights[0], 1.0), 1),)), Scaled(other, None, 0.0, (((weights[1], 1.0), -1),))]
    total = lost[0].met(lost[1], found).met(Scaled(one), found).complete(found)
    wide = [np.asarray(a, np.float64) for a in (one, other)]
    true = wide[0] * 2.0 ** exponents[0] + wide[1] * 2.0 ** -exponents[1] + wide[0]
    np.testing.assert_allclose(
        np.ldexp(np.asarray(total.array, np.float64), total.exponents()[:, None]), true, rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_exponents_of_the_largest_magnitude(dtype):
    """Those of `frexp`, of one array and of many of a size; none of zeros, of NaN and of infinities."""
    draw = np.random.default_rng(0)
    shapes = [(1,), (7,), (3, 5), (15,), (2, 2, 4), *[(5, 3)] * 9]
    arrays = [draw.normal(size=s) * 2.0 ** draw.integers(-9, 9) for s in shapes]
    arrays = [np.asarray(jnp.asarray(a).astype(dtype)) for a in arrays]
    wide = [np.abs(np.real(a).astype(np.float32)).max() for a in arrays]
    bad = [np.zeros(3, dtype), np.full(4, np.nan, dtype), np.asarray([1, -np.inf], dtype)]
    exponents, plain = largest_exponents([jnp.asarray(a) for a in arrays + bad])
    assert exponents[: len(wide)].tolist() == np.frexp(wide)[1].tolist()
    assert plain.tolist() == [True] * len(wide) + [False] * 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_powers_of_two_are_exact_in_two_steps(dtype):
    """A factor that is not a number of the type itself still takes its smallest normal number to its middle."""
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


def stack(scales, dtype=np.float32, act=lambda x: x):
    """A one-dimensional convolution of three taps for each scale, its weights times that."""
    kernels = weights(*[(3, 2, 2)] * len(scales))

    def f(x):
        for kernel, factor in zip(kernels, scales):
            kernel = jnp.asarray(kernel * factor, dtype)
            x = act(jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=LAYOUTS[1]))
        return x

    return f


STACKS = {
    "small": [1e-12] * 3,
    "tiny": [1e-20] * 5,
    "large": [1e15] * 4,
    "down and up": [1e-20, 1e-20, 1e15, 1e15, 1e10],
    "up and down": [1e15, 1e15, 1e15, 1e-20, 1e-20],
}


@pytest.mark.parametrize("name", STACKS)
def test_weights_of_any_scale(name):
    """The map is that of weights of scale one, times the product of the scales."""
    scales, inputs = STACKS[name], np.ones((1, 11, 2), np.float32)
    given = {"inputs": inputs, "units": [[4], [10]], "channels": 0, "score": "abs"}
    found, plain = jaxrf.erf(stack(scales), None, **given), jaxrf.erf(stack([1.0] * len(scales)), None, **given)
    assert found.dead == found.nonfinite == 0
    np.testing.assert_allclose(found.mean / np.prod(scales), plain.mean, rtol=1e-4, atol=1e-6 * plain.mean.max())


@pytest.mark.parametrize(
    "dtype, scales", [("float16", [1e-3] * 4), ("float16", [200.0] * 3), ("bfloat16", [1e-20] * 4)]
)
def test_halves_have_the_map_of_single_precision(dtype, scales):
    """Up to their rounding, though products of their weights are not numbers of their type."""
    inputs = np.ones((1, 11, 2), np.float32)
    given = {"units": [[4]], "channels": 0}
    found = jaxrf.erf(stack(scales, dtype), None, inputs.astype(dtype), **given)
    plain = jaxrf.erf(stack(scales), None, inputs, **given)
    np.testing.assert_allclose(found.mean, plain.mean, rtol=0, atol=4e-2 * plain.mean.max())


def test_coefficients_of_any_scale():
    """Products with numbers, divisions, matrices and activations of any scale give the map of those of scale one."""

    def model(s):
        a, b = (np.float32(w) for w in weights((2, 2), (2, 2), seed=3))

        def f(x):
            x = (x * np.float32(s)) / np.float32(1 / s) @ (a * np.float32(s))
            gate = jax.nn.sigmoid(x[:, ::-1] / np.float32(s) ** 3)
            return (x * (gate * np.float32(s))) @ (b * np.float32(s))

        return f

    inputs = images(1, 9, 2, dtype=np.float32)
    for s in (1e-7, 1e7):
        found, plain = (jaxrf.erf(model(c), None, inputs, units=[[2]], channels=1, score="abs") for c in (s, 1.0))
        np.testing.assert_allclose(found.mean / s**5, plain.mean, rtol=1e-3, atol=1e-5 * plain.mean.max())


def test_saturated_units_are_not_dead():
    """Derivatives of sigmoids far from zero are tiny, not zero; three of them are below 1e-70 in the map."""

    def f(x):
        for kernel in weights(*[(3, 2, 2)] * 3):
            kernel = jnp.asarray(kernel, x.dtype)
            x = jax.nn.sigmoid(jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=LAYOUTS[1]) - 40)
        return x

    inputs = np.full((1, 7, 2), 0.5, np.float32)
    found = jaxrf.erf(f, None, inputs, units=[[3]], channels=0)
    with jax.enable_x64(True):
        gradient = jax.grad(lambda x: f(x)[0, 3, 0])(inputs.astype(np.float64))
    assert found.dead == 0 and found.mean.max() < 1e-70
    np.testing.assert_allclose(found.mean[0], np.square(gradient[0]).sum(-1), rtol=1e-3)


def test_scores_beyond_double_precision_are_refused():
    """Eight layers of 1e-24 squared are below 1e-308: no map of zeros is given for them."""
    inputs, given = np.ones((1, 9, 2), np.float32), {"units": [[4]], "channels": 0}
    with pytest.raises(InputError, match=r"1 of 1 maps hold scores of about 2\*\*-1.*score=\"abs\""):
        jaxrf.erf(stack([1e-24] * 8), None, inputs, **given)
    assert 0 < jaxrf.erf(stack([1e-24] * 8), None, inputs, score="abs", **given).mean.max() < 1e-180


@pytest.mark.parametrize(
    "scale, poison, cause",
    [(1.0, True, "2 for NaN or infinity in their images"), (1e15, False, "4 for values of the forward pass that are NaN"),
     (1e-20, False, "4 for a forward pass that underflows to zero")],
)  # fmt: skip
def test_a_forward_pass_out_of_range_is_called_that(scale, poison, cause):
    """Masks of a ReLU that are made of NaN, infinity or underflow give no map, and no dead unit."""
    inputs = images(2, 11, 2, dtype=np.float32)
    inputs[1, 4, 0] = np.nan if poison else 1.0
    leaky = lambda x: jnp.where(x > 0, x, 0.5 * x)  # noqa: E731
    with pytest.warns(UserWarning, match=f"hold NaN or infinity; so does the mean. {cause}"):
        found = jaxrf.erf(stack([scale] * 4, act=leaky), None, inputs, units=[[3], [5]], channels="sum")
    assert (found.dead, found.nonfinite) == (0, int(cause[0]))


def test_dead_units_are_dead():
    """Behind a ReLU that is closed, and behind a saturated tanh, the gradient is zero and so are the maps."""
    inputs, given = images(2, 11, 2, dtype=np.float32), {"units": [[3], [5]], "channels": "sum"}
    closed, saturated = (lambda x: jax.nn.relu(stack([1.0])(x) - 100)), stack([1e6, 1.0], act=jnp.tanh)
    for model in (closed, saturated):
        with pytest.warns(UserWarning, match="4 of 4 maps are zero everywhere: their unit is dead"):
            found = jaxrf.erf(model, None, inputs, **given)
        assert (found.dead, found.nonfinite) == (4, 0)
