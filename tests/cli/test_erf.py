"""`jaxrf erf` and `jaxrf demo` from end to end, on small networks."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys

import flax.linen as nn
import flax.serialization
import jax
import numpy as np
import pytest
from PIL import Image

import jaxrf
from jaxrf import zoo
from jaxrf.cli import demo, main
from tests.cli.mistakes import assert_explained

STACK = ["erf", "zoo:conv_stack", "--model-option", "depth=2", "--model-option", "width=4", "--input", "11x13x3"]


@pytest.fixture
def photo(tmp_path):
    file = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 20, 3)).astype(np.uint8)).save(file)
    return str(file)


def test_the_text_names_layer_sizes_and_ratio(capsys):
    """The summary says how many samples were averaged and the theoretical size."""
    assert main([*STACK, "--layer", "conv_1", "--seeds", "3"]) == 0
    out = capsys.readouterr().out
    assert "layer conv_1, 1 unit(s), the first is (5, 6); 3 sample(s)" in out
    assert "theoretical size  5 x 5 input positions" in out


def test_json_counts_units_and_samples(capsys):
    """Seeds times noise images are the samples; a grid gives its number of units."""
    assert main([*STACK, "--seeds", "2", "--noise", "3", "--units", "grid:2x3", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["units"], facts["samples"], facts["dead"]) == (6, 6, 0)
    assert facts["written"] == []
    assert 0 < facts["area_ratio_50"] < facts["area_ratio_95"] <= 25 / 143 * 1.01


def test_a_unit_without_a_center_has_no_area_ratio(capsys, tmp_path, monkeypatch):
    """Behind global pooling the text says why, and the JSON holds null."""
    (tmp_path / "pooled.py").write_text("def mean(x):\n    return (x**2).mean((1, 2))\n")
    monkeypatch.chdir(tmp_path)
    assert main(["erf", "pooled.py:mean", "--input", "5x7x1"]) == 0
    assert "area ratio        not defined: a unit has no center" in capsys.readouterr().out
    assert main(["erf", "pooled.py:mean", "--input", "5x7x1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["area_ratio_50"] is None


def test_photos_are_the_inputs_and_the_result_is_saved(photo, tmp_path, capsys):
    """The Zarr group in --out is the result, the figure is a picture, and run.json tells the options."""
    out, figure = tmp_path / "run", tmp_path / "figures" / "erf.png"
    flags = ["--units", "5,6;2,3", "--out", str(out), "--plot", str(figure), "--seeds", "2"]
    assert main([*STACK, photo, *flags]) == 0
    result = jaxrf.load(out / "erf.zarr")
    assert result.units.tolist() == [[5, 6], [2, 3]]
    assert result.count == 2
    assert Image.open(figure).size[0] > 300
    assert json.loads((out / "run.json").read_text())["options"]["photos"] == [photo]
    assert str(out / "erf.zarr") in capsys.readouterr().out
    assert main([*STACK, photo, *flags]) == 2
    assert "holds an earlier run. Add --overwrite" in capsys.readouterr().err
    assert main([*STACK, photo, *flags, "--overwrite"]) == 0


def test_the_photo_changes_the_map(photo, tmp_path):
    """A ReLU network's map on a photo differs from that on noise, and on other noise, with the same weights; it repeats."""
    maps = []
    for i, inputs in enumerate([[photo], ["--noise", "1"], ["--noise", "1", "--noise-seed", "7"], [photo]]):
        assert main([*STACK, *inputs, "--out", str(tmp_path / str(i))]) == 0
        maps.append(jaxrf.load(tmp_path / str(i) / "erf.zarr").mean)
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(maps[:3], 2))
    np.testing.assert_array_equal(maps[0], maps[3])


def test_statistics_are_those_that_were_asked_for(tmp_path):
    """The flags arrive in the result: its average, its estimator, its initializers, and where it stopped."""
    flags = ["--until", "total=0.2", "--average", "normalized", "--estimator", "sign_averaged"]
    assert main([*STACK, *flags, "--init", "*/kernel=orthogonal", "--out", str(tmp_path / "a")]) == 0
    result = jaxrf.load(tmp_path / "a" / "erf.zarr")
    assert (result.average, result.count) == ("normalized", 32)
    assert result.provenance["estimator"]["name"] == "sign_averaged"
    assert result.provenance["init"] == {"*/kernel": "orthogonal"}


def test_a_protocol_fixes_what_was_not_said(tmp_path):
    """Channels and score are the protocol's."""
    assert main([*STACK, "--protocol", "luo2016", "--out", str(tmp_path / "a")]) == 0
    result = jaxrf.load(tmp_path / "a" / "erf.zarr")
    assert (result.channels, result.score, result.provenance["protocol"]) == (0, "abs", "luo2016")


def test_variables_come_from_a_file(tmp_path, capsys):
    """With --variables the map is that of the saved weights: a kernel with one tap sees one position."""
    (tmp_path / "one_tap.py").write_text(
        "import flax.linen as nn\n\n\nclass Net(nn.Module):\n"
        "    @nn.compact\n    def __call__(self, x):\n        return nn.Conv(2, (3, 3), name='conv')(x)\n"
    )
    variables = nn.Conv(2, (3, 3)).init(jax.random.key(0), np.zeros((1, 11, 13, 3)))["params"]
    kernel = np.zeros((3, 3, 3, 2), np.float32)
    kernel[1, 1, :, 0] = 1
    saved = {"params": {"conv": {"kernel": kernel, "bias": np.asarray(variables["bias"])}}}
    (tmp_path / "weights.msgpack").write_bytes(flax.serialization.to_bytes(saved))
    flags = ["--input", "11x13x3", "--variables", str(tmp_path / "weights.msgpack"), "--json"]
    assert main(["erf", f"{tmp_path / 'one_tap.py'}:Net", *flags]) == 0
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert printed.err == ""
    assert facts["theoretical_size"] == [3, 3]
    assert facts["effective_size"] == pytest.approx(1, abs=0.5)


@pytest.mark.slow
def test_a_checkpoint_of_orbax_is_read_in_silence(tmp_path):
    """Standard error is empty, down to the warnings of the libraries that read it."""
    from orbax.checkpoint import StandardCheckpointer

    with StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "saved", zoo.conv_stack(depth=1).init(jax.random.key(0), np.zeros((1, 9, 9, 3))))
    flags = ["--model-option", "depth=1", "--input", "9x9x3", "--noise", "1", "--variables", str(tmp_path / "saved")]
    command = [sys.executable, "-m", "jaxrf", "erf", "zoo:conv_stack", *flags]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stderr == "" and "theoretical size" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.png"], "There is no photo at no.png"),
        (["no.png", "--noise", "2"], "Photos and --noise were both given"),
        (["--seeds", "2", "--variables", "w.msgpack"], "Choose one"),
        (["--variables", "w.msgpack"], "There are no variables at w.msgpack"),
        (["--layer", "conv9"], "Unknown layer 'conv9'.*Did you mean"),
        (["--units", "50,50"], "outside"),
        (["--score", "sqare"], "Unknown score 'sqare'.*Did you mean 'square'"),
        (["--channels", "prob"], "prob"),
        (["--average", "weigthed"], "Unknown average 'weigthed'.*Did you mean 'weighted'"),
        (["--until", "sgima=0.1"], "Unknown measure 'sgima'.*Did you mean 'sigma'"),
        (["--init", "*/kernel=ortogonal"], "Unknown initializer 'ortogonal'.*Did you mean 'orthogonal'"),
        (["--init", "*/kernl=orthogonal"], "Unknown pattern of parameters '.*kernl'.*conv_0/kernel"),
        (["--protocol", "luo2015"], "Unknown protocol 'luo2015'.*Did you mean 'luo2016'"),
        (["--protocol", "luo2016", "--channels", "probe"], "fixes channels=0, and channels='probe' was given"),
        (["--protocol", "luo2016", "--units", "all"], "fixes units='center', and units='all' was given"),
        (["--estimator", "sign_average"], "Unknown estimator 'sign_average'.*Did you mean 'sign_averaged'"),
    ],
)
def test_what_does_not_fit_is_explained(arguments, message, capsys):
    """Each mistake ends with status 2 and a sentence on stderr."""
    assert_explained([*STACK, *arguments], message, capsys)


def test_a_foreign_folder_is_refused_before_the_work(tmp_path, capsys, monkeypatch):
    """--out with somebody else's files stops before any map is computed."""
    (tmp_path / "thesis.tex").write_text("")
    monkeypatch.setattr("jaxrf.cli.erf.Erf._map", lambda *_: pytest.fail("a map was computed"))
    assert main([*STACK, "--out", str(tmp_path)]) == 2
    assert "was not written by jaxrf: it holds thesis.tex" in capsys.readouterr().err


def test_photos_need_a_model_of_photos(photo, capsys):
    """Another number of channels than three is said before the model is run."""
    assert main(["erf", "zoo:conv_stack", photo, "--input", "11x13x4"]) == 2
    assert (
        r"Photos are inputs of the shape (y, x, 3) or (3, y, x), and this model's is (11, 13, 4)"
        in capsys.readouterr().err
    )


def test_an_unknown_figure_format_is_named(tmp_path, capsys):
    """A suffix that matplotlib does not know is said by name."""
    assert main([*STACK, "--plot", str(tmp_path / "map.xyz")]) == 2
    assert re.search(r"cannot be saved as .*map.xyz", capsys.readouterr().err)


@pytest.mark.slow
def test_the_demo_writes_tables_maps_and_pictures(tmp_path, monkeypatch, capsys):
    """The demo, small and with two seeds, writes both maps and a figure of each, and may run again."""
    monkeypatch.setattr(demo, "SIZE", (64, 64))
    for _ in range(2):
        assert main(["demo", "--seeds", "2", "--out", str(tmp_path / "demo"), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
    assert [one["layer"] for one in facts["maps"]][1] == "layer2"
    assert [one["samples"] for one in facts["maps"]] == [2, 2]
    sizes = {row["layer"]: row["size"] for row in facts["table"]}
    assert sizes["layer4"] == [427, 427]
    for name in ("output", "layer2"):
        assert jaxrf.load(tmp_path / "demo" / f"{name}.zarr").count == 2
        assert Image.open(tmp_path / "demo" / f"{name}.png").size[0] > 300


def test_scores_by_distance_are_printed(capsys):
    """--by-distance prints a line for each ring, and JSON holds the profile."""
    assert main([*STACK, "--seeds", "2", "--by-distance", "chebyshev"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "chebyshev distance  mean score" in lines and any(line.startswith("  law: ") for line in lines)
    assert main([*STACK, "--seeds", "2", "--by-distance", "chebyshev", "--json"]) == 0
    profile = json.loads(capsys.readouterr().out)["by_distance"]
    assert profile["distance"] == [0, 1, 2] and all(mean > 0 for mean in profile["mean"])


def test_physical_units_are_printed_beside_positions(capsys):
    """--spacing gives sizes and distances in the unit too."""
    command = [*STACK, "--by-distance", "euclidean", "--spacing", "0.5", "--spacing-unit", "um"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "theoretical size in um  [2.5, 2.5]" in lines and any("mean distance in um" in line for line in lines)
    assert main([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["theoretical_size_in_um"] == [2.5, 2.5]
    assert facts["effective_size_in_um"] == facts["effective_size"] / 2
    assert facts["by_distance"]["distance_in_um"] == [0, 0.5, 1, 1.5]
