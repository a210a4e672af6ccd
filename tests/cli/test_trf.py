"""`jaxrf trf` from end to end, on a small network."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from jaxrf.cli import main
from jaxrf.geometry.table import Table
from tests.cli.mistakes import assert_explained

STACK = ["trf", "zoo:conv_stack", "--model-option", "depth=3", "--input", "17x19x3"]


def test_the_table_is_printed(capsys):
    """The text holds every layer with its size: 3, 5, 7 for three 3x3 convolutions."""
    assert main(STACK) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    for name, size in (("conv_0", "3"), ("conv_1", "5"), ("conv_2", "7")):
        assert size in lines[name].split()


def test_json_is_a_table_again(capsys):
    """--json prints what Table.from_json reads."""
    assert main([*STACK, "--json"]) == 0
    table = Table.from_json(capsys.readouterr().out)
    assert table["conv_2"].size == (7, 7)


def test_csv_has_a_line_for_each_layer(capsys):
    """--csv prints a head and the layers, in order."""
    assert main([*STACK, "--csv"]) == 0
    names = [line["name"] for line in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert [name for name in names if name.startswith("conv_")] == ["conv_0", "conv_1", "conv_2"]


def test_markdown_has_a_line_for_each_layer(capsys):
    """--markdown prints a table of pipes."""
    assert main([*STACK, "--markdown"]) == 0
    assert sum(line.startswith("| conv_") for line in capsys.readouterr().out.splitlines()) == 3


def test_one_layer_and_unit(capsys):
    """--layer and --unit show the unit's box, which may leave the input, and the clipped one."""
    assert main([*STACK, "--layer", "conv_1", "--unit", "0,18", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["center"] == [0, 18]
    assert facts["box"] == [[-2, 3], [16, 21]]
    assert facts["clipped_box"] == [[0, 3], [16, 19]]


def test_one_layer_as_text_shows_its_center_unit(capsys):
    """Without --unit the center unit is shown."""
    assert main([*STACK, "--layer", "conv_1"]) == 0
    lines = dict(line.strip().split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["unit"] == "(8, 9)"
    assert lines["size"] == "(5, 5)"
    assert lines["box"] == "((6, 11), (7, 12))"
    assert lines["aligned"] == "yes"
    assert lines["notes"] == "none"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "conv_9"], "Unknown layer 'conv_9'"),
        (["--layer", "conv_1", "--unit", "40,2"], r"Unit \(40, 2\) is outside of layer 'conv_1'"),
        (["--layer", "conv_1", "--unit", "4"], "has 1 numbers"),
        (["--unit", "3,3"], "Add --layer NAME"),
        (["--paths"], "Add --layer NAME"),
        (["--layer", "conv_1", "--paths", "--wrt", "conv_0"], "counts from the input"),
        (["--treat-as-constant", "conv_8"], r"Unknown layer 'conv_8'.*treat_as_constant"),
        (["--wrt", "conv_8"], "Unknown layer 'conv_8'"),
        (["--plot", "sizes.xyz"], "cannot be saved as sizes.xyz"),
        (["--json", "--csv"], "--json and --csv were given"),
        (["--layer", "conv_1", "--csv"], "print the whole table"),
        (["--model-option", "colour=3"], "has no option 'colour'"),
        (["--spatial-axes", "7"], "spatial"),
    ],
)
def test_what_does_not_fit_is_explained(arguments, message, capsys):
    """Each mistake ends with status 2 and a sentence on stderr."""
    assert_explained([*STACK, *arguments], message, capsys)


def test_paths_of_a_layer_are_counted(capsys):
    """--paths adds how many paths lead to the unit, 81 by two 3x3 convolutions, and the share of its box they reach."""
    assert main([*STACK, "--layer", "conv_1", "--unit", "8,9", "--paths", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["paths"] == 81
    assert facts["density"] == 1.0


def test_fields_on_another_layer(capsys):
    """--wrt shows the layers behind, in positions of that layer."""
    assert main([*STACK, "--wrt", "conv_0", "--json"]) == 0
    table = Table.from_json(capsys.readouterr().out)
    assert "conv_0" not in table
    assert table["conv_2"].size == (5, 5)


@pytest.mark.parametrize("arguments", [[], ["--layer", "conv_1"], ["--layer", "conv_1", "--paths"]])
def test_figures_are_saved(arguments, tmp_path, capsys):
    """--plot writes a PNG: sizes over depth, the box of a unit, or its path counts."""
    file = tmp_path / "figures" / "one.png"
    assert main([*STACK, *arguments, "--plot", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("arguments", "status"), [(STACK, 141), (["trf", "--help"], 0)])
def test_a_reader_that_stops_is_no_error(arguments, status):
    """Where the pipe is closed, as by `| head`, stderr is empty, and the status is 141, or 0 where argparse prints."""
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(
        [sys.executable, "-m", "jaxrf", *arguments], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (run.returncode, run.stderr) == (status, "")


def test_a_layer_in_physical_units(capsys):
    """--spacing and --spacing-unit add the same numbers in units; a rate adds seconds."""
    arguments = [*STACK, "--layer", "conv_1", "--spacing", "0.5x2", "--spacing-unit", "um"]
    assert main([*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["size"] == [5, 5] and facts["size_in_um"] == [2.5, 10.0] and facts["latency_in_um"] == [1.0, 4.0]
    assert main([*STACK, "--rate", "10"]) == 0
    assert "positions of 0.1 × 0.1 s" in capsys.readouterr().out
    assert main([*STACK, "--spacing-unit", "um"]) == 2
    assert "needed is one of them" in capsys.readouterr().err
