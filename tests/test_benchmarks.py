"""The benchmarks run, once and small; their PyTorch networks are those of the zoo."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrf import zoo

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = {
    "accelerators.py": ["--jobs", "E", "--chips", "v5e"],
    "coverage.py": ["--measures", "sigma,smallest_area,band"],
    "device.py": ["--jobs", "E", "--precision", "highest"],
    "engine.py": ["--jobs", "B,E,G"],
    "first_map.py": ["--jobs", "U-Net"],
    "geometry.py": ["--tables", "depth,paths"],
    "memory.py": ["--cases", "volume"],
    "pods.py": ["--cases", "units"],
    "scaling.py": ["--tables", "depth,devices"],
    "sweep.py": ["--tables", "throughput,processes,blocks"],
}
"""What of each script a test has the time for; all of a script that is not named."""


def run(script: str, *arguments: str) -> str:
    """What a script prints; it must succeed."""
    command = [sys.executable, str(FOLDER / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def helpers(monkeypatch):
    """The folder of the benchmarks, so that their shared modules can be imported."""
    monkeypatch.syspath_prepend(FOLDER)


@pytest.mark.slow
@pytest.mark.parametrize("script", [f.name for f in sorted(FOLDER.glob("[!_]*.py")) if f.name != "table.py"])
def test_a_benchmark_runs_and_writes_its_rows(script, tmp_path):
    """Small sizes go through the whole script: maps agree, every row has its columns, the page shows them."""
    if script in ("accelerators.py", "fitting.py", "pods.py") and importlib.util.find_spec("libtpu") is None:
        pytest.skip("the compiler of TPUs is not installed here (extra `tpu`); `make bench-tpu` runs this script")
    file = tmp_path / f"{Path(script).stem}.json"
    run(script, "--small", "--repeats", "1", "--out", str(file), *SCRIPTS.get(script, []))
    content = json.loads(file.read_text())
    assert content["small"] is True
    for row in content["tables"].get("Maps", {}).values():
        assert all(worst < 1e-5 for _, worst in row["details"]["relative errors"].values())
    for row in content["tables"].get("memory", {}).values():
        assert row["columns"]["of the limit"] < 1
    page = tmp_path / "README.md"
    page.write_text((FOLDER / "README.md").read_text())
    run("table.py", "--results", str(tmp_path), "--page", str(page))
    for title, rows in content["tables"].items():
        assert f"| {title} |" in page.read_text()
        assert all(f"| {row} |" in page.read_text() for row in rows)


@pytest.mark.slow
def test_maps_of_all_candidates_agree_in_double_precision():
    """jaxrf, plain JAX and, where it is installed, PyTorch give the same maps to rounding, which flips no ReLU here."""
    printed = run("engine.py", "--small", "--double", "--jobs", "D,F")
    compared = 1 + (importlib.util.find_spec("torch") is not None)
    assert printed.count("of maps against naive JAX") + printed.count("of maps against PyTorch") == 2 * compared


@pytest.mark.slow
def test_a_rerun_keeps_the_rows_that_it_does_not_measure(tmp_path):
    """Rows of one table from two runs stand in one file."""
    file = tmp_path / "scaling.json"
    for table in ("depth", "seeds"):
        run("scaling.py", "--small", "--repeats", "1", "--out", str(file), "--tables", table)
    assert list(json.loads(file.read_text())["tables"]) == ["depth", "seeds"]


@pytest.mark.slow
def test_unknown_jobs_and_tables_are_named(tmp_path):
    """A wrong letter or name ends the script before anything is measured, and says what there is."""
    for script, option, words in (
        ("engine.py", "--jobs", "names none of the jobs A to G"),
        ("scaling.py", "--tables", "no table 'X'; there are units, image size"),
        ("accelerators.py", "--chips", "Unknown chip 'X'. Known: 'h100', 'v5e', 'v5p', 'v6e'"),
    ):
        command = [sys.executable, str(FOLDER / script), option, "X"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and words in done.stderr


def test_a_result_file_without_a_place_in_the_page_is_refused(helpers):
    """The table of a new script is not dropped in silence."""
    from table import fill

    with pytest.raises(ValueError, match="no place for new: add <!-- new -->"):
        fill("<!-- engine -->\n<!-- end engine -->\n", "new", "rows")
    assert fill("a\n<!-- x -->\nold\n<!-- end x -->\nb\n", "x", "rows") == "a\n<!-- x -->\nrows\n<!-- end x -->\nb\n"


@pytest.mark.parametrize(("value", "words"), [(1234.7, "1235"), (0.012345, "0.0123"), (0.0, "0"), (7, "7"), (None, "")])
def test_numbers_are_shown_with_three_digits(value, words, helpers):
    """Floats get three significant digits, large ones all before the point; integers stay, None is empty."""
    from _common import shown

    assert shown(value) == words


def test_maps_are_laid_into_the_image_at_their_origins(helpers):
    """What of a unit-centered map leaves the image on any side is dropped."""
    from _common import whole_maps

    maps = np.arange(1.0, 13.0).reshape(2, 2, 3)
    placed = whole_maps(maps, np.array([[-1, -2], [1, 3]]), (3, 5))
    assert placed[0].tolist() == [[6, 0, 0, 0, 0], [0] * 5, [0] * 5]
    assert placed[1].tolist() == [[0] * 5, [0, 0, 0, 7, 8], [0, 0, 0, 10, 11]]


def test_relative_errors_are_per_map_and_infinite_where_nothing_was_wanted(helpers):
    """A map that is zero on both sides agrees; one that is zero only in the reference does not."""
    from _common import relative_errors

    wanted = np.array([[[3.0, 4.0]], [[0.0, 0.0]], [[0.0, 0.0]]])
    found = np.array([[[3.0, 4.5]], [[0.0, 0.0]], [[0.0, 1.0]]])
    assert relative_errors(found, wanted).tolist() == [0.1, 0.0, np.inf]


NETWORKS = {
    "resnet": (zoo.resnet50(stages=2, width=4), {"stages": 2, "width": 4}, (34, 38, 3)),
    "mobilenet_v2": (zoo.mobilenet_v2(width=0.125), {"width": 0.125}, (34, 38, 3)),
    "convnext_tiny": (zoo.convnext_tiny(layer_scale=1.0, stages=2), {"stages": 2}, (24, 32, 3)),
    "conv_stack": (zoo.conv_stack(depth=3, width=4), {"depth": 3, "width": 4}, (5, 7, 3)),
    "UNet": (zoo.unet(depth=2, width=4), {"depth": 2, "width": 4}, (8, 12, 1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pytorch_network_computes_what_the_zoo_computes(name, helpers):
    """With the Flax weights, all of them off their initial values, both give the same map."""
    torch = pytest.importorskip("torch")
    import _torch_models

    model, options, shape = NETWORKS[name]
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, *shape)).astype(np.float32)
    drawn = jax.tree.map(np.asarray, jax.jit(model.init)(jax.random.key(0), images))
    moved = jax.tree.map(lambda a: a + 0.1 * rng.uniform(size=a.shape).astype(np.float32), drawn)
    network = _torch_models.load_flax(getattr(_torch_models, name)(**options), moved)
    theirs = network(torch.tensor(images.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    ours = np.asarray(jax.jit(model.apply)(moved, images))
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4 * np.abs(ours).max())


def test_a_weight_that_flax_does_not_have_is_named(helpers):
    """A network that is not the same one is not loaded half."""
    pytest.importorskip("torch")
    import _torch_models

    model = zoo.conv_stack(depth=1, width=4)
    variables = model.init(jax.random.key(0), np.zeros((1, 5, 7, 3), np.float32))
    with pytest.raises(ValueError, match="No value for \\['conv_1.weight'\\]"):
        _torch_models.load_flax(_torch_models.conv_stack(depth=2, width=4), variables)
