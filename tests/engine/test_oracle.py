"""The engine's maps equal those of the dense Jacobian, on three small networks."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxrf.engine.channels import rules
from jaxrf.engine.scores import scores
from tests.engine import models
from tests.engine.dense import EXACT, errors
from tests.engine.models import LAYERS, NETS

SHAPE = (9, 13, 2)
NEXT = pytest.mark.slow
"""Of tests on the largest of the three networks."""
EVERY_LAYER = [pytest.param(net, layer, marks=[NEXT] * (net == "next")) for net in NETS for layer in LAYERS[net]]


pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("net", "layer"), EVERY_LAYER)
def test_every_layer(net, layer):
    """All units of every tapped layer, to 1e-12 of the peak in float64."""
    f, shapes = NETS[net]
    found = errors(f, models.images(1, *SHAPE), models.weights(*shapes), layer=layer)
    assert found.max() < EXACT


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("score", scores)
@pytest.mark.parametrize("channels", [*rules, 1, -1])
def test_every_score_and_rule_for_channels(score, channels):
    """Every pair of the registered scores and rules for channels, on two convolutions in one dimension."""

    def stack(w, x):
        return models.conv(jax.nn.relu(models.conv(x, w[0], 2)), w[1])

    w = models.weights((3, 2, 3), (2, 3, 3))
    assert errors(stack, models.images(1, 11, 2), w, score=score, channels=channels).max() < EXACT


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("score", "channels"), [("abs", "each"), ("relu", "relu_sum"), ("signed", "sum"), ("square", 2)]
)
def test_scores_and_rules_on_a_residual_network(score, channels):
    """Behind a max-pool and a residual sum too, on some of the units."""
    units = np.array([[0, 0], [1, 1], [1, 0]])
    w = models.weights(*models.RESIDUAL)
    found = errors(models.residual, models.images(1, *SHAPE), w, score=score, channels=channels, units=units)
    assert found.max() < EXACT


@pytest.mark.parametrize("net", [pytest.param(net, marks=[NEXT] * (net == "next")) for net in NETS])
def test_three_images(net):
    """Each image of a batch of three has its own map, with its own probe."""
    f, shapes = NETS[net]
    found = errors(f, models.images(3, *SHAPE), models.weights(*shapes))
    assert found.shape[0] == 3
    assert found.max() < EXACT


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("net", "count"), [("residual", 1), ("mobile", 3), pytest.param("next", 3, marks=NEXT)])
def test_channels_first(net, count):
    """A network on (batch, channel, y, x) has the same maps; its positions are axes 2 and 3."""
    f, shapes = NETS[net]
    batch = models.images(count, *SHAPE).transpose(0, 3, 1, 2)
    found = errors(models.channels_first(f), batch, models.weights(*shapes), spatial_axes=(2, 3))
    assert found.max() < EXACT


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("net", "wrt", "layer"),
    [("residual", "stem", "block"), ("residual", "pool", "first"), ("mobile", "depthwise", "head"),
     ("mobile", "project", "residual"), pytest.param("next", "stem", "block", marks=NEXT),
     pytest.param("next", "depthwise", "expand", marks=NEXT)],
)  # fmt: skip
def test_layer_to_layer(net, wrt, layer):
    """Maps of a layer onto an earlier one count the paths through it alone."""
    f, shapes = NETS[net]
    found = errors(f, models.images(1, *SHAPE), models.weights(*shapes), wrt=wrt, layer=layer)
    assert found.max() < EXACT
