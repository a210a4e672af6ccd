"""Records on disk: what is refused, what is noticed, and that a place holds all of a record or nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jaxrf import store
from jaxrf.errors import StoreError
from jaxrf.store import record as records
from jaxrf.store import text_axis, zarr_group

NAMES = ["r.zarr", "r.npz", "r.nc"]


def record_of(value: float = 1.0, **header) -> store.Record:
    values = np.arange(70.0).reshape(2, 5, 7) * value
    return store.Record(
        {
            "mean": store.Variable(("unit", "y", "x"), values),
            "units": store.Variable(("unit", "axis"), np.array([[-1, 2], [3, 4]])),
        },
        {"score": "square", **header},
    )


@pytest.mark.parametrize("name", NAMES)
def test_round_trip(tmp_path, name):
    """Arrays, axes and header come back as they were."""
    again = store.load(store.save(tmp_path / name, record_of(nested={"a": [1, None, "x"]})))
    for key, variable in record_of().variables.items():
        assert again.variables[key].axes == variable.axes
        np.testing.assert_array_equal(again.variables[key].data, variable.data)
        assert again.variables[key].data.dtype == variable.data.dtype
    assert again.header == {"score": "square", "nested": {"a": [1, None, "x"]}}


@pytest.mark.parametrize("name", NAMES)
def test_ours_is_replaced_only_when_asked(tmp_path, name):
    """A second save is refused, with overwrite=True it replaces the first, and nothing is left beside it."""
    path = store.save(tmp_path / name, record_of(1.0))
    with pytest.raises(StoreError, match=r"already holds a jaxrf result. Pass overwrite=True"):
        store.save(path, record_of(2.0))
    store.save(path, record_of(2.0), overwrite=True)
    assert store.load(path).variables["mean"].data.max() == 138
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_folder_is_never_touched(tmp_path, overwrite):
    """A folder with other things is refused with what is in it, with overwrite too."""
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.tex").write_text("words")
    with pytest.raises(StoreError, match=r"not a jaxrf result alone: it is a folder with 'chapter1.tex'"):
        store.save(folder, record_of(), overwrite)
    assert (folder / "chapter1.tex").read_text() == "words"


def test_a_result_with_something_else_in_its_folder_is_kept(tmp_path):
    """Notes that somebody put beside the arrays are not deleted by overwrite=True."""
    path = store.save(tmp_path / "r.zarr", record_of())
    (path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"'mean', 'notes.txt', 'units', 'zarr.json'"):
        store.save(path, record_of(), overwrite=True)
    assert store.load(path).header == {"score": "square"}


@pytest.mark.parametrize("name", ["r.npz", "r.nc", "plain"])
def test_a_foreign_file_is_never_touched(tmp_path, name):
    """A file of another kind under that name is refused."""
    (tmp_path / name).write_text("hello")
    with pytest.raises(StoreError, match="not a jaxrf result alone: it is a file of 5 bytes"):
        store.save(tmp_path / name, record_of(), overwrite=True)
    assert (tmp_path / name).read_text() == "hello"


def test_an_empty_folder_is_free(tmp_path):
    """A folder with nothing in it may become the group."""
    (tmp_path / "r").mkdir()
    assert store.load(store.save(tmp_path / "r", record_of())).header == {"score": "square"}


@pytest.mark.parametrize("name", NAMES)
def test_a_write_that_fails_leaves_the_old_one(tmp_path, name, monkeypatch):
    """When the disk refuses half way, the result that was there stays whole, and no partial file does."""
    path = store.save(tmp_path / name, record_of())

    def refuse(self: Path, target):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreError, match=r"Could not write .*No space left on device"):
        store.save(path, record_of(2.0), overwrite=True)
    monkeypatch.undo()
    assert store.load(path).variables["mean"].data.max() == 69
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_folder_that_has_stepped_aside_comes_back(tmp_path, monkeypatch):
    """When the new folder cannot take the place that the old one has left, the old one takes it again."""
    path = store.save(tmp_path / "r.zarr", record_of())
    rename = Path.rename

    def refuse(self: Path, target):
        if self.name.endswith(".partial"):
            assert not path.exists()
            raise OSError("Stale file handle")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreError, match=r"Could not write .*Stale file handle"):
        store.save(path, record_of(2.0), overwrite=True)
    monkeypatch.undo()
    assert store.load(path).variables["mean"].data.max() == 69
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.zarr"]


def test_headers_that_json_cannot_hold(tmp_path):
    """The entry is named, and nothing is written."""
    with pytest.raises(StoreError, match=r"'plan\.step\[1\]' is of type object"):
        store.save(tmp_path / "r", record_of(plan={"step": [1, object()]}))
    with pytest.raises(StoreError, match="'scale' is nan, which JSON cannot hold"):
        store.save(tmp_path / "r.npz", record_of(scale=float("nan")))
    assert list(tmp_path.iterdir()) == []


def test_numpy_values_in_headers_are_plain(tmp_path):
    """NumPy numbers, arrays, tuples and paths are written as JSON's own types."""
    given = record_of(a=np.int64(3), b=np.array([1.5]), c=(1, 2), d=Path("x"), e=True)
    again = store.load(store.save(tmp_path / "r", given)).header
    assert again == {"score": "square", "a": 3, "b": [1.5], "c": [1, 2], "d": "x", "e": True}


def test_loading_nothing_and_foreign(tmp_path):
    """Missing paths, other files, other folders and other npz files are told apart."""
    with pytest.raises(StoreError, match="There is nothing at"):
        store.load(tmp_path / "none.zarr")
    (tmp_path / "photo.png").write_bytes(b"png")
    with pytest.raises(StoreError, match=r"is a file, but not one ending in .npz or .nc"):
        store.load(tmp_path / "photo.png")
    with pytest.raises(StoreError, match=r"there is no zarr.json"):
        store.load(tmp_path)
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(StoreError, match="its header has no format 'jaxrf-result'"):
        store.load(tmp_path / "other.npz")
    xarray = pytest.importorskip("xarray")
    xarray.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="scipy")
    with pytest.raises(StoreError, match="its header has no format 'jaxrf-result'"):
        store.load(tmp_path / "other.nc")


@pytest.mark.parametrize("name", ["r.npz", "r.nc"])
@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_damaged_files(tmp_path, name, damage):
    """Half of a file and a file of noise are called damaged."""
    path = store.save(tmp_path / name, record_of())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"noise" * 20)
    with pytest.raises(StoreError, match="is damaged"):
        store.load(path)


@pytest.mark.parametrize("damage", ["flip", "lose chunk", "lose array", "json"])
def test_damaged_groups(tmp_path, damage):
    """A changed byte, a lost chunk, a lost array and broken JSON are all noticed, and the array is named."""
    path = store.save(tmp_path / "r.zarr", record_of())
    chunk = path / "mean" / "c" / "0" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        chunk.write_bytes(content)
    elif damage == "lose chunk":
        chunk.unlink()
    elif damage == "lose array":
        (path / "mean" / "zarr.json").unlink()
    else:
        (path / "zarr.json").write_text("{")
    with pytest.raises(
        StoreError, match=r"zarr.json cannot be read" if damage == "json" else "its array 'mean' cannot"
    ):
        store.load(path)


@pytest.mark.parametrize("later", [1, 6])
@pytest.mark.parametrize("name", NAMES)
def test_newer_schema(tmp_path, name, later, monkeypatch):
    """A result of a later version, be it the next, says which version it is and what to do; one of this version is read."""
    own = records.SCHEMA_VERSION
    monkeypatch.setattr(records, "SCHEMA_VERSION", own + later)
    path = store.save(tmp_path / name, record_of())
    assert store.load(path).header == {"score": "square"}
    monkeypatch.undo()
    with pytest.raises(
        StoreError, match=f"has schema version {own + later}, but this jaxrf reads versions up to {own}"
    ):
        store.load(path)


def test_header_without_its_list(tmp_path):
    """A header that lost its list of arrays is damage."""
    path = store.save(tmp_path / "r.zarr", record_of())
    group = json.loads((path / "zarr.json").read_text())
    del group["attributes"]["arrays"]
    (path / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(StoreError, match="no schema version or no list of arrays"):
        store.load(path)


def test_chunks_hold_whole_maps(tmp_path, monkeypatch):
    """Large results are split over units only, and come back in order."""
    monkeypatch.setattr(zarr_group, "CHUNK_BYTES", 2 * 5 * 7 * 8)
    values = np.random.default_rng(0).random((5, 5, 7))
    given = store.Record({"mean": store.Variable(("unit", "y", "x"), values)}, {})
    path = store.save(tmp_path / "r.zarr", given)
    assert sorted(entry.name for entry in (path / "mean" / "c").iterdir()) == ["0", "1", "2"]
    np.testing.assert_array_equal(store.load(path).variables["mean"].data, values)


def test_without_xarray(tmp_path, monkeypatch):
    """NetCDF without xarray says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "xarray", None)
    with pytest.raises(StoreError, match=r"pip install 'jaxrf\[xarray\]'"):
        store.save(tmp_path / "r.nc", record_of())


def test_labels_are_counted_in_bytes(tmp_path):
    """Labels of an axis that are not ASCII, and empty ones, are read by zarr as they were written."""
    zarr = pytest.importorskip("zarr")
    labels = ["relu", "größe", "", "ξ", "last"]
    text_axis.write(tmp_path, "activation", labels)
    assert zarr.open_array(tmp_path / "activation", mode="r")[:].tolist() == labels
