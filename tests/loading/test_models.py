"""From a reference by text to a model."""

from __future__ import annotations

import functools
import sys
import textwrap

import flax.linen as nn
import pytest
from flax import nnx

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.loading.models import find, load

SOURCE = """
    from __future__ import annotations
    import functools
    from typing import ClassVar
    import flax.linen as nn
    from flax import nnx
    import beside

    class Net(nn.Module):
        kernel: ClassVar[tuple[int, ...]] = (3, 3)  # a string here, which dataclasses resolve in the file's module
        width: int = 4

        @nn.compact
        def __call__(self, x):
            return nn.Conv(self.width, self.kernel)(x)

    class NetX(nnx.Module):
        def __init__(self, width=4, *, rngs):
            self.conv = nnx.Conv(3, width, (3, 3), rngs=rngs)

        def __call__(self, x):
            return self.conv(x)

    net = Net(width=5)
    half = functools.partial(NetX, 3)
    number = 3

    def make(width=6):
        return Net(width)

    def make_needing(width):
        return Net(width)

    def make_number():
        return 3

    def make_broken():
        raise RuntimeError("no weights here")

    def scale(x):
        return beside.factor * x

    class Shelf:
        net = net
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of models that imports another file beside it."""
    (tmp_path / "beside.py").write_text("factor = 2\n")
    path = tmp_path / "some_models.py"
    path.write_text(textwrap.dedent(SOURCE))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield path
    for name in ("beside", "some_models", "jaxrf_file_some_models"):
        sys.modules.pop(name, None)


def test_an_instance_is_the_model(file):
    """An attribute that is a module is returned as it is."""
    assert load(f"{file}:net").model.width == 5


def test_an_attribute_may_be_nested(file):
    """Dots after the colon go into attributes."""
    assert load(f"{file}:Shelf.net").model.width == 5


def test_a_maker_without_required_arguments_is_called(file):
    """A function that needs nothing makes the model, with options if there are some."""
    assert load(f"{file}:make").model.width == 6
    assert load(f"{file}:make", {"width": 7}).model.width == 7


def test_options_reach_a_maker_that_needs_them(file):
    """A function with required arguments is a maker once options are given."""
    assert load(f"{file}:make_needing", {"width": 8}).model.width == 8


def test_a_linen_class_is_made(file):
    """A Linen class is called with the options."""
    model = load(f"{file}:Net", {"width": 2}).model
    assert isinstance(model, nn.Module)
    assert model.width == 2


def test_an_nnx_class_stays_a_class(file):
    """An NNX class is handed on, since its random weights are made from rngs for each seed."""
    assert issubclass(load(f"{file}:NetX").model, nnx.Module)
    model = load(f"{file}:NetX", {"width": 2}).model
    assert isinstance(model, functools.partial)
    assert model(rngs=nnx.Rngs(0)).conv.out_features == 2
    assert load(f"{file}:half").model(rngs=nnx.Rngs(0)).conv.out_features == 3


def test_a_function_of_the_input_is_the_model(file):
    """A function with a required argument does not make a model; what its file imports from beside it works when it runs."""
    assert load(f"{file}:scale").model(3) == 6


def test_a_module_in_the_working_folder_is_found(file, monkeypatch):
    """module:attribute looks in the working folder too."""
    monkeypatch.chdir(file.parent)
    assert load("some_models:net").model.width == 5


def test_the_zoo_knows_its_input_shapes():
    """zoo:NAME builds the architecture with its options and says what its input is."""
    loaded = load("zoo:conv_stack", {"depth": 2})
    assert loaded.model.depth == 2
    assert len(loaded.input_shape) == 3


@pytest.mark.parametrize(
    ("attribute", "options", "error", "message"),
    [
        ("nett", {}, UnknownNameError, "Unknown attribute of .*some_models.py 'nett'.*Did you mean 'net'"),
        ("Shelf.nat", {}, UnknownNameError, "Did you mean 'net'"),
        ("number", {}, InputError, "is of type int"),
        ("make_number", {}, InputError, "returned int"),
        ("make", {"depth": 3}, InputError, "cannot be made from depth=3.*It takes \\(width=6\\)"),
        ("net", {"width": 3}, InputError, "takes no --model-option \\(width\\)"),
    ],
)
def test_wrong_attributes_are_explained(file, attribute, options, error, message):
    """What is not there or makes no model says so."""
    with pytest.raises(error, match=message):
        load(f"{file}:{attribute}", options)


def test_anything_can_be_found(file):
    """A reference leads to whatever it names, model or not."""
    assert find(f"{file}:number") == 3


def test_errors_of_the_users_code_are_their_own(file):
    """What a maker raises arrives unchanged."""
    with pytest.raises(RuntimeError, match="no weights here"):
        load(f"{file}:make_broken")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("resnet50", "'resnet50' is not a model. Write zoo:NAME"),
        ("zoo:", "is not a model"),
        (":net", "is not a model"),
        ("no_such_package.models:net", "There is no module 'no_such_package.models'"),
        ("no/such/file.py:net", "There is no file no/such/file.py"),
    ],
)
def test_wrong_references_are_explained(reference, message):
    """A reference that cannot be followed says which part is wrong."""
    with pytest.raises(InputError, match=message):
        load(reference)


def test_a_mistyped_file_suggests_the_nearest(file):
    """The error for a missing file names the Python files beside it."""
    with pytest.raises(InputError, match=r"Did you mean 'some_models.py'"):
        load(f"{file.parent / 'some_model.py'}:net")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import not_a_package_at_all\n", "failed with ModuleNotFoundError"),
        ("1 / 0\n", "failed with ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_a_file_that_fails_on_import_is_named(tmp_path, monkeypatch, body, message, as_file):
    """An error within the user's module is told apart from a missing module."""
    (tmp_path / "broken_models.py").write_text(body)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"Importing broken_models.*{message}"):
        load("broken_models.py:net" if as_file else "broken_models:net")


@pytest.mark.parametrize(
    ("reference", "what"), [("timm:resnet18", "PyTorch and timm"), ("torch:some.nets:make", "PyTorch")]
)
def test_pytorch_that_is_not_installed_is_named(monkeypatch, reference, what):
    """With what to install, before anything of the user's is imported."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=rf"{reference} needs {what}: .*Run: pip install 'jaxrf\[torch\]'"):
        load(reference)
