"""Networks of PyTorch on the command line; left out where torch, or timm, is not installed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from jaxrf.cli import main

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'jaxrf[torch]')")
SOURCE = """
from torch import nn

def make(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 2, 3, padding=1))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "nets_of_torch.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_table_of_a_file(folder, capsys):
    """A reference after torch:, with an option for the maker."""
    assert (
        main(["trf", "torch:nets_of_torch.py:make", "--input", "3x15x17", "--model-option", "width=5", "--json"]) == 0
    )
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert (rows["3"]["size"], rows["3"]["stride"], rows["0"]["shape"]) == ([7, 7], [2, 2], [5, 8, 9])


def test_maps_with_trained_and_with_random_weights(folder, capsys):
    """A state_dict by --variables, as a photo sees it; without one, seeds draw from PyTorch."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("nets", folder / "nets_of_torch.py")
    nets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nets)
    torch.save(nets.make().state_dict(), folder / "weights.pth")
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "photo.png")
    model = ["erf", "torch:nets_of_torch.py:make", "--input", "3x15x17", "--json"]
    assert main([*model, "photo.png", "--variables", "weights.pth", "--layer", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["theoretical_size"] == [3, 3]
    assert main([*model, "--seeds", "2", "--layer", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 2
    assert main([*model, "--variables", "weights.pth", "--model-option", "width=5"]) == 2
    assert "are not those of this model: 0.bias is (4,), and (5,) is needed" in capsys.readouterr().err


def test_photos_are_prepared_as_timm_says():
    """Crop, mean and interpolation of the weights that a name of timm stands for."""
    pytest.importorskip("timm")
    from jaxrf.loading.models import load

    loaded = load("timm:vit_tiny_patch16_224")
    how = loaded.preprocessing
    assert loaded.input_shape == (3, 224, 224)
    assert (how.size, how.crop, how.mean, how.bicubic) == ((224, 224), 0.9, (0.5, 0.5, 0.5), True)


@pytest.mark.slow
def test_networks_of_timm_by_name(capsys):
    """The table at another size, a map, and the nearest name."""
    pytest.importorskip("timm")
    assert main(["trf", "timm:resnet18", "--input", "3x64x64", "--layer", "layer1"]) == 0
    assert "(43, 43)" in capsys.readouterr().out
    assert main(["erf", "timm:resnet18", "--input", "3x64x64", "--layer", "layer1", "--seeds", "1"]) == 0
    assert "theoretical size  43 x 43" in capsys.readouterr().out
    assert main(["trf", "timm:resnet81"]) == 2
    assert "Unknown model of timm 'resnet81'" in capsys.readouterr().err
