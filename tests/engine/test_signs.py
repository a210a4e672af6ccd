"""The sign-averaged estimator: its law, its mean against sampled networks, what it keeps ordinary and what it refuses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.engine.pull import Shared, pull_back
from jaxrf.engine.run import Pullback
from jaxrf.engine.signs import Signs, fresh_signs, make_signs, power
from jaxrf.engine.symmetry import check_symmetric, excess_of_mean
from jaxrf.engine.windows import windows
from jaxrf.errors import InputError, UnknownNameError
from jaxrf.interpret.weights import random_weights
from jaxrf.job import Job
from jaxrf.prepare import open_job
from jaxrf.programs import traced
from jaxrf.request import Request
from jaxrf.tangent.program import Equation
from tests.engine.models import average_pool, conv, images, max_pool, weights

pytestmark = pytest.mark.usefixtures("quick")
SHAPE = (13, 15, 3)
STACK = zoo.conv_stack(depth=3, width=8)


def erf(model=STACK, shape=SHAPE, estimator="sign_averaged", **options):
    return jaxrf.erf(model, input_shape=shape, estimator=estimator, **{"inputs": jaxrf.noise(1), **options})


def job(model=STACK, shape=SHAPE, init=None, **options) -> Job:
    request = Request(estimator="sign_averaged", **options)
    return open_job(model, None, jaxrf.noise(1), request=request, call={}, input_shape=shape, init=init)[0]


class Net(nn.Module):
    """A function of the module and the image, `body(self, x)`, as a module."""

    body: Callable[[nn.Module, jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x):
        return self.body(self, x)


def layer(width: int = 8, **options: Any) -> nn.Conv:
    return nn.Conv(width, (3, 3), use_bias=False, **options)


# The law of one equation.

PRODUCTS = {
    "strided": (lambda w, x: conv(x, w, 2), (1, 5, 2), (3, 2, 2)),
    "grouped and dilated": (lambda w, x: conv(x, w, groups=2, rhs_dilation=(2,)), (1, 6, 4), (3, 2, 2)),
    "transposed": (lambda w, x: conv(x, w, padding=[(1, 2)], lhs_dilation=(2,)), (1, 4, 2), (2, 2, 3)),
    "dense": (lambda w, x: x @ w, (1, 4, 3), (3, 4)),
    "dense from the left": (lambda w, x: jnp.einsum("ck,byk->cby", w, x), (1, 4, 3), (4, 3)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_power_is_the_mean_square_over_all_signs(name, double):
    """Over all 2^12 choices of the signs of a weight the squared pull-back averages to `power`."""
    f, shape, size = PRODUCTS[name]
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=size), rng.normal(size=shape)
    program = traced(adapt(f, shape[1:], variables=w, dtype=np.float64, spatial_axes=(1,)))
    target = program.layers["output"].tangent
    ct = rng.normal(size=target.shape)
    plan = windows(program, target, program.input, {}, whole=True)
    (product,) = random_weights(program, [step.equation for step in plan.steps])
    shared = Shared(
        {product.coefficient: program.evaluate([product.coefficient], {program.arguments[0]: w})[0]}, plan.starts
    )
    found = pull_back(plan, shared, plan.starts.table(1), ct[None], {product.equation: power}).array[0]
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=w.size))).reshape(-1, *w.shape)
    pulled = jax.jit(jax.vmap(lambda s: jax.vjp(lambda x: f(s * w, x), x)[1](ct)[0]))(signs)
    np.testing.assert_allclose(found, np.square(pulled).mean(0), rtol=1e-12)


def test_signs_are_fair_and_belong_to_unit_and_equation():
    """Another batch of units draws the same signs for a unit; other units, equations and samples draw others."""
    root = jax.random.key(5)
    drawn = fresh_signs(root, jnp.array([3, 7]), 2, (9, 11, 5))
    assert drawn.shape == (2, 9, 11, 5) and drawn.dtype == bool
    np.testing.assert_array_equal(fresh_signs(root, jnp.array([7]), 2, (9, 11, 5))[0], drawn[1])
    others = [drawn[1], fresh_signs(root, jnp.array([3]), 4, (9, 11, 5))[0]]
    others.append(fresh_signs(jax.random.key(6), jnp.array([3]), 2, (9, 11, 5))[0])
    for other in others:
        assert abs(np.mean(drawn[0] == other) - 0.5) < 4 * 0.5 / np.sqrt(9 * 11 * 5)
    assert abs(np.mean(drawn) - 0.5) < 4 * 0.5 / np.sqrt(2 * 9 * 11 * 5)
    assert fresh_signs(root, jnp.array([3]), 2, (0, 4)).shape == (1, 0, 4)


def test_batching_changes_nothing():
    """Units one by one and five at a time have the same bits, image by image."""
    prepared = job(units=np.array([[4, 4], [5, 8], [6, 6], [7, 5], [8, 9]]))
    image = images(2, *SHAPE, dtype=np.float32)[:, None]
    keys = jax.random.split(jax.random.key(0), 2)

    def maps(pull: Pullback):
        return np.concatenate([part.maps for part in pull.maps(prepared.leaves(0), image, keys)], axis=1)

    together, single = (maps(replace(prepared.pullback, per_batch=n, batches_per_call=1)) for n in (5, 1))
    np.testing.assert_array_equal(together, single)
    assert (together.sum((-1, -2)) > 0).all()


# The mean, against networks that are drawn and pulled back as they are.


def overlapping_pools(_, x):
    x = nn.relu(layer()(x))
    x = nn.avg_pool(x, (3, 3), (1, 1), "SAME")
    x = nn.relu(layer()(x))
    return layer()(nn.avg_pool(x, (3, 3), (1, 1), "SAME"))


def residual(_, x):
    """A ResNet in small: strided stem, overlapping max-pool, two blocks, the second at half the resolution."""
    x = nn.max_pool(nn.relu(layer(16, strides=2)(x)), (3, 3), (2, 2), "SAME")
    x = nn.relu(x + layer(16)(nn.relu(layer(16)(x))))
    skip = nn.Conv(16, (1, 1), 2, use_bias=False)(x)
    return nn.relu(skip + layer(16)(nn.relu(layer(16, strides=2)(x))))


@dataclass(frozen=True)
class Case:
    """A network, and how far the estimator may be off: relative, in total and in sigma."""

    model: nn.Module
    shape: tuple[int, ...] = SHAPE
    total: float = 0.05
    sigma: float = 0.01


TANH = Case(zoo.conv_stack(depth=3, width=16, activation="tanh"))
POOLS = Case(
    Net(overlapping_pools), total=0.15
)  # a mask below a pool depends on weights that the pool's positions share
CASES = {
    "relu": Case(zoo.conv_stack(depth=3, width=16), total=0.02, sigma=0.005),
    "tanh": TANH,
    "dilated": Case(zoo.conv_stack(depth=3, width=16, dilation=(1, 2, 3)), (19, 21, 3), total=0.02, sigma=0.005),
    "residual": Case(Net(residual), (32, 40, 3)),
    "overlapping pools": POOLS,
    "transposed": Case(zoo.unet(depth=1, width=8), (12, 16, 2)),
    "nearest": Case(zoo.unet(depth=1, width=8, up="nearest"), (12, 16, 2)),
    "bilinear": Case(zoo.unet(depth=1, width=8, up="bilinear"), (12, 16, 2)),
}
SEEDS = 128


def run(pull: Pullback, prepared: Job, images: np.ndarray) -> np.ndarray:
    """Maps (seed, *spatial), averaged over the images."""
    maps = []
    for seed in range(SEEDS):
        keys = jax.vmap(lambda i, seed=seed: jax.random.fold_in(jax.random.key(seed), i))(np.arange(len(images)))
        (part,) = pull.maps(prepared.leaves(seed), images[:, None], keys)
        maps.append(part.maps[:, 0].mean(0, dtype=np.float64))
    return np.array(maps)


def off(case: Case, pulls: Callable[[Job], Pullback]) -> dict[str, tuple[float, float]]:
    """How far an estimator is from sampling the same networks, images and units, relative, with its standard error."""
    prepared = job(case.model, case.shape, units=jaxrf.grid(3, 3), pool_units=True, crop=False)
    inputs = images(4, *case.shape, dtype=np.float32)
    mine = run(pulls(prepared), prepared, inputs)
    theirs = run(replace(prepared.pullback, signs=None), prepared, inputs)
    return {"total": jackknife(mine, theirs, total), "sigma": jackknife(mine, theirs, sigma)}


def total(map_: np.ndarray) -> float:
    return float(map_.sum())


def sigma(map_: np.ndarray) -> float:
    """Geometric mean of the widths along both axes."""
    widths = []
    for axis in (0, 1):
        profile = map_.sum(1 - axis) / map_.sum()
        at = np.arange(len(profile))
        widths.append((profile * np.square(at - (profile * at).sum())).sum())
    return float(np.prod(widths) ** 0.25)


def jackknife(mine: np.ndarray, theirs: np.ndarray, measure: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """Logarithm of the ratio of a measure of mean maps, and its standard error, the same seeds left out of both."""
    n, sums = len(mine), (mine.sum(0), theirs.sum(0))
    left_out = [np.log(measure(sums[0] - a) / measure(sums[1] - b)) for a, b in zip(mine, theirs)]
    return float(np.log(measure(sums[0]) / measure(sums[1]))), float(np.std(left_out) * np.sqrt(n - 1))


@pytest.mark.parametrize("name", CASES)
def test_the_mean_is_that_of_sampled_networks(name):
    """Paired on the same networks, images and units, total and sigma are off by no more than the case allows."""
    case = CASES[name]
    found = off(case, lambda prepared: prepared.pullback)
    for measure, allowed, error in (("total", case.total, 0.04), ("sigma", case.sigma, 0.01)):
        bias, stderr = found[measure]
        assert stderr < error, (measure, bias, stderr)
        assert abs(bias) < allowed + 3 * stderr, (measure, bias, stderr)


def averaging(prepared: Job, equations: Sequence[Equation]) -> Pullback:
    """The pull-back with others averaged than those that should be."""
    signs: Signs = prepared.pullback.signs
    return replace(prepared.pullback, signs=replace(signs, averaged={e: n for n, e in enumerate(equations)}))


def test_squaring_every_equation_fails():
    """The negative control: squaring the two terms of SiLU's slope one by one is far off, by the same comparison."""
    silu = replace(TANH, model=zoo.conv_stack(depth=3, width=16, activation="silu"))

    def everything(prepared: Job) -> Pullback:
        linear = prepared.pullback.program.linear
        return averaging(prepared, [e for e in linear if e.primitive in ("conv_general_dilated", "mul")])

    bias, stderr = off(silu, everything)["total"]
    assert abs(bias) > 4 * silu.total + 3 * stderr, (bias, stderr)


def test_the_exception_is_needed():
    """Averaged between overlapping pools as well, a network is off by more than half; what is kept there is one layer."""
    assert len(job(POOLS.model, POOLS.shape).description["estimator"]["kept"]) == 1
    bias, stderr = off(POOLS, lambda p: averaging(p, [w.equation for w in p.pullback.signs.weights]))["total"]
    assert bias < np.log(0.5) - 3 * stderr, (bias, stderr)


def test_fewer_networks_are_needed():
    """On a wide stack the relative error of the mean map is less than half of that of as many sampled networks."""
    model = zoo.conv_stack(depth=3, width=16)
    errors = []
    for estimator in ("sign_averaged", "sampled"):
        found = erf(model, estimator=estimator, seeds=32)
        errors.append(np.sqrt(np.square(found.stderr).sum() / np.square(found.mean).sum()))
    assert errors[0] < errors[1] / 2


# Which products are averaged.


def kept(f) -> list[str]:
    """Layers of `f(weights, x)`, three convolutions, whose products stay ordinary."""
    program = traced(adapt(f, (12, 14, 2), variables=weights(W, W, W, dtype=np.float32)))
    plan = windows(program, program.layers["output"].tangent, program.input, {1: np.array([2]), 2: np.array([1])})
    signs = make_signs(program, plan, (1, 2), "probe")
    assert len(signs.averaged) + len(signs.record()["kept"]) == 3
    return signs.record()["kept"]


W = (3, 3, 2, 2)


def three(middle, first=lambda x: x, last=lambda x: x):
    """Tapped convolutions a, b, c, with something after a (`first`), after b (`middle`), and after c (`last`)."""

    def f(w, x):
        x = first(jaxrf.tap(conv(x, w[0]), "a"))
        x = middle(jaxrf.tap(conv(x, w[1]), "b"))
        return last(jaxrf.tap(conv(x, w[2]), "c"))

    return f


def bilinear(x):
    return jax.image.resize(x, (x.shape[0], 2 * x.shape[1], 2 * x.shape[2], x.shape[3]), "bilinear")


def nearest(x):
    return jax.image.resize(x, (x.shape[0], 2 * x.shape[1], 2 * x.shape[2], x.shape[3]), "nearest")


def pooled(x):
    return average_pool(x, 2, 2)


def gated(x):
    return x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True))


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (three(pooled), []),  # it spreads, and nothing gathers below
        (three(bilinear), []),
        (three(pooled, first=max_pool), ["b"]),  # between a pool above and an overlapping maximum below
        (three(pooled, first=lambda x: max_pool(x, 2, 2)), []),  # maxima that do not overlap gather nothing
        (three(lambda x: x, first=max_pool, last=pooled), ["c", "b"]),
        (three(max_pool, last=pooled), ["c"]),
        (three(max_pool, first=pooled), []),  # the wrong way round
        (three(bilinear, first=bilinear), ["b"]),
        (three(bilinear, first=nearest), ["b"]),
        (three(nearest, first=nearest), []),  # it gathers, and nothing above spreads
        (three(gated, first=max_pool), []),  # a gate's pooled statistic joins a main path: its part is small
        (three(lambda x: x - x.mean((1, 2), keepdims=True), first=max_pool), []),
        (three(lambda x: jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape), first=max_pool), ["b"]),
    ],
)
def test_products_between_spreading_and_gathering_stay_ordinary(f, expected):
    """Only those with an equation above that spreads over positions, and one below that adds positions up."""
    assert kept(f) == expected


def test_the_record_says_what_was_averaged():
    """Layers, what was kept, and what keeps it from being exact; nothing does for a ReLU stack without biases."""
    assert erf(seeds=1).provenance["estimator"] == {
        "name": "sign_averaged", "averaged": 3, "kept": [], "exact": True, "notes": [],
    }  # fmt: skip
    rough = job(zoo.unet(depth=1, width=2), (4, 6, 2)).description["estimator"]
    assert not rough["exact"]
    assert {note.split()[1] for note in rough["notes"]} == {"winners", "hold", "that"}
    pools = job(POOLS.model).description["estimator"]
    assert len(pools["notes"]) == 1 and "behind what spreads" in pools["notes"][0]
    gates = job(Net(lambda _, x: nn.silu(layer()(x)))).description["estimator"]
    assert any("slopes" in note for note in gates["notes"])
    assert "estimator" not in erf(seeds=1, estimator="sampled").provenance


def test_layers_in_a_scan_have_weights_of_their_own():
    """A scan over layers slices one parameter; each slice is used once."""

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.relu(layer(3)(x)), None

    def body(_, x):
        return nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()(x, None)[0]

    assert len(job(Net(body)).pullback.signs.averaged) == 3


def test_orders_casts_and_scales_of_a_parameter_are_weights():
    """A kernel that is transposed, reshaped, cast and scaled by a constant mask is still random and used once."""

    def body(module, x):
        w = module.param("w", nn.initializers.normal(), (18, 4), jnp.float32)
        w = (-w.T.reshape(4, 3, 3, 2)[:, ::-1]).transpose(1, 2, 3, 0).astype(jnp.float16).astype(jnp.float32)
        return conv(x, w * np.arange(36.0, dtype=np.float32).reshape(3, 3, 1, 4) / 7)

    (weight,) = job(Net(body), (5, 7, 2)).pullback.signs.weights
    assert (weight.inputs, weight.places) == ((2, 0, 1), (0, 1))
    assert sorted(weight.elements().ravel().tolist()) == list(range(72))


# Refusals.


def shared(_, x):
    twice = layer(3)
    return twice(nn.relu(twice(x)))


def in_a_scan(_, x):
    class Step(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.relu(layer(3)(x)), None

    return nn.scan(Step, variable_broadcast="params", split_rngs={"params": False}, length=2)()(x, None)[0]


def standardized(module, x):
    w = module.param("w", nn.initializers.normal(), (3, 3, 3, 4))
    return conv(x, w - w.mean((0, 1, 2)))


def tied(module, x):
    w = module.param("w", nn.initializers.normal(), (3, 3))
    return (x @ w) * w[0]


def repeated(module, x):
    w = module.param("w", nn.initializers.normal(), (3, 4))
    return conv(x, jnp.broadcast_to(w, (3, 3, 3, 4)))


def attention(_, x):
    x = x.reshape(x.shape[0], -1, x.shape[-1])
    return nn.softmax(x @ x.swapaxes(1, 2)) @ x


def complex_weights(module, x):
    w = module.param("w", lambda key, shape: jax.random.normal(key, shape, jnp.complex64), (3, 4))
    return jnp.abs(x @ w)


MODELS = {
    "used more than once, as weights that are shared": shared,
    "constant in a scan": in_a_scan,
    "beyond its order, cast and scale": standardized,
    "also by mul": tied,
    "used more than once": repeated,
    "as attention does": attention,
    "is complex": complex_weights,
    "no random weight lies between": lambda _, x: nn.relu(x),
}


@pytest.mark.parametrize("words", MODELS)
def test_a_model_that_cannot_be_averaged_is_refused(words):
    """Before anything is computed, with the reason."""
    with pytest.raises(InputError, match=words):
        job(Net(MODELS[words]), (6, 8, 3), units=np.zeros((1, 1 if "attention" in words else 2), int))


INITIALIZERS = {
    "constant": jax.nn.initializers.constant(0.1),
    "positive": jax.nn.initializers.uniform(0.1),
    "shifted": lambda key, shape, dtype: 0.1 * jax.random.normal(key, shape, dtype) + 0.02,
    "mean at one position": lambda key, shape, dtype: (
        (0.1 * jax.random.normal(key, shape, dtype)).at[0, 0].add(0.1).at[2, 2].add(-0.1)
    ),
    "the same in each draw": lambda key, shape, dtype: jax.random.normal(jax.random.key(0), shape, dtype),
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_weights_with_a_mean_are_refused(name):
    """Constant, positive and shifted kernels, those with a mean at some positions, and those that are not random."""
    with pytest.raises(
        InputError, match=r"weights of layer 'conv_1' do not have zero mean: .* at most 0.05 is allowed"
    ):
        erf(init={"*/conv_1/kernel": INITIALIZERS[name]}, seeds=1)


@pytest.mark.parametrize("name", ["orthogonal", "lecun_normal", "he_uniform", "center_lowered"])
def test_weights_of_zero_mean_are_accepted(name):
    """The usual initializers pass, whatever their law."""
    prepared = job(init={"*/kernel": name})
    check_symmetric(prepared.pullback.program, prepared.pullback.signs.weights, prepared.leaves)


def test_weights_of_zero_are_accepted():
    """A layer that starts at zero is its own average, and dead."""
    with pytest.warns(UserWarning, match="2 of 2 maps are zero everywhere"):
        assert erf(init={"*/conv_2/kernel": jax.nn.initializers.zeros}, seeds=2).dead == 2


def test_small_layers_are_not_refused_by_chance():
    """Means of a few normal weights are of chance: none of 2000 small weights is refused; one of mean 2 sigma is."""
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2000, 8, 3, 3, 2, 1))
    for one in draws:
        assert excess_of_mean(one.mean(0), float(np.square(one).mean()), (2, 0, 1), (0, 1)) == 0
    moved = draws[0] + 2
    found = excess_of_mean(moved.mean(0), float(np.square(moved).mean()), (2, 0, 1), (0, 1))
    assert found == pytest.approx(18 * 4, rel=0.4)


@pytest.mark.parametrize("score", ["abs", "signed", "relu"])
def test_other_scores_are_refused(score):
    """It gives expected squares."""
    with pytest.raises(InputError, match=f"expected squares, and the score is '{score}'"):
        erf(score=score)


def test_given_weights_are_refused():
    """Trained weights have one sign each."""
    variables = STACK.init(jax.random.key(0), np.zeros((1, *SHAPE), np.float32))
    with pytest.raises(InputError, match="averages over the signs of random weights, and these were given"):
        jaxrf.erf(STACK, variables, jaxrf.noise(1), input_shape=SHAPE, estimator="sign_averaged")


@pytest.mark.parametrize("channels", ["sum", "relu_sum"])
def test_a_sum_over_channels_needs_a_random_weight_next(channels):
    """After a ReLU it is fine; through a LayerNorm, or on a skip to the input, all channels would keep one sign."""
    assert len(job(Net(lambda _, x: nn.relu(layer()(x))), channels=channels).pullback.signs.averaged) == 1
    with pytest.raises(InputError, match=f"channels='{channels}' pulls the sum .* in layer 'LayerNorm_0'"):
        job(Net(lambda _, x: nn.LayerNorm()(layer()(x))), channels=channels)
    with pytest.raises(InputError, match=f"channels='{channels}' reaches what it is pulled back to"):
        job(Net(lambda _, x: x + layer(3)(x)), channels=channels)


def test_unknown_estimators_are_named():
    """With the nearest known one."""
    with pytest.raises(UnknownNameError, match="Unknown estimator 'sign_average'.*Did you mean 'sign_averaged'"):
        erf(estimator="sign_average")


def test_check_compares_gradients_only():
    """The oracle knows no expectations."""
    with pytest.raises(InputError, match="a sign-averaged map is an expectation"):
        jaxrf.check(STACK, None, jaxrf.noise(1), input_shape=SHAPE, estimator="sign_averaged")
