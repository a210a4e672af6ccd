"""The engine's maps in float32: rounding, and what rounding does to a ReLU."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from tests.engine import models
from tests.engine.dense import errors
from tests.marks import mostly_slow


@pytest.mark.parametrize("layer", mostly_slow(["stem", "block", "expand"], {"stem"}))
def test_smooth_networks(layer):
    """Where coefficients are continuous, every map is within 1e-5 of the dense Jacobian's, as a share of the peak."""
    w = models.weights(*models.NEXT, dtype=np.float32)
    found = errors(models.next_, models.images(2, 9, 13, 2, dtype=np.float32), w, layer=layer)
    assert found.max() < 1e-5


def test_convolutions_and_pools():
    """A residual network with tanh: a max-pool still chooses, and without ties it chooses the same."""
    w = models.weights(*models.RESIDUAL, dtype=np.float32)
    batch = models.images(2, 17, 23, 2, dtype=np.float32)
    found = errors(lambda w, x: models.residual(w, x, jnp.tanh), batch, w, layer="second")
    assert found.max() < 1e-5


@pytest.mark.parametrize("net", ["residual", "mobile"])
def test_rectified_networks(net):
    """A forward pass in another order can flip a ReLU: few maps may differ by more than 1e-5, and little on average."""
    f, shapes = models.NETS[net]
    w = models.weights(*shapes, dtype=np.float32)
    found = errors(f, models.images(2, 17, 23, 2, dtype=np.float32), w)
    assert (found > 1e-5).mean() < 0.05
    assert found.mean() < 1e-4


def test_bfloat16_by_choice():
    """Variables and inputs in bfloat16 give maps within the stated error: some percent, and 20 % at most."""
    f, shapes = models.NETS["residual"]
    w, x = models.weights(*shapes, dtype=np.float32), models.images(2, 17, 23, 2, dtype=np.float32)
    coarse = [a.astype(jnp.bfloat16) for a in w], x.astype(jnp.bfloat16)
    fine, half = (jaxrf.erf(f, *given, units=jaxrf.grid(2, 2)) for given in ((w, x), coarse))
    error = np.linalg.norm((half.mean - fine.mean).reshape(4, -1), axis=1)
    error /= np.linalg.norm(fine.mean.reshape(4, -1), axis=1)
    assert 1e-3 < np.median(error) < 0.15 and error.max() < 0.2
