"""What a sweep leaves: a group, tables and a record, of what is there, with what was bad in it."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from dataclasses import replace

import numpy as np
import pytest

import jaxrf
from jaxrf.errors import InputError, StoreError, UnknownNameError
from jaxrf.results.stacked import digest
from jaxrf.store.location import Location
from tests.sweeps.small import MODEL, last, made


def test_bad_photos_are_named_and_counted(tmp_path):
    """A photo that cannot be read is left out and recorded; with strict, its task fails."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "c"):
        np.save(folder / f"{name}.npy", np.full((8, 9, 3), 100, np.uint8))
    (folder / "b.png").write_text("no photo")
    sweep = made(inputs=str(folder), seeds=1)
    assert last(sweep, "memory://bad").state == "done"
    assert jaxrf.open("memory://bad").result().count == 2
    (bad,) = Location.at("memory://bad").read_json("run.json")["unreadable"]
    assert bad.startswith("b.png: ")
    assert last(sweep, "memory://strict", strict=True).state == "failed"


def test_a_running_sweep_can_be_read(tmp_path):
    """With some blocks of one task there, its result, the table and the dataset hold what is there."""
    place = tmp_path / "out"
    last(made(model={**MODEL, "activation": ["relu", "tanh"]}), place, shard=(0, 2))
    opened = jaxrf.open(place)
    assert [opened.count(entry) for entry in opened] == [4, 0]
    np.testing.assert_array_equal(opened.result(activation="relu").count, 8)
    assert [row["model.activation"] for row in opened.table()] == ["relu"]
    data = opened.to_xarray()
    assert data["mean"].dims == ("activation", "unit", "y", "x") and data["count"].values.tolist() == [8, -1]
    with pytest.raises(InputError, match="has no blocks yet"):
        opened.result(activation="tanh")
    with pytest.raises(InputError, match="0 tasks have"):
        opened.find(activation="gelu")
    with pytest.raises(UnknownNameError, match="Did you mean 'activation'"):
        opened.find(activations="tanh")
    with pytest.raises(StoreError, match="There is no sweep at"):
        jaxrf.open(tmp_path / "none")


def test_results_are_a_group_a_table_and_a_record(tmp_path):
    """Axes of the sweep are dimensions with their labels; the table has a row per task and unit."""
    import xarray

    place = tmp_path / "out"
    sweep = made(
        model={**MODEL, "depth": [1, 2]}, score=["square", "abs"], units="3,3;1,2", seeds=2,
        measures=["sigma", {"name": "area_ratio", "share": 0.9}],
    )  # fmt: skip
    assert last(sweep, place, command=["jaxrf", "sweep"]).state == "done"
    data = xarray.open_zarr(place / "results.zarr", consolidated=False)
    assert data["mean"].dims == ("depth", "score", "unit", "y", "x") and data["mean"].shape == (2, 2, 2, 5, 5)
    assert data["depth"].values.tolist() == [1, 2] and list(data["score"].values) == ["square", "abs"]
    one = jaxrf.open(place).result(depth=1, score="abs")
    found = data["mean"].sel(depth=1, score="abs").values
    np.testing.assert_array_equal(found[:, :3, :3], one.mean)
    assert np.isnan(found[:, 3:]).all()
    rows = list(csv.DictReader(io.StringIO((place / "table.csv").read_text())))
    assert len(rows) == 8 and rows[0]["size"] == "3x3" and rows[1]["unit"] == "1x2"
    assert float(rows[0]["sigma"]) == float(data["sigma"][0, 0, 0])
    np.testing.assert_allclose(data["sigma"].sel(depth=1, score="abs"), one.measure("sigma").mean(axis=1))
    assert 0 < float(rows[0]["area_ratio share=0.9"]) <= 1
    record = json.loads((place / "run.json").read_text())
    assert record["command"] == ["jaxrf", "sweep"] and record["samples"] == 16 and len(record["results"]) == 4
    saved = jaxrf.open(place).save(tmp_path / "all.npz")
    np.testing.assert_array_equal(np.load(saved)["mean"], data["mean"].values)


def test_results_of_an_earlier_run_are_gone(tmp_path):
    """With other measures and one more value on an axis, the group holds what was asked for now, and nothing else."""
    import xarray

    place = tmp_path / "out"
    for depths, measure in (([1, 2], "sigma"), ([1, 2, 3], "coverage")):
        assert last(made(model={**MODEL, "depth": depths}, seeds=2, measures=[measure]), place).state == "done"
    data = xarray.open_zarr(place / "results.zarr", consolidated=False)
    assert {"coverage", "coverage_stderr"} <= set(data) and not {"sigma", "sigma_stderr"} & set(data)
    assert data.sizes["depth"] == 3


def test_the_table_is_parquet_too(tmp_path, monkeypatch):
    """Where pyarrow is there: the same rows, each column once, numbers as numbers, mixed values of an axis as text."""
    parquet = pytest.importorskip("pyarrow.parquet")
    place = tmp_path / "out"
    sweep = made(layer=["conv_0", None], protocol=[None], units="3,3;1,2", seeds=2, measures=["sigma"])
    assert last(sweep, place).state == "done"
    table = parquet.read_table(place / "table.parquet").to_pydict()
    rows = list(csv.DictReader(io.StringIO((place / "table.csv").read_text())))
    assert (place / "table.csv").read_text().splitlines()[0].split(",") == list(table) == list(rows[0])
    assert table["layer"] == ["conv_0", "conv_0", "output", "output"] and table["samples"] == [4] * 4
    assert table["protocol"] == ["None"] * 4
    assert table["sigma"] == [float(row["sigma"]) for row in rows]
    assert json.loads((place / "run.json").read_text())["tables"] == ["table.csv", "table.parquet"]


def test_without_pyarrow_no_old_parquet_is_left(tmp_path, monkeypatch):
    """The record says which tables there are; one of an earlier run with pyarrow would be of fewer seeds."""
    place, find = tmp_path / "out", importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "pyarrow" else find(name, *a))
    last(made(seeds=1), place)
    Location.at(place).put("table.parquet", b"old")
    last(made(seeds=2), place)
    assert not (place / "table.parquet").exists()
    assert json.loads((place / "run.json").read_text())["tables"] == ["table.csv"]


def test_maps_with_nan_are_kept_and_counted(tmp_path):
    """A NaN in an input stays in the map of its task, and is counted there."""
    images = np.zeros((1, 8, 9, 3), np.float32)
    images[0, 4, 4] = np.nan
    np.save(tmp_path / "images.npy", images)
    sweep = made(inputs=str(tmp_path / "images.npy"), model={**MODEL, "depth": 2, "activation": "tanh"}, seeds=1)
    assert last(sweep, "memory://nan").state == "done"
    assert Location.at("memory://nan").read_json("run.json")["nonfinite"] == 1
    assert np.isnan(jaxrf.open("memory://nan").result().mean).any()


def test_a_digest_is_of_all_numbers():
    """One bit more in one map, error, place or count makes another digest; what is not a number of the maps does not."""
    last(made(seeds=2), "memory://digested")
    found = jaxrf.open("memory://digested").result()
    mean, stderr = found.mean.copy(), found.stderr.copy()
    mean[0, 1, 2], stderr[0, 1, 2] = (np.nextafter(a[0, 1, 2], np.inf) for a in (mean, stderr))
    others = [
        {"mean": mean}, {"stderr": stderr}, {"origin": found.origin + [[0, 1]]}, {"units": found.units - [[1, 0]]},
        {"count": found.count + 1}, {"dead": 1}, {"nonfinite": 1},
    ]  # fmt: skip
    digests = {digest(replace(found, **changes)) for changes in others} | {digest(found)}
    assert len(digests) == 8
    assert digest(replace(found, provenance={}, mean=found.mean.copy())) == digest(found)
