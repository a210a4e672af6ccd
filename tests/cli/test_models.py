"""Commands on models: what is missing is said."""

from __future__ import annotations

from jaxrf.cli import main


def test_an_unknown_zoo_name_suggests_the_nearest(capsys):
    """The command ends with status 2 and names the nearest architecture."""
    assert main(["trf", "zoo:resnet5O"]) == 2
    assert "Unknown zoo model 'resnet5O'" in capsys.readouterr().err


def test_a_model_without_a_known_input_needs_its_shape(tmp_path, capsys):
    """Outside of the zoo --input is needed."""
    (tmp_path / "doubling.py").write_text("def net(x):\n    return 2 * x\n")
    assert main(["trf", f"{tmp_path / 'doubling.py'}:net"]) == 2
    assert "Give its shape, as --input 224x224x3" in capsys.readouterr().err
