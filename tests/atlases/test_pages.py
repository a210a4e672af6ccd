"""The pages of the atlas are what their scripts make of the data; rows agree with plain `jax.vjp`."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jaxrf
from jaxrf.atlases.atlas import Atlas
from jaxrf.atlases.row import AtlasRow
from tests.marks import mostly_slow

FOLDER = Path(__file__).parent.parent.parent / "docs" / "atlas"
sys.path.append(str(FOLDER))  # where the scripts find each other

import _rows  # noqa: E402
import accuracy  # noqa: E402
import by_vjp  # noqa: E402
import equal_depth  # noqa: E402
import growth  # noqa: E402
import inputs  # noqa: E402
import pages  # noqa: E402
import rankings  # noqa: E402

ROW = AtlasRow(
    network="resnet18", layer="layer4", input="99x99x3", images="noise", status="done", stage=4, stages=4, size=(25, 25),
    stride="1x1", sigma=3.0, sigma_low=2.9, sigma_high=3.1, sigma_error=0.01, samples=32, estimator="sampled",
)  # fmt: skip


def test_pages_are_what_their_scripts_write():
    """Running the script again changes nothing; if this fails, run `python docs/atlas/pages.py` and commit the pages."""
    made = pages.pages(jaxrf.atlas())
    assert {file.stem for file in FOLDER.glob("*.md")} == {*made}
    for name, text in made.items():
        assert (FOLDER / f"{name}.md").read_text() == text, name
        for linked in ("growth", "accuracy", "equal_depth"):
            assert f"({linked}.svg)" not in text or (FOLDER / f"{linked}.svg").stat().st_size < 400_000


def test_pages_of_a_small_part():
    """From rows of one network: every page is made, and says the numbers of the rows and no others."""
    rows = [replace(ROW, layer=f"layer{n}", stage=n, size=(10 * n + 5,) * 2, sigma=1.5 * n) for n in (1, 2, 3, 4)]
    photo = replace(rows[3], images="photos", sigma=7.5, sigma_low=7.4, sigma_high=7.6)
    failed = AtlasRow(network="unet", layer="", input="64x64x1", images="noise", status="failed", reason="why not")
    made = pages.pages(Atlas((*rows, photo, failed)))
    assert "5 rows of 1 of the zoo's" in made["index"] and "why not" in made["index"] and "`resnet34`" in made["index"]
    assert "### resnet18, 99×99×3" in made["growth"] and f"{_rows.ratio(rows[1]):.3f}" in made["growth"]
    assert "| `resnet18` | `layer4` | 69.76 | plain | 45 |" in made["accuracy"]
    assert "| residual | 1 | 1.250 | 1.250 to 1.250 | 1 |" in made["inputs"]
    assert "not in the atlas" in made["rankings"]
    for figure in (growth.figure(Atlas(tuple(rows))), accuracy.figure(accuracy.points(Atlas(tuple(rows))))):
        assert len(figure.axes) == 2 and figure.axes[0].lines


def test_every_network_has_a_family():
    """So that each has a color; what the CSVs name are networks of the zoo, each once."""
    networks = [line["network"] for line in _rows.read(accuracy.ACCURACIES)]
    ends = [line[end] for line in _rows.read(rankings.CLAIMS) for end in ("smaller", "larger")]
    assert len({*networks}) == len(networks) and {*networks, *ends} <= {*jaxrf.zoo.models}
    assert {_rows.family(name) for name in jaxrf.zoo.models} == {*_rows.FAMILIES}
    assert all(50 < float(line["top1"]) < 90 and line["source"] for line in _rows.read(accuracy.ACCURACIES))


def test_rank_correlation_is_spearmans():
    """Against numbers by hand, with ties; a constant has none."""
    assert _rows.rank_correlation([1, 2, 3, 4], [1, 4, 9, 16]) == pytest.approx(1)
    assert _rows.rank_correlation([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)
    assert _rows.rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(math.sqrt(0.75))
    assert math.isnan(_rows.rank_correlation([1, 1, 1], [1, 2, 3]))


def test_intervals_of_correlations_hold_the_truth():
    """Sizes that follow accuracy give one; such that do not give an interval with zero in it; its width falls with more networks."""
    rng = np.random.default_rng(5)
    own = [
        accuracy.Point(replace(ROW, size=(10 + n,) * 2, sigma=float(rng.uniform(5, 9))), 60.0 + n, "plain", "")
        for n in range(24)
    ]
    size, inside, effective, less = accuracy.correlations(own, 400)
    assert size == inside == pytest.approx((1, 1, 1))
    assert effective[1] < 0 < effective[2] and less[0] == pytest.approx(effective[0] - 1)
    few = accuracy.correlations(own[::3], 400)[2]
    assert few[2] - few[1] > effective[2] - effective[1]


def test_rankings_are_told_by_the_error_of_a_difference():
    """Two standard errors apart, the other way round, and too near."""
    assert rankings.verdict(ROW, replace(ROW, sigma=3.2)) == "holds"
    assert rankings.verdict(ROW, replace(ROW, sigma=2.8)) == "reversed"
    assert rankings.verdict(ROW, replace(ROW, sigma=3.08)) == "cannot be told"


def test_rows_are_paired_by_layer_and_input():
    """Photos with noise of the same input, a smaller input with a larger one; nothing else."""
    photo, small, other = replace(ROW, images="photos"), replace(ROW, input="48x48x3"), replace(ROW, layer="layer3")
    atlas = Atlas((ROW, photo, small, other))
    assert list(inputs.on_photos(atlas)) == [(ROW, photo)]
    assert list(inputs.on_smaller(atlas)) == [(ROW, small)]
    assert inputs.quotient((ROW, replace(ROW, sigma=6.0))) == pytest.approx((2, 0.01 * math.sqrt(2)))


@pytest.mark.filterwarnings("ignore:The 2 samples are worth")
def test_a_case_of_equal_depth_is_measured():
    """Small: a skip narrows the field at the same theoretical size; the page has the numbers."""
    cases = {case.layers: case for case in equal_depth.CASES}
    plain, skip = (equal_depth.measured(cases[name], 2, depth=2) for name in ("3×3", "around each layer"))
    assert plain[2] == skip[2] == "5" and float(skip[3]) < float(plain[3])
    text = equal_depth.page([dict(zip(equal_depth.HEADER, line)) for line in (plain, skip)])
    assert f"| kernels | 3×3 | 5 | {float(plain[3]):.4g} [" in text and "sign_averaged" in text


def test_the_file_of_equal_depth_has_every_case():
    """As the script lists them; each sigma lies in its interval."""
    lines = _rows.read(equal_depth.FILE)
    assert [(line["part"], line["layers"]) for line in lines] == [(c.part, c.layers) for c in equal_depth.CASES]
    assert all(float(line["low"]) <= float(line["sigma"]) <= float(line["high"]) for line in lines)


def test_the_run_was_interrupted_and_bits_are_the_same():
    """Three times at least; two rows at least were made in another place too, with the same bits."""
    ends = [line["how"] for line in _rows.read(pages.STARTS)]
    assert sum(how.startswith(("SIGTERM", "SIGKILL")) for how in ends) >= 3
    twice = _rows.read(pages.TWICE)
    assert len(twice) >= 2
    for line in twice:
        row = jaxrf.atlas().find(line["network"], line["layer"], input=line["input"])
        assert (line["hash"], int(line["samples"])) == (line["again"], row.samples)
        assert row.hash == line["hash"]


@pytest.mark.parametrize("network", mostly_slow(["alexnet_v2", "vgg_a", "resnet_v2_50"], ["vgg_a"]))
def test_end_points_are_what_the_networks_have(network):
    """The kept theoretical fields are those that are found anew, and the published ones."""
    kept = [list(line.values()) for line in _rows.read(pages.END_POINTS) if line["network"] == network]
    published = [list(line.values())[:5] for line in _rows.read(pages.PUBLISHED) if line["network"] == network]
    assert pages.end_points([network]) == kept == published


def test_a_plain_stack_has_the_exponent_of_theory():
    """Where sigma grows as the root of the size, the ratio falls with the power -1/2; fields that are cut do not count."""
    row = AtlasRow(network="n", layer="l", input="99x99x3", images="noise", status="done", stride="1x1")
    rows = [replace(row, size=(side, side), sigma=3 * side**0.5) for side in (11, 21, 81)]
    assert growth.exponent(rows) == pytest.approx(-0.5)
    assert growth.exponent([*rows[:2], replace(rows[2], size=(101, 101))]) is None
    flat = replace(row, size=(25, 25), sigma=25 / 12**0.5)
    assert _rows.ratio(flat) == pytest.approx(1)


def test_sigma_is_written_out_right():
    """Of a small asymmetric map, the mean of the two standard deviations."""
    assert by_vjp.sigma(np.array([[1.0, 0, 1.0], [0, 0, 0]])) == pytest.approx(0.5)


def test_rows_are_chosen_from_the_whole_table():
    """Those that are done, on noise, from the first on."""
    rows = [AtlasRow(network=str(n), layer="l", input="1", images="noise", status="done") for n in range(7)]
    assert [row.network for row in by_vjp.chosen(rows, 3)] == ["0", "2", "4"]
    dear, cheap = replace(rows[0], network="vgg19"), replace(rows[0], network="unet")
    assert by_vjp.chosen([dear, cheap], 2, 1e9) == [cheap]
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
