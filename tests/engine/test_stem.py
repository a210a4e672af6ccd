"""The stem of a network in one step of the pull-back, as on a TPU, gives the maps of its steps one by one."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo

POOLED = zoo.resnet18(width=4, stages=1)
SHAPE = (44, 52, 3)


def maps_on(platform: str, model, shape, **request):
    """Whether a stem is taken in one, how units are read, and the maps (image, unit, *map)."""
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    field = jaxrf.prepare(model, None, images, platform=platform, **request)
    maps = jax.jit(lambda k: field(field.init(k), images, k))(jax.random.key(1))
    (layer,) = field.layers.values()
    return layer.pullback.stem is not None, field.plan.reads, np.asarray(maps.array())


@pytest.mark.parametrize(
    "shape, request_, reads",
    [
        (SHAPE, {"units": jaxrf.grid(3, 2), "crop": False}, "whole"),
        pytest.param((108, 124, 3), {"units": jaxrf.grid(3, 4)}, "lines", marks=pytest.mark.slow),
        pytest.param(
            (108, 124, 3),
            {"units": np.array([(0, 0), (3, 9), (26, 30)]), "score": "abs", "crop": False},
            "slices",
            marks=pytest.mark.slow,
        ),
        pytest.param(SHAPE, {"units": jaxrf.grid(2, 2), "pool_units": True}, "whole", marks=pytest.mark.slow),
    ],
    ids=["whole", "lines", "slices", "pooled"],
)
def test_maps_are_those_of_single_steps(shape, request_, reads):
    """At borders and inside, whole arrays and windows, units apart and pooled; on a CPU nothing is taken together."""
    (ours, how, found), (theirs, _, wanted) = (maps_on(p, POOLED, shape, **request_) for p in ("tpu", "cpu"))
    assert (ours, theirs, how) == (True, False, reads)
    assert found.shape == wanted.shape and wanted.any()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * wanted.max())


@pytest.mark.parametrize(
    "model, request_",
    [
        (zoo.conv_stack(depth=2, width=4), {}),
        (POOLED, {"layer": "stem/conv1"}),
        (POOLED, {"wrt": "stem/conv1"}),
        (POOLED, {"estimator": "sign_averaged"}),
    ],
    ids=["no pool", "a layer before the pool", "maps of a layer", "averaged signs"],
)
def test_other_last_steps_are_taken_one_by_one(model, request_):
    """Where the last steps are not a pool, elementwise ones and a convolution of the image, or are not pulled back as such."""
    image = jax.ShapeDtypeStruct((1, *SHAPE), np.float32)
    field = jaxrf.prepare(model, None, image, platform="tpu", **request_)
    assert all(layer.pullback.stem is None for layer in field.layers.values())
