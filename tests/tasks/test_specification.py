"""What a sweep is to do: its file, its axes, and what may change between two runs."""

from __future__ import annotations

import os

import pytest

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.loading.sources import source_hash
from jaxrf.sweeps.record import differences
from jaxrf.tasks import Specification, from_dict, read

MODEL = {"source": "zoo:conv_stack", "depth": [2, 3], "width": 4}


def made(**changes) -> Specification:
    return Specification(**{"model": MODEL, "seeds": "0:4", **changes})


def test_a_file_is_the_dataclass(tmp_path):
    """The TOML file, changed by dotted keys, gives what Python's arguments give."""
    file = tmp_path / "a.toml"
    file.write_text('seeds = "0:4"\nlayer = ["conv_0", "conv_1"]\n[model]\nsource = "zoo:conv_stack"\ndepth = 7\n')
    found = read(file, [("model.depth", [2, 3]), ("model.width", 4), ("apply.train", False)])
    assert found == made(layer=["conv_0", "conv_1"], apply={"train": False})


def test_lists_are_axes_and_tasks_their_product():
    """Every combination once, the last axis fastest; a list within a list is one value."""
    sweep = made(layer=["conv_0", "conv_1"], model={**MODEL, "dilation": [[1, 2]]})
    assert list(sweep.axes) == ["model.depth", "model.dilation", "layer"]
    found = [(s["model"]["depth"], s["model"]["dilation"], s["layer"]) for s, _ in sweep.product()]
    assert found == [(d, [1, 2], layer) for d in (2, 3) for layer in ("conv_0", "conv_1")]


@pytest.mark.parametrize(("seeds", "numbers"), [(3, [0, 1, 2]), ("2:4", [2, 3]), ("0:2, 5:6", [0, 1, 5]), (None, None)])
def test_seeds_are_counts_or_ranges(seeds, numbers):
    """A count starts at 0; ranges exclude their ends."""
    found = made(seeds=seeds).seed_numbers
    assert (found if found is None else list(found)) == numbers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": []}, "The axis layer is empty"),
        ({"layer": ["a", "a"]}, "The axis layer holds 'a' twice"),
        ({"seeds": "4:4"}, "'4:4' is not a range"),
        ({"seeds": "5:2"}, "'5:2' is not a range"),
        ({"seeds": "0:4,3:6"}, "'3:6' overlaps or precedes"),
        ({"seeds": "many"}, "'many' is not a range"),
        ({"variables": "a.msgpack"}, "seeds draw random weights, but variables are given"),
        ({"images_per_chunk": 0}, "images_per_chunk = 0 is not a count"),
        ({"model": {"depth": 2}}, 'Write source = "zoo:conv_stack" below'),
        ({"apply": 3}, "apply = 3 is not a table"),
        ({"until": {"measure": "sigma"}}, "names no relative error"),
        ({"until": [0.1, 0.01]}, "is a list, but no axis.*may have another one later"),
        ({"until": 0}, "until=0 is not a relative error"),
        ({"measures": [{"share": 0.5}]}, "has no name"),
    ],
)
def test_what_does_not_fit_is_said(changes, message):
    """A value that makes no sweep is refused when the specification is made."""
    with pytest.raises(InputError, match=message):
        made(**changes)


def test_unknown_names_come_with_the_nearest(tmp_path):
    """Keys of the file, of until, and measures."""
    with pytest.raises(UnknownNameError, match="Unknown key of the sweep 'layers'.*Did you mean 'layer'"):
        from_dict({"model": MODEL, "layers": "a"})
    with pytest.raises(UnknownNameError, match="Unknown key of until 'eror'.*Did you mean 'error'"):
        made(until={"eror": 0.1})
    with pytest.raises(UnknownNameError, match="Did you mean 'sigma'"):
        made(measures=["sigmo"])
    with pytest.raises(InputError, match="none.toml cannot be read"):
        read(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_text("[model\n")
    with pytest.raises(InputError, match="is not TOML"):
        read(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("seeds = 3\n")
    with pytest.raises(InputError, match="seeds is 3, not a table"):
        read(tmp_path / "a.toml", [("seeds.first", 1)])
    with pytest.raises(InputError, match="names no model"):
        read(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, []),
        ({"seeds": "0:9"}, []),
        ({"seeds": "2:9"}, ["seeds: '0:4' there, '2:9' now"]),
        ({"model": {**MODEL, "depth": [3, 5, 2]}}, []),
        ({"model": {**MODEL, "depth": [3, 5]}}, ["model.depth: [2, 3] there, [3, 5] now"]),
        ({"model": {**MODEL, "width": [4, 8]}}, []),
        ({"model": {**MODEL, "stride": 1}}, ["model.stride: absent there, 1 now"]),
        ({"score": ["square", "abs"]}, []),
        ({"score": "abs"}, ["score: 'square' there, 'abs' now"]),
        ({"name": "other", "measures": ["sigma"], "until": 0.1}, []),
    ],
)
def test_only_more_of_the_same_goes_on(changes, lines):
    """More seeds and more values on axes extend a sweep; each other change is a line of the difference."""
    facts = {"environment": {}, "hashes": {}}
    found = [{"specification": one.to_dict(), **facts} for one in (made(), made(**changes))]
    assert differences(*found) == lines


def test_ids_tell_what_changes_numbers_and_nothing_else():
    """Seeds, the stopping rule, measures and names are not in an id; all else is."""
    first = [task.id for task in made().tasks()]
    assert len(set(first)) == 2
    same = made(seeds="0:99", until=0.1, measures=["coverage"], name="x")
    assert [task.id for task in same.tasks()] == first
    for change in ({"layer": "conv_0"}, {"inputs": "noise:1:3"}, {"precision": "default"}, {"images_per_chunk": 2}):
        assert not set(first) & {task.id for task in made(**change).tasks()}


def test_ids_do_not_depend_on_the_way_to_a_task():
    """A value on an axis and the same value alone name the same task."""
    alone = made(model={**MODEL, "depth": 3}).tasks()[0]
    assert alone.id == made().tasks()[1].id


def test_precision_of_jax_is_in_the_id():
    """The 64-bit switch changes ids."""
    import jax

    before = made().tasks()[0].id
    with jax.enable_x64(True):
        assert made().tasks()[0].id != before


def test_flags_of_xla_are_in_the_id(monkeypatch):
    """Flags that may change numbers change ids; those that only spread the work do not."""
    before = made().tasks()[0].id
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert made().tasks()[0].id == before
    monkeypatch.setenv("XLA_FLAGS", f"{flags} --xla_cpu_enable_fast_math=true")
    assert made().tasks()[0].id != before


def test_sources_of_a_model_are_hashed_without_running_them(tmp_path):
    """The module and what it imports from beside it count; other files do not, and nothing is executed."""
    (tmp_path / "net.py").write_text("import numpy\nfrom parts import Block\nraise SystemExit\n")
    (tmp_path / "parts.py").write_text("Block = 1\n")
    (tmp_path / "other.py").write_text("")
    reference = f"{tmp_path}/net.py:Net"
    first = source_hash(reference)
    (tmp_path / "other.py").write_text("changed = True\n")
    assert source_hash(reference) == first
    (tmp_path / "parts.py").write_text("Block = 2\n")
    assert source_hash(reference) != first


def test_sources_of_packages_follow_relative_imports(tmp_path, monkeypatch):
    """A module of a package in the working folder counts with its siblings and its package's own file."""
    package = tmp_path / "nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "big.py").write_text("from .parts import Block\nfrom . import extra\n")
    (package / "parts.py").write_text("")
    (package / "extra.py").write_text("")
    monkeypatch.chdir(tmp_path)
    hashes = {source_hash("nets.big:Net")}
    for name in ("parts", "extra", "big"):
        (package / f"{name}.py").write_text((package / f"{name}.py").read_text() + "# more\n")
        hashes.add(source_hash("nets.big:Net"))
    assert len(hashes) == 4


def test_sources_that_are_not_there_are_named(tmp_path):
    """A missing file, a missing module, a file that is not Python, and text that names nothing."""
    with pytest.raises(InputError, match="There is no file .*none.py"):
        source_hash(f"{tmp_path}/none.py:Net")
    with pytest.raises(InputError, match="There is no module 'no_such_module'"):
        source_hash("no_such_module:Net")
    with pytest.raises(InputError, match="'conv_stack' is not a model"):
        source_hash("conv_stack")
    (tmp_path / "bad.py").write_text("def (")
    with pytest.raises(InputError, match="bad.py is not Python"):
        source_hash(f"{tmp_path}/bad.py:Net")


def test_missing_files_are_said_before_anything_runs(tmp_path):
    """Inputs and variables that are not there, and inputs that are no text."""
    with pytest.raises(InputError, match="is neither noise:COUNT, nor a file or folder"):
        made(inputs=str(tmp_path / "none")).tasks()
    with pytest.raises(InputError, match="There are no variables at"):
        made(seeds=None, variables=str(tmp_path / "none")).tasks()
    with pytest.raises(InputError, match="gs://bucket/run is not on this machine.*Copy them first"):
        made(seeds=None, variables="gs://bucket/run").tasks()
    with pytest.raises(InputError, match="inputs = 3 is not text"):
        made(inputs=3).tasks()
