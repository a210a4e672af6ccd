"""The engine agrees with the oracle on layers of the zoo's networks, at small sizes and in double precision."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from tests.marks import mostly_slow

NETWORKS = {
    "conv_stack": ({"depth": 6, "width": 8}, (17, 23, 3)),
    "resnet18": ({}, (40, 48, 3)),
    "resnet34": ({"width": 8}, (40, 48, 3)),
    "resnet50": ({"width": 8}, (40, 48, 3)),
    "resnet101": ({"width": 4}, (40, 48, 3)),
    "resnet152": ({"width": 4}, (40, 48, 3)),
    "mobilenet_v2": ({}, (40, 48, 3)),
    "convnext_tiny": ({}, (64, 32, 3)),
    "unet": ({"width": 4}, (32, 48, 3)),
    "vit_small_16": ({}, (48, 32, 3)),
}

LAYERS = dict.fromkeys(("resnet18", "resnet34", "unet"), 3) | dict.fromkeys(
    ("resnet50", "resnet101", "resnet152", "convnext_tiny", "mobilenet_v2", "vit_small_16"), 2
)
"""How many layers of the deepest networks there is time for; six of the others."""
DEEP = {"resnet34", "resnet101", "resnet152"}
"""Networks that are left to `make test-every-layer`."""


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_slow(NETWORKS, NETWORKS.keys() - DEEP, pytest.mark.every_layer))
def test_layers_of_the_zoo(name, double, quick):
    """The center and a corner unit of layers of all depths and the output; the oracle's maps are zero outside their boxes."""
    options, shape = NETWORKS[name]
    model = zoo.models[name](**options)
    rows = [row for row in jaxrf.trf(model, shape) if not row.notes]
    images = np.random.default_rng(0).normal(size=(1, *shape))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    for place in np.linspace(0, len(rows) - 1, LAYERS.get(name, 6)).astype(int):
        units = np.array([rows[place].center_unit, (0,) * len(rows[place].unit_shape)])
        units = "center" if units.shape[1] == 0 else np.unique(units, axis=0)
        jaxrf.check(model, variables, images, layer=rows[place].name, units=units)
