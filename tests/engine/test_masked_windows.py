"""Pull-backs through masked attention: windows hold the band alone, and maps are those of `jax.vjp`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf
from jaxrf.adapters import adapt
from jaxrf.engine.windows import windows
from jaxrf.tangent.trace import trace
from tests.marks import mostly_slow

DRAW = np.random.default_rng(0)
KERNELS = DRAW.normal(size=(2, 3, 4, 4))


def away(n: int) -> np.ndarray:
    return np.arange(n)[:, None] - np.arange(n)


def conv(x, kernel, stride=1):
    return lax.conv_general_dilated(x, kernel, (stride,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))


def attend(x, mask):
    """Attention of two heads, with a residual."""
    y = x.reshape(*x.shape[:2], 2, -1)
    scores = jnp.einsum("bihc,bjhc->bhij", y, jnp.sin(y))
    weights = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf))
    return x + jnp.einsum("bhij,bjhc->bihc", weights, jnp.cos(y)).reshape(x.shape)


def banded(x):
    """Two layers, between strided convolutions."""
    x = conv(x, KERNELS[0], 2)
    band = (away(x.shape[1]) >= -1) & (away(x.shape[1]) < 3)
    return conv(attend(attend(x, band), band), KERNELS[1], 2)


def heads(x):
    """A band for each head, one of them with holes."""
    d = away(x.shape[1])
    return attend(x, np.stack([(d >= 0) & (d < 3), (d % 3 == 0) & (abs(d) < 7)]))


def causal(x):
    """Everything before a unit."""
    return attend(attend(x, away(x.shape[1]) >= 0), away(x.shape[1]) >= 0)


def joined(x):
    """Scores of a band, and others of everything before, without a softmax."""
    scores, d = jnp.einsum("bic,bjc->bij", x, jnp.sin(x)), away(x.shape[1])
    return (scores * (abs(d) < 2) + jnp.tanh(scores) * (d >= 0)) @ x


def blocks(x):
    """Windows of five positions, the last of which are masked in two."""
    y = x.reshape(-1, 5, 4)
    mask = np.ones((x.shape[1] // 5, 5, 5), bool)
    mask[-1] = (np.arange(5)[:, None] < 2) == (np.arange(5) < 2)
    scores = jnp.einsum("wic,wjc->wij", y, jnp.sin(y)).reshape(x.shape[0], -1, 5, 5)
    weights = jax.nn.softmax(scores + np.where(mask, 0, -100.0), -1)
    return (weights.reshape(-1, 5, 5) @ y).reshape(x.shape)


@pytest.mark.parametrize(
    "model",
    mostly_slow([banded, heads, causal, joined, blocks], [causal, joined]),
    ids=lambda model: model.__name__,
)
def test_maps_are_gradients(model):
    """Of units at either border and inside, over two images."""
    n = 20
    with jax.enable_x64(True):
        x = jnp.asarray(DRAW.normal(size=(2, n, 4)))
        y, back = jax.vjp(model, x)
        units = [0, 2, (y.shape[1] - 1) // 2, y.shape[1] - 1]
        found = jaxrf.erf(model, None, x, units=[[u] for u in units], channels=1, score="abs")
        for number, unit in enumerate(units):
            (gradient,) = back(jnp.zeros_like(y).at[:, unit, 1].set(1))
            laid, first = np.zeros(n), int(found.origin[number][0])
            for i, value in enumerate(found.mean[number]):
                if 0 <= first + i < n:
                    laid[first + i] = value
            np.testing.assert_allclose(laid, abs(gradient).sum(-1).mean(0), rtol=1e-11, atol=1e-14)


def test_windows_hold_the_band_alone():
    """Scores of two layers: 1 query and 4 keys in the upper one, 4 queries and 7 keys in the lower one."""

    def model(x):
        band = (away(40) >= -1) & (away(40) < 3)
        return attend(attend(x, band), band)

    program = trace(adapt(model, (40, 4)))
    plan = windows(program, program.layers["output"].tangent, program.input, {1: np.array([5, 20, 31])})
    sizes = [tuple(s.size for s in spans[2:]) for v, spans in plan.regions.items() if v.shape[2:] == (40, 40)]
    assert set(sizes) == {(1, 4), (4, 7)}
    assert [s.size for s in plan.regions[program.input]] == [1, 7, 4]
