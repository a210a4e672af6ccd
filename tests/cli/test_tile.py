"""`jaxrf tile` from end to end."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from flax import serialization

from jaxrf import zoo
from jaxrf.cli import main

NET = ["tile", "zoo:unet", "--model-option", "depth=1", "--model-option", "width=2"]


def test_the_plan_is_printed(capsys):
    """Tiles, overlap and waste of a large input, from shapes alone."""
    assert main([*NET, "--input", "1000x64x1", "--tile", "128xwhole"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("9 tiles for 'output': the same as the whole") and "axis 1: whole, 64" in out
    assert main([*NET, "--input", "1000x64x1", "--tile", "128xwhole", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["tiles"] == len(facts["axes"][0]["starts"]) == 9 and facts["axes"][0]["step"] == 2


def test_a_model_runs_on_an_image(tmp_path, capsys):
    """Image and weights from files, the value into one."""
    net = zoo.unet(depth=1, width=2)
    image = np.random.default_rng(0).normal(size=(48, 32, 1)).astype(np.float32)
    variables = net.init(jax.random.key(0), image[None])
    np.save(tmp_path / "image.npy", image)
    (tmp_path / "net.msgpack").write_bytes(serialization.to_bytes(variables))
    paths = [str(tmp_path / name) for name in ("image.npy", "net.msgpack", "out.npy")]
    assert main([*NET, paths[0], "--tile", "32", "--variables", paths[1], "--out", paths[2]]) == 0
    assert "of shape (48, 32, 1)" in capsys.readouterr().out
    np.testing.assert_allclose(np.load(paths[2]), net.apply(variables, image[None])[0], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "64x64x1"], "How large may a tile be"),
        (["--tile", "half"], "is not a size of tiles"),
        (["--tile", "8", "image.npy"], "give IMAGE, --variables and --out"),
        (["--tile", "8", "a.npy", "b.npy"], "Run them one after the other"),
        (["--tile", "4", "--input", "64x64x1"], "tile=4 is too small"),
        (["--tile", "8", "none.npy", "--variables", "x.msgpack", "--out", "y.npy"], "cannot be read as an array"),
    ],
)
def test_errors(arguments, message, capsys):
    assert main([*NET, *arguments]) == 2
    assert message in capsys.readouterr().err
