"""Maps that are rounding alone are told from true ones by images that are moved by rounding."""

from __future__ import annotations

import flax.linen as nn
import jax
import ml_dtypes
import numpy as np
import pytest

import jaxrf
from jaxrf.adapters import adapt
from jaxrf.engine.rounding import changed_share, nudged
from jaxrf.inputs.images import as_images
from tests.running import run_of

IMAGES = np.random.default_rng(0).normal(size=(3, 17, 23, 3)).astype(np.float32)


class Normed(nn.Module):
    """Two convolutions and a normalization over channels, with or without weights of its own."""

    weighted: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (3, 3))(x))
        x = nn.Conv(8, (3, 3), strides=2)(x)
        init = nn.initializers.normal() if self.weighted else nn.initializers.ones
        return nn.LayerNorm(scale_init=init)(x)


def share(model: nn.Module, **options) -> float:
    given = as_images(IMAGES, None)
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)
    run = run_of(adapt(model, given.shape, variables=variables), given, certify=False, **options)
    first, again = (next(run.samples(as_images(x, None), None)).maps for x in (IMAGES, nudged(IMAGES)))
    return changed_share(first, again)


@pytest.mark.slow
def test_the_sum_behind_a_normalization_is_rounding():
    """The mean over channels is the same whatever the image; what is left of its gradient is another with each rounding."""
    units = np.array([[0, 0], [4, 5], [8, 11]])
    assert share(Normed(), channels="sum", units=units) == 1


def test_a_map_that_is_rounding_is_warned_of():
    """The user is told what to ask for instead."""
    variables = Normed().init(jax.random.key(0), IMAGES)
    with pytest.warns(UserWarning, match='they are rounding themselves.*channels="sum" has no gradient; use "probe"'):
        jaxrf.erf(Normed(), variables, IMAGES, channels="sum")


@pytest.mark.parametrize(
    ("model", "options"),
    [(Normed(), {}), (Normed(), {"channels": 1}), (Normed(weighted=True), {"channels": "sum"}),
     (Normed(), {"channels": "sum", "layer": "Conv_1"})],
    ids=["probe", "one channel", "weighted", "before it"],
)  # fmt: skip
def test_true_maps_stay(model, options):
    """A probe, one channel, a sum with weights, and a sum before the normalization."""
    assert share(model, units=np.array([[0, 0], [4, 5], [8, 11]]), **options) == 0


def test_dead_units_do_not_count():
    """A map that is zero both times is neither; of the other two, one moves."""
    maps = np.array([[[0.0, 0.0], [1.0, 2.0], [1.0, 2.0]]])
    assert changed_share(maps, np.array([[[0.0, 0.0], [1.0, 2.0], [1.0, 2.1]]])) == 0.5
    assert changed_share(maps[:, :1], maps[:, :1]) == 0


def test_coarse_types_are_not_told():
    """One rounding of bfloat16 moves true maps too."""
    assert nudged(IMAGES.astype(ml_dtypes.bfloat16)) is None
    assert nudged(IMAGES.astype(np.float16)) is None
    for dtype in (np.float32, np.float64):
        images = IMAGES.astype(dtype)
        there = nudged(images)
        assert there.dtype == dtype
        assert 0 < np.abs(there / images - 1).max() < 4e-6
