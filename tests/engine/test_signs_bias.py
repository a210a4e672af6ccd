"""The mean of the sign-averaged estimator against sampled networks, with negative controls, and what it gains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import flax.linen as nn
import jax
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.engine.run import Pullback
from jaxrf.engine.signs import Signs
from jaxrf.equations.program import Equation
from jaxrf.fields.run import Run
from tests.engine.models import images
from tests.engine.random_networks import SHAPE, Net, erf, layer, open_run, overlapping_pools

pytestmark = pytest.mark.usefixtures("quick")


def residual(_, x):
    """A ResNet in small: strided stem, overlapping max-pool, two blocks, the second at half the resolution."""
    x = nn.max_pool(nn.relu(layer(16, strides=2)(x)), (3, 3), (2, 2), "SAME")
    x = nn.relu(x + layer(16)(nn.relu(layer(16)(x))))
    skip = nn.Conv(16, (1, 1), 2, use_bias=False)(x)
    return nn.relu(skip + layer(16)(nn.relu(layer(16, strides=2)(x))))


def normed(_, x):
    """Convolutions with a norm over two groups of channels and all positions."""
    for _ in range(3):
        x = nn.relu(nn.GroupNorm(2)(layer(16)(x)))
    return layer(16)(x)


def gated(_, x):
    """Residual blocks with squeeze-and-excitation."""
    x = layer(16)(x)
    for _ in range(2):
        y = layer(16)(nn.relu(layer(16)(x)))
        gate = nn.relu(nn.Dense(4)(y.mean((1, 2), keepdims=True)))
        x = nn.relu(x + y * nn.sigmoid(nn.Dense(16)(gate)))
    return x


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
    "group norm": Case(Net(normed)),
    "squeeze-and-excitation": Case(Net(gated)),
}
SLOW = ("dilated", "tanh", "residual", "transposed", "nearest", "bilinear", "group norm", "squeeze-and-excitation")
SEEDS = 128


def run(pull: Pullback, opened: Run, images: np.ndarray) -> np.ndarray:
    """Maps (seed, *spatial), averaged over the images."""
    maps = []
    for seed in range(SEEDS):
        keys = jax.vmap(lambda i, seed=seed: jax.random.fold_in(jax.random.key(seed), i))(np.arange(len(images)))
        found = pull.maps(opened.leaves(seed), images[:, None], keys)
        maps.append(found.maps[:, 0].mean(0, dtype=np.float64))
    return np.array(maps)


def off(case: Case, pulls: Callable[[Run], Pullback]) -> dict[str, tuple[float, float]]:
    """How far an estimator is from sampling the same networks, images and units, relative, with its standard error."""
    opened = open_run(case.model, case.shape, units=jaxrf.grid(3, 3), pool_units=True, crop=False)
    inputs = images(4, *case.shape, dtype=np.float32)
    mine = run(pulls(opened), opened, inputs)
    theirs = run(replace(opened.prepared.pullback, signs=None), opened, inputs)
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


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CASES]
)
def test_the_mean_is_that_of_sampled_networks(name):
    """Paired on the same networks, images and units, total and sigma are off by no more than the case allows."""
    case = CASES[name]
    found = off(case, lambda opened: opened.prepared.pullback)
    for measure, allowed, error in (("total", case.total, 0.04), ("sigma", case.sigma, 0.01)):
        bias, stderr = found[measure]
        assert stderr < error, (measure, bias, stderr)
        assert abs(bias) < allowed + 3 * stderr, (measure, bias, stderr)


def averaging(opened: Run, equations: Sequence[Equation]) -> Pullback:
    """The pull-back with others averaged than those that should be."""
    signs: Signs = opened.prepared.pullback.signs
    others = replace(
        signs, averaged={e: n for n, e in enumerate(equations)}, in_squares=frozenset(), gathering=frozenset()
    )
    return replace(opened.prepared.pullback, signs=others)


@pytest.mark.slow
def test_squaring_every_equation_fails():
    """The negative control: squaring the two terms of SiLU's slope one by one is far off, by the same comparison."""
    silu = replace(TANH, model=zoo.conv_stack(depth=3, width=16, activation="silu"))

    def everything(opened: Run) -> Pullback:
        linear = opened.prepared.pullback.program.linear
        return averaging(opened, [e for e in linear if e.primitive in ("conv_general_dilated", "mul")])

    bias, stderr = off(silu, everything)["total"]
    assert abs(bias) > 4 * silu.total + 3 * stderr, (bias, stderr)


@pytest.mark.slow
def test_the_exception_is_needed():
    """Averaged between overlapping pools as well, a network is off by more than half; what is kept there is one layer."""
    assert len(open_run(POOLS.model, POOLS.shape).prepared.facts["estimator"]["kept"]) == 1

    def all_weights(opened: Run) -> Pullback:
        return averaging(opened, [w.equation for w in opened.prepared.pullback.signs.weights])

    bias, stderr = off(POOLS, all_weights)["total"]
    assert bias < np.log(0.5) - 3 * stderr, (bias, stderr)


def test_fewer_networks_are_needed():
    """On a wide stack the relative error of the mean map is less than half of that of as many sampled networks."""
    model = zoo.conv_stack(depth=3, width=16)
    errors = []
    for estimator in ("sign_averaged", "sampled"):
        found = erf(model, estimator=estimator, seeds=40)
        errors.append(np.sqrt(np.square(found.stderr).sum() / np.square(found.mean).sum()))
    assert errors[0] < errors[1] / 2
