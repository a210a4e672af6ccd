"""The command `jaxrf zoo`, and the stored table that it prints."""

from __future__ import annotations

import json

import pytest

from jaxrf import zoo
from jaxrf.cli import main
from jaxrf.cli.zoo import measured, times
from jaxrf.zoo.listing import as_csv, listing
from tests.marks import mostly_slow

ENTRIES = {entry.name: entry for entry in listing()}
AGAIN = (
    "tcn",
    "vgg11",
    "mixer_s16",
    "swin_tiny",
    "van_b1",
    "poolformer_s12",
    "resnet18_nnx",
    "unet_3d",
    "regnet_y_400mf",
)


def test_the_stored_table_has_every_network():
    """One row for each model of the zoo, with its own input and source; `jaxrf zoo --fresh --csv` writes it anew."""
    assert list(ENTRIES) == sorted(zoo.models)
    for name, entry in ENTRIES.items():
        assert (entry.input, entry.source) == (times(zoo.models[name].input_shape), zoo.models[name].source)


@pytest.mark.parametrize("name", mostly_slow(AGAIN, {"tcn", "vgg11"}))
def test_stored_rows_are_what_the_networks_have(name):
    """A row that is computed anew is the stored one."""
    assert measured(name) == ENTRIES[name]


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        *[("vgg16", 15.47), ("resnext50_32x4d", 4.23), ("wide_resnet50_2", 11.40), ("densenet121", 2.83)],
        *[("efficientnet_b0", 0.39), ("efficientnet_b4", 4.39), ("efficientnet_v2_s", 8.37), ("regnet_y_400mf", 0.40)],
        *[("mobilenet_v3_large", 0.22), ("convnext_small", 8.68), ("convnext_base", 15.36), ("maxvit_tiny", 5.56)],
    ],
)
def test_multiply_adds_are_those_of_torchvision(name, billions):
    """The stored operations are those that torchvision's pages call GFLOPS, within 1 % or the last digit."""
    assert ENTRIES[name].multiply_adds / 1e9 == pytest.approx(billions, rel=0.01, abs=5e-3)


def test_the_command_lists_networks(capsys):
    """Text for people with the numbers in columns, the same as JSON and CSV."""
    assert main(["zoo", "--name", "resnet50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["network", "input", "size", "stride", "parameters", "multiply-adds"]
    assert "resnet50  224x224x3  427x427   32x32  25,557,032         4.09 G".split() in [line.split() for line in lines]
    assert main(["zoo", "--name", "resnet50", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == {name for name in zoo.models if "resnet50" in name}
    assert main(["zoo", "--csv"]) == 0
    assert capsys.readouterr().out == as_csv(listing())


def test_a_name_without_a_network_is_an_error(capsys):
    """The message names the nearest."""
    assert main(["zoo", "--name", "resnet5O"]) == 2
    assert "Unknown zoo model 'resnet5O'. Did you mean 'resnet50'" in capsys.readouterr().err
