"""Random masks in every form that attention takes them, between convolutions, against dense Jacobians."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf

CHANNELS = 4
softmax = jax.nn.softmax
# From scores (b, heads, n, m) and a mask to weights.
FORMS = {
    "added": lambda s, m: softmax(s + np.where(m, 0, -1e9)),
    "added, minus infinity": lambda s, m: softmax(s + np.where(m, 0, -np.inf)),
    "added, a hundred": lambda s, m: softmax(s + np.where(m, 0, -100.0)),
    "in place": lambda s, m: softmax(jnp.where(m, s, jnp.finfo(s.dtype).min)),
    "in place, minus infinity": lambda s, m: softmax(jnp.where(m, s, -jnp.inf)),
    "logarithm": lambda s, m: softmax(s + jnp.log(m + 1e-30)),
    "scaled": lambda s, m: softmax((s + np.where(m, 0, -1e4)) / 2),
    "before": lambda s, m: s * m,
    "behind": lambda s, m: softmax(s) * m,
    "by hand": lambda s, m: (e := jnp.exp(s) * m) / (e.sum(-1, keepdims=True) + 1e-6),
    "sigmoid": lambda s, m: jax.nn.sigmoid(jnp.where(m, s, -1e9)),
    "where": lambda s, m: softmax(s, where=jnp.broadcast_to(m, s.shape)),
    "log softmax": lambda s, m: jnp.exp(jax.nn.log_softmax(jnp.where(m, s, -1e9))),
    "segments": lambda s, m: s * jnp.exp(jnp.where(m, jnp.tanh(jnp.cumsum(s, -1)), -jnp.inf)),
    "mixed heads": lambda s, m: jnp.einsum("bhnm,hg->bgnm", softmax(jnp.where(m, s, -1e9)), np.tri(s.shape[1]) + 0.5),
}


def mask(draw: np.random.Generator, n: int, heads: int) -> np.ndarray:
    """(1 or heads, n, n), with the diagonal."""
    away, key, width = np.arange(n)[:, None] - np.arange(n), np.arange(n), int(draw.integers(1, max(2, n // 2)))
    kinds = [
        away >= 0,
        (away >= -int(draw.integers(0, 3))) & (away < width),
        key[:, None] // 3 == key // 3,
        (abs(away) <= 2 * width) & (away % 2 == 0),
        (away >= 0) | (key < 2),
        draw.random((n, n)) < 0.3,
        draw.random((heads, n, n)) < 0.3,
        np.stack([(away >= 0) & (away < 1 + width + h) for h in range(heads)]),
        np.broadcast_to(draw.random(n) < 0.6, (n, n)),
    ]
    return np.atleast_3d((kinds[draw.integers(len(kinds))] | (away == 0)).T).T.reshape(-1, n, n)


def model(seed: int):
    """A function of (b, n, channels), its n, and what it is made of."""
    draw = np.random.default_rng(seed)
    n = size = int(draw.integers(8, 15))
    steps, names = [], []

    def weights(*shape):
        return jnp.asarray(draw.normal(size=shape) / np.sqrt(np.prod(shape[:-1])))

    def convolution(n):
        stride, kernel = int(draw.integers(1, 3)), weights(3, CHANNELS, CHANNELS)
        steps.append(
            lambda x: lax.conv_general_dilated(x, kernel, (stride,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))
        )
        names.append(f"convolution of stride {stride}")
        return -(-n // stride)

    def attention(n):
        heads, form, residual = int(draw.integers(1, 4)), str(draw.choice(list(FORMS))), draw.random() < 0.5
        m = mask(draw, n, heads)
        q, k, v = (weights(CHANNELS, heads, 2) for _ in range(3))
        out = weights(heads, 2, CHANNELS)

        def attend(x):
            scores = jnp.einsum("bnhd,bmhd->bhnm", jnp.einsum("bnc,chd->bnhd", x, q), jnp.einsum("bnc,chd->bnhd", x, k))
            y = jnp.einsum("bhnm,bmc,chd,hde->bne", FORMS[form](scores, m), x, v, out)
            return x + y if residual else y

        steps.append(attend)
        names.append(f"{form}, {heads} heads")

    n = convolution(n) if draw.random() < 0.4 else n
    for _ in range(int(draw.integers(1, 3))):
        attention(n)
        n = convolution(n) if draw.random() < 0.3 and n > 5 else n

    def run(x):
        for step in steps:
            x = step(x)
        return x

    return run, size, names


def check(seed: int, maps: bool) -> None:
    """Asserts that boxes are hulls of the Jacobian where exact, and that maps are its rows."""
    with jax.enable_x64(True):
        run, n, names = model(seed)
        x = jnp.asarray(np.random.default_rng(seed + 1000).normal(size=(1, n, CHANNELS)))
        jacobian = np.asarray(jax.jit(jax.jacfwd(run))(x))[0, :, :, 0]
        row = jaxrf.trf(run, (n, CHANNELS), dtype=np.float64)[-1]
        seen = abs(jacobian).sum((1, 3))
        seen = seen > 1e-13 * seen.max()
        for unit, line in enumerate(seen):
            at = np.flatnonzero(line)
            assert row.box((unit,), clip=True) == ((int(at[0]), int(at[-1]) + 1),), (seed, names, unit)
        assert row.exact, (seed, names, row.notes)
        if not maps:
            return
        units = [0, int(len(seen) // 2)]
        found = jaxrf.erf(run, None, x, units=[[u] for u in units], channels=1, score="abs")
        for number, unit in enumerate(units):
            right, first = abs(jacobian[unit, 1]).sum(-1), int(found.origin[number][0])
            inside = [(i, first + i) for i in range(found.mean.shape[1]) if 0 <= first + i < n]
            laid = np.zeros(n)
            laid[[at for _, at in inside]] = found.mean[number][[i for i, _ in inside]]
            np.testing.assert_allclose(laid, right, rtol=0, atol=1e-11 * right.max(), err_msg=str((seed, names)))


@pytest.mark.parametrize("seed", range(8))
def test_random_masks(seed):
    """Boxes of whole models."""
    check(seed, maps=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 40))
def test_maps_of_random_masks(seed):
    """Boxes and maps of many more."""
    check(seed, maps=True)
