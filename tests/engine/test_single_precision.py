"""The engine's maps in float32: rounding, and what rounding does to a ReLU."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from tests.engine import models
from tests.engine.dense import errors


@pytest.mark.parametrize("layer", ["block", "expand"])
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
