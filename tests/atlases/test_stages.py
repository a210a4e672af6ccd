"""Which layers are the ends of a network's stages."""

from __future__ import annotations

import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.atlases.stages import stage_ends


@pytest.mark.parametrize(
    ("network", "ends"),
    [
        ("resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("unet", ["down_0", "down_1", "down_2", "bottom", "up_2", "up_1", "head"]),
        ("conv_stack", ["conv_1", "conv_4", "conv_6", "conv_9"]),  # ten layers at one resolution are four stages
        ("alexnet_v2", ["alexnet_v2/conv1", "alexnet_v2/conv2", "alexnet_v2/conv5", "alexnet_v2/pool5"]),
    ],
)
def test_a_stage_ends_where_the_resolution_changes(network, ends):
    """The last module at each resolution; in a network that is one module, those within it."""
    model = zoo.models[network]
    assert stage_ends(jaxrf.trf(model(), model.input_shape)) == ends


def test_a_network_without_modules_has_its_output():
    """A plain function has one stage."""
    assert stage_ends(jaxrf.trf(lambda x: x[:, 1:], (5, 7, 3))) == ["output"]
