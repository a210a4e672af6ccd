"""The pages of the atlas are what their script makes of the data; rows agree with plain `jax.vjp`."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jaxrf
from jaxrf.atlases.row import AtlasRow
from tests.marks import mostly_slow

FOLDER = Path(__file__).parent.parent.parent / "docs" / "atlas"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"docs_atlas_{name}", FOLDER / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages, by_vjp = load("pages"), load("by_vjp")


@pytest.mark.parametrize("name", ["index", "schema", "growth", "araujo"])
def test_a_page_is_what_its_script_writes(name):
    """Running the script again changes nothing; if this fails, run `python docs/atlas/pages.py` and commit the pages."""
    made = pages.schema() if name == "schema" else getattr(pages, name)(jaxrf.atlas())
    assert (FOLDER / f"{name}.md").read_text() == made


@pytest.mark.parametrize("network", mostly_slow(["alexnet_v2", "vgg_a", "resnet_v2_50"], ["vgg_a"]))
def test_end_points_are_what_the_networks_have(network):
    """The kept theoretical fields are those that are found anew, and the published ones."""
    kept = [list(line.values()) for line in pages._read(pages.END_POINTS) if line["network"] == network]
    published = [list(line.values())[:5] for line in pages._read(pages.PUBLISHED) if line["network"] == network]
    assert pages.end_points([network]) == kept == published


def test_a_plain_stack_has_the_exponent_of_theory():
    """Where sigma grows as the root of the size, the ratio falls with the power -1/2; fields that are cut do not count."""
    row = AtlasRow(network="n", layer="l", input="99x99x3", images="noise", status="done")
    rows = [replace(row, size=(side, side), sigma=3 * side**0.5) for side in (11, 21, 81)]
    assert pages.exponent(rows) == pytest.approx(-0.5)
    assert pages.exponent([*rows[:2], replace(rows[2], size=(101, 101))]) is None
    flat = replace(row, size=(25, 25), sigma=25 / 12**0.5)
    assert pages.ratio(flat) == pytest.approx(1)


def test_sigma_is_written_out_right():
    """Of a small asymmetric map, the mean of the two standard deviations."""
    assert by_vjp.sigma(np.array([[1.0, 0, 1.0], [0, 0, 0]])) == pytest.approx(0.5)


def test_rows_are_chosen_from_the_whole_table():
    """Those that are done, on noise, from the first on."""
    rows = [AtlasRow(network=str(n), layer="l", input="1", images="noise", status="done") for n in range(7)]
    assert [row.network for row in by_vjp.chosen(rows, 3)] == ["0", "2", "4"]
    assert by_vjp.chosen([replace(rows[0], status="begun"), replace(rows[0], images="photos")], 3) == []


@pytest.mark.slow
def test_a_row_agrees_with_plain_vjp():
    """The first stage of the U-Net, by whole gradients of other networks, within four standard errors of both."""
    row = jaxrf.atlas().find("unet", "down_0", input="64x64x1")
    assert row.sigma is not None
    value, error, away = by_vjp.compared(row, 64)
    assert error < 0.03 * value
    assert abs(away) < 4
    assert abs(by_vjp.compared(replace(row, sigma=1.3 * row.sigma), 64)[2]) > 4
