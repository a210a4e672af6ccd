"""Units averaged in unit-centered coordinates inside the program."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.engine import plan as planning
from jaxrf.engine.pool import make_pool
from jaxrf.errors import InputError


@pytest.mark.parametrize(
    "model, shape, units_per_batch",
    [
        (zoo.conv_stack(depth=3, width=8), (20, 17, 3), 3),
        pytest.param(zoo.unet(depth=2, width=4), (24, 20, 1), 20, marks=pytest.mark.slow),
    ],
    ids=["stack", "phases"],
)
def test_pooling_is_the_mean_of_shifted_maps(model, shape, units_per_batch, monkeypatch):
    """The pooled map is what one gets by laying the single maps over each other at their centers.

    In batches of three the last of 20 units stands twice in the last batch, and counts once.
    """
    monkeypatch.setitem(planning.UNITS, "cpu", (units_per_batch, units_per_batch))
    given = {"inputs": jaxrf.noise(2), "input_shape": shape, "units": jaxrf.grid(5, 4)}
    single, pooled = jaxrf.erf(model, **given), jaxrf.erf(model, pool_units=True, **given)
    middle = np.floor(single.center).astype(int)
    want = np.zeros(pooled.mean.shape[1:])
    frame = pooled.origin[0] - np.floor(pooled.center[0]).astype(int)
    for one, origin, center in zip(single.mean, single.origin, middle, strict=True):
        at = origin - center - frame
        want[tuple(slice(a, a + n) for a, n in zip(at, one.shape, strict=True))] += one
    np.testing.assert_allclose(pooled.mean[0], want / 20, rtol=0, atol=1e-6 * want.max())
    assert pooled.mean.shape[0] == len(pooled.units) == 1


def test_images_that_see_each_other_are_pooled_apart():
    """With batch statistics each image has a mean over its own units; the share on it is that of the single maps."""

    def normed(x):
        y = x - x.mean((0, 1))
        y = y * jax.lax.rsqrt((y * y).mean((0, 1)) + 1e-3)
        return y[:, 1:] * jnp.tanh(y[:, :-1])

    images = np.random.default_rng(3).normal(size=(3, 7, 2)).astype(np.float32)
    given = {"variables": None, "inputs": images, "units": "all", "channels": "sum"}
    single, pooled = jaxrf.erf(normed, **given), jaxrf.erf(normed, pool_units=True, **given)
    middle = np.floor(single.center).astype(int)[:, 0]
    frame = pooled.origin[0, 0] - int(np.floor(pooled.center[0, 0]))
    want = np.zeros(pooled.mean.shape[1:])
    for one, origin, center in zip(single.mean, single.origin[:, 0], middle, strict=True):
        at = origin - center - frame
        want[at : at + len(one)] += one / len(middle)
    np.testing.assert_allclose(pooled.mean[0], want, rtol=1e-4, atol=1e-6 * want.max())
    assert pooled.count == single.count == 3
    shares = [r.provenance["share_on_own_image"] for r in (single, pooled)]
    assert 0.1 < shares[0] < 1 and abs(shares[0] - shares[1]) < 1e-5


def test_units_without_a_field_are_refused():
    """Where no unit has a path to the input there is no map; beside one that has, theirs is zero."""

    def padded(x):
        return jnp.pad(x, ((0, 0), (4, 0), (0, 0)))

    images = np.ones((1, 9, 2), np.float32)
    for units, found in (([[2]], r"Unit \(2,\) of layer 'output' has"), ([[0], [3]], "All 2 units asked for have")):
        with pytest.raises(InputError, match=f"{found} an empty field"):
            jaxrf.erf(padded, None, images, units=units, pool_units=True)
    mixed = jaxrf.erf(padded, None, images, units=[[1], [7]], channels="sum")
    assert mixed.mean.sum(1).tolist() == [0, 2] and mixed.dead == 1


def causal(x):
    """Softmax attention to what came before, by distance alone; queries are zero."""
    n = x.shape[1]
    away = np.arange(n)[:, None] - np.arange(n)
    bias = np.where(away >= 0, -0.7 * away, -60.0).astype(np.float32)
    scores = jnp.einsum("bnc,bmc->bnm", 0 * x, x) + jnp.asarray(bias)
    return jnp.einsum("bnm,bmc->bnc", jax.nn.softmax(scores), x)


@pytest.mark.slow
def test_maps_on_the_whole_input_are_pooled_by_distance():
    """Where every unit sees all, maps are laid over each other by the units' places; outside the input they are zero."""
    n = 9
    result = jaxrf.erf(causal, None, jnp.ones((1, n, 1)), units="all", pool_units=True, channels="sum", score="abs")
    weights = np.tril(np.exp(-0.7 * (np.arange(n)[:, None] - np.arange(n))))
    rows = weights / weights.sum(1, keepdims=True)
    want = [np.mean([rows[u, u - d] if u >= d else 0.0 for u in range(n)]) for d in range(n)]
    at = int(result.center[0, 0] - result.origin[0, 0])
    assert result.mean.shape == (1, 2 * n - 1) and at == n - 1
    np.testing.assert_allclose(result.mean[0, at::-1], want, rtol=1e-5, atol=1e-7)


def test_units_without_a_center_are_not_pooled():
    """A sum over all positions has no place, and the error says what to do."""
    with pytest.raises(InputError, match=r"pool_units lays maps.*center of unit \(0,\).*Choose units or a layer that"):
        jaxrf.erf(lambda x: jnp.sort(x, 1), None, jnp.ones((1, 5, 1)), units="all", pool_units=True)


def test_the_frame_is_the_smallest_that_holds_all_maps():
    """Maps of 4 positions whose centers lie at 1 and at 2 need 5."""
    pool = make_pool(np.array([[0], [0]]), np.array([[1.0], [2.5]]), (4,))
    assert pool.shape == (5,)
    assert pool.shifts.ravel().tolist() == [1, 0]
    assert pool.middle.tolist() == [2]
