"""`jaxrf tune` from end to end, on a small network."""

from __future__ import annotations

import importlib.util
import json

import pytest

from jaxrf.cli import main
from jaxrf.lowering.choice import choose
from jaxrf.lowering.tuned import tuned_choices

STACK = ["tune", "zoo:conv_stack", "--model-option", "depth=2", "--model-option", "width=4", "--input", "11x13x3"]


@pytest.mark.slow
def test_a_model_is_tuned(tmp_path, capsys):
    """Every convolution of the map is timed in all ways, the file says the quickest."""
    file = tmp_path / "tuning.json"
    assert main([*STACK, "--repeats", "1", "--out", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == str(file)
    # The center unit's 1x1 window grows to 3x3, which is the second convolution to be pulled back through.
    assert any(key.startswith("float32 1x3x3x4 * 3x3x4x3") for key in said["seconds"])
    for key, times in said["seconds"].items():
        assert tuned_choices(str(file), "cpu")[key] == min(times, key=times.get)
        assert {"plain", "scatter"} <= set(times)


def test_the_text_marks_what_is_taken_today(tmp_path, capsys, monkeypatch):
    """One choice per problem is marked; without --out the file is in the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main([*STACK, "--repeats", "1", "--layer", "conv_0"]) == 0
    out = capsys.readouterr().out
    assert out.count("(today)") == sum(line.startswith("float32") for line in out.splitlines()) > 0
    assert f"JAXRF_TUNING={tmp_path}/jaxrf/tuning-cpu.json" in out
    assert (tmp_path / "jaxrf" / "tuning-cpu.json").exists()


def test_typical_layers_need_no_model(tmp_path, capsys, monkeypatch):
    """`jaxrf tune typical` times the built-in set."""
    from jaxrf.lowering import tuning

    few = dict(list(tuning.typical().items())[-2:])
    monkeypatch.setattr(tuning, "typical", lambda: few)
    file = tmp_path / "tuning.json"
    assert main(["tune", "typical", "--repeats", "1", "--out", str(file)]) == 0
    assert set(tuned_choices(str(file), "cpu")) == set(few)
    assert all(choose(problem, "cpu") for problem in few.values())


def test_a_model_without_convolutions_is_explained(tmp_path, capsys):
    """There is nothing to time in a multilayer perceptron."""
    (tmp_path / "dense_only.py").write_text(
        "import flax.linen as nn\ndef make():\n    return nn.Sequential([nn.Dense(3)])\n"
    )
    assert main(["tune", f"{tmp_path}/dense_only.py:make", "--input", "5x7x2"]) == 2
    assert "has no convolutions to time" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--repeats", "0"], ["--units", "middle"]])
def test_options_are_checked(arguments, capsys):
    """What does not parse ends with status 2."""
    assert main([*STACK, *arguments]) == 2
    assert arguments[1] in capsys.readouterr().err


def test_a_tpu_is_asked_ahead(tmp_path, capsys, monkeypatch):
    """Convolutions are those of the TPU's program, costs are what its compiler expects, and the file is for TPUs."""
    from jaxrf.base import chips
    from jaxrf.lowering import tuning

    asked = []

    def expected(chip, function, *arguments):
        asked.append(chip)
        return type("Estimate", (), {"cycles": 3.0 * (100 - len(asked) % 2)})

    monkeypatch.setattr(chips, "device", lambda chip: asked.clear())
    monkeypatch.setattr(tuning, "estimate", expected)
    file = tmp_path / "tpu.json"
    assert main([*STACK, "--platform", "tpu", "--chip", "v6e", "--out", str(file)]) == 0
    assert set(asked) == {"v6e"} and "cycles" in capsys.readouterr().out
    saved = json.loads(file.read_text())
    assert saved["platform"] == "tpu" and saved["device"] == "v6e, estimated by its compiler"
    assert not tuned_choices(str(file), "cpu")
    for key, costs in saved["cycles"].items():
        assert set(costs.values()) == {99.0, 100.0}
        assert tuned_choices(str(file), "tpu")[key] == min(costs, key=costs.get)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--platform", "tpv"], "Unknown platform 'tpv'. Did you mean 'tpu'? Known: 'cpu', 'gpu', 'tpu'"),
        (["--platform", "tpu", "--chip", "v9"], "Unknown TPU 'v9'. Known: 'v5e', 'v5p', 'v6e'"),
        (["--platform", "gpu"], "The compiler of a gpu expects no times. Leave out --platform"),
        (["--chip", "v5e"], "--chip v5e names a chip that is not here. Say --platform tpu too."),
    ],
)
def test_platforms_and_chips_are_checked(arguments, words, capsys):
    """What there is is listed before anything is traced."""
    assert main([*STACK, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_compiler_of_a_tpu_is_asked_for(capsys):
    """Where libtpu is not installed, the message says what to install."""
    if importlib.util.find_spec("libtpu") is not None:
        pytest.skip("libtpu is installed here")
    assert main([*STACK, "--platform", "tpu"]) == 2
    assert "No compiler for v5e is here" in (said := capsys.readouterr().err) and "jaxrf[tpu]" in said
