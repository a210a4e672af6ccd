"""Arrays are cut before they are spread and padded, so that XLA cannot add the amounts to those of another padding."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxrf.lowering.laying import kept, laid


def padded(x: np.ndarray, low: int, high: int, interior: int) -> np.ndarray:
    """Spread, padded and cut, in this order, in numpy."""
    length = (len(x) - 1) * (interior + 1) + 1 if len(x) else 0
    spread = np.zeros(length)
    spread[:: interior + 1] = x
    wide = np.concatenate([np.zeros(max(low, 0)), spread, np.zeros(max(high, 0))])
    return wide[max(-low, 0) : len(wide) - max(-high, 0)]


def test_cut_then_padded_is_padded():
    """What is left of every axis, and its amounts, which are never negative, give what `lax.pad` gives."""
    for n, low, high, interior in itertools.product((0, 1, 3, 4), range(-6, 4), range(-6, 4), (0, 1, 2)):
        length = (n - 1) * (interior + 1) + 1 if n else 0
        if length + low + high >= 0:
            first, last, amounts = kept(n, (low, high, interior))
            x = np.arange(1.0, n + 1)
            assert min(amounts) >= 0
            assert padded(x[first:last], *amounts).tolist() == padded(x, low, high, interior).tolist()


@pytest.mark.parametrize("low, high", [(-1, 0), (-2, 1), (-1, -2)])
def test_a_convolution_behind_it_is_right_when_compiled(low, high):
    """Its padding stays its own: XLA adds the negative amounts of a pad with holes to it."""
    x = np.random.default_rng(0).uniform(1, 2, (1, 7, 2))
    kernel = np.ones((3, 2, 1))

    def model(x, lay):
        y = lay(x, ((0, 0, 0), (low, high, 1), (0, 0, 0)))
        return lax.conv_general_dilated(
            y, jnp.asarray(kernel, y.dtype), (1,), [(2, 1)], dimension_numbers=("NHC", "HIO", "NHC")
        )

    found = jax.jit(lambda x: model(x, laid))(x)
    inner = np.stack([padded(x[0, :, c], low, high, 1) for c in range(2)], -1).sum(-1)
    want = np.convolve(np.pad(inner, (2, 1)), np.ones(3), "valid")
    np.testing.assert_allclose(np.asarray(found).ravel(), want, rtol=1e-5)
