"""Units averaged in unit-centered coordinates inside the program."""

from __future__ import annotations

import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.engine import plan as planning
from jaxrf.engine.pool import make_pool


@pytest.mark.parametrize(
    "model, shape, per_batch",
    [(zoo.conv_stack(depth=3, width=8), (20, 17, 3), 3), (zoo.unet(depth=2, width=4), (24, 20, 1), 20)],
    ids=["stack", "phases"],
)
def test_pooling_is_the_mean_of_shifted_maps(model, shape, per_batch, monkeypatch):
    """The pooled map is what one gets by laying the single maps over each other at their centers.

    In batches of three the last of 20 units stands twice in the last batch, and counts once.
    """
    monkeypatch.setitem(planning.UNITS, "cpu", (per_batch, per_batch))
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


def test_the_frame_is_the_smallest_that_holds_all_maps():
    """Maps of 4 positions whose centers lie at 1 and at 2 need 5."""
    pool = make_pool(np.array([[0], [0]]), np.array([[1.0], [2.5]]), (4,))
    assert pool.shape == (5,)
    assert pool.shifts.ravel().tolist() == [1, 0]
    assert pool.middle.tolist() == [2]
