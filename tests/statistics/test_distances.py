"""Scores by distance: against kernels that are known, and dense Jacobians."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf.errors import InputError, UnknownNameError
from jaxrf.statistics.distances import fits
from tests.interpret.token_models import Deit

FAR = np.abs(np.arange(60)[:, None] - np.arange(60))


def mixing(weights):
    """Attention whose weights are known: each token is mixed of all, by their distance; 1 of itself."""
    others = jnp.asarray(weights - np.eye(60), jnp.float32)
    return lambda x: x + jnp.einsum("ij,bjc->bic", others, x)  # of the skip, a unit has its place


def profile_of(weights, unit=29, **options):
    images = np.ones((1, 60, 2), np.float32)
    return jaxrf.erf(mixing(weights), None, images, units=[(unit,)], score="abs", channels=0).by_distance(**options)


@pytest.mark.parametrize("metric", ["euclidean", "chebyshev", "token"])
def test_the_profile_of_attention_with_a_known_kernel(metric):
    """Mean score at each distance is the kernel, to 1e-6; it falls exponentially, with its length."""
    found = profile_of(np.exp(-FAR / 5.0), metric=metric)
    np.testing.assert_allclose(found.mean.value[0], np.exp(-found.distance / 5), atol=1e-6)
    assert found.length.value == pytest.approx(5, rel=1e-5) and found.advantage.value > 2
    ones = np.exp(-FAR[29] / 5.0)
    assert found.average.value == pytest.approx((ones * FAR[29]).sum() / ones.sum(), rel=1e-5)
    assert found.law == ("undecided",)  # one sample has no interval
    assert "60 tokens" not in repr(found) and "mean distance" in repr(found)


def test_a_power_law_is_told_from_an_exponential():
    """The law is decided by the interval over seeds."""
    rng = np.random.default_rng(0)
    for kernel, law in ((np.exp(-FAR / 8.0), "exponential"), (1.0 / (1 + FAR) ** 1.5, "power law")):

        def net(variables, x, kernel=kernel):
            return mixing(kernel)(x @ variables)

        net.init = lambda key: jax.random.normal(key, (2, 2))
        images = rng.normal(size=(1, 60, 2)).astype(np.float32)
        found = jaxrf.erf(net, None, images, seeds=6, average="normalized").by_distance(first=3)
        assert found.law == (law,)
        assert found.mean.low[0, 3] <= found.mean.value[0, 3] <= found.mean.high[0, 3]
    assert found.exponent.value == pytest.approx(3, abs=0.5)  # squares fall twice as fast


def test_a_causal_model_pooled_equals_the_dense_jacobian():
    """Maps of all units, laid over each other, by distance: against the Jacobian of every token."""
    n, rng = 14, np.random.default_rng(1)
    query, key, value = (rng.normal(size=(3, 3)).astype(np.float32) for _ in range(3))

    def net(x):
        scores = (x @ query) @ (x @ key).swapaxes(1, 2)
        return jax.nn.softmax(jnp.where(np.tri(n, dtype=bool), scores, -1e30)) @ (x @ value)

    x = rng.normal(size=(1, n, 3)).astype(np.float32)
    jacobian = np.asarray(jax.jacobian(lambda x: net(x)[0, :, 1])(x))[:, 0]
    score = np.abs(jacobian).sum(-1)
    result = jaxrf.erf(net, None, x, units="all", score="abs", channels=1, pool_units=True)
    center = int(result.units[0, 0])
    expected = []
    for k in range(3):
        around = [d for d in {-k, k} if 0 <= center + d < n]
        sums = [sum(score[u, u + d] for u in range(n) if 0 <= u + d < n) / n for d in around]
        expected.append(np.sum(sums) / len(around))
    np.testing.assert_allclose(result.by_distance().mean.value[0, :3], expected, rtol=1e-4)


def test_tokens_of_an_image_are_counted_in_patches():
    """A row of tokens knows its grid and its patch; a profile of few rings has no fit."""

    def net(x):
        tokens = x.reshape(len(x), 5, 8, 4, 8, 3).mean((2, 4)).reshape(len(x), 20, 3)
        return tokens + 0.1 * tokens.mean(1, keepdims=True)

    row = jaxrf.trf(net, (40, 32, 3))[-1]
    assert row.unit_shape == (20,) and row.grid == (5, 4) and row.pitch == (8.0, 8.0)
    found = jaxrf.erf(net, None, jaxrf.noise(1), input_shape=(40, 32, 3)).by_distance("token")
    assert np.isnan(found.length.value).all()
    assert found.positions[0, 0] >= 64 and found.positions.sum() == 40 * 32


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metric": "manhattan"}, UnknownNameError, "Unknown metric 'manhattan'"),
        ({"first": 0}, InputError, "no value at distance 0"),
        ({"over": "seeds"}, InputError, "holds no sums over seeds"),
    ],
)
def test_what_has_no_profile(options, error, message):
    with pytest.raises(error, match=message):
        profile_of(np.exp(-FAR / 5.0), unit=0, **options)


def test_fits_of_flat_and_empty_profiles():
    """Nothing falls in a flat profile; an empty one has no law."""
    length, exponent, advantage = fits(np.arange(1.0, 6), np.array([[1.0] * 5, [0.0] * 5, [1, 0.5, 0, 0, np.nan]]))
    assert length[0] == np.inf and exponent[0] == 0 and advantage[0] == 0
    assert np.isnan([length[1:], exponent[1:], advantage[1:]]).all()


def test_mean_attention_distance():
    """By weights: of a causal mask over four tokens, and of patches in their unit; tokens in front are left out."""
    row = jaxrf.trf(lambda x: x * 1.0, (4, 2))[-1]
    weights = np.tri(4) / np.arange(1, 5)[:, None]
    assert jaxrf.attention_distance(weights, row) == pytest.approx(np.mean([0, 0.5, 1, 1.5]))
    deit = jaxrf.trf(Deit(), (16, 24, 3), spacing=0.5)["block"]
    even = np.full((2, 10, 10), 0.1)
    even[:, :, 0] = 7  # the first tokens, which lie nowhere
    apart = [abs(x - y) for x in range(3) for y in range(3)]
    rows = np.maximum.outer([0, 1, 1, 0], apart).reshape(2, 2, 3, 3)
    assert jaxrf.attention_distance(even, deit, "chebyshev") == pytest.approx(np.full(2, 4 * rows.mean()))
    with pytest.raises(InputError, match=r"shape \(4, 3\).*has 4 tokens"):
        jaxrf.attention_distance(np.ones((4, 3)), row)
    with pytest.raises(UnknownNameError, match="Unknown metric 'cosine'"):
        jaxrf.attention_distance(weights, row, "cosine")
    nowhere = jaxrf.trf(lambda x: jnp.broadcast_to(x.mean(1, keepdims=True), x.shape), (4, 2))[-1]
    with pytest.raises(InputError, match="No token of layer 'output' has a place"):
        jaxrf.attention_distance(weights, nowhere)
