"""The atlas as a table: written, read, refused, and asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.atlases.protocol import ERROR, jobs
from jaxrf.atlases.row import SCHEMA, AtlasRow, from_csv, to_csv
from jaxrf.cli import main
from jaxrf.errors import InputError, StoreError, UnknownNameError

ROW = AtlasRow(
    network="unet", layer="down_0", input="64x64x1", images="noise", status="done", stage=1, stages=7, size=(5, 5),
    stride="1x1", padding="2x2", center=(31.5, 31.0), exact=True, estimator="sampled", estimator_exact=True, samples=64,
    effective=58.5, sigma=1.25, sigma_low=1.2, sigma_high=1.3, sigma_error=0.008, seconds=3.5, hash="0e1234",
)  # fmt: skip
FAILED = AtlasRow(network="unet", layer="", input="32x32x1", images="noise", status="failed", reason="=no, really")


def test_a_table_is_read_as_it_was_written():
    """All kinds of cells come back; a reason is never a formula of a spreadsheet."""
    first, second = from_csv(to_csv([ROW, FAILED]), "here")
    assert first == ROW
    assert second == replace(FAILED, reason="'=no, really")


def test_another_schema_is_refused():
    """So is what is not an atlas, and a row that does not fit; each is named."""
    text = to_csv([ROW])
    with pytest.raises(StoreError, match=f"old.csv is an atlas of schema 9, and this jaxrf reads schema {SCHEMA}"):
        from_csv(text.replace(f"schema {SCHEMA}", "schema 9"), "old.csv")
    with pytest.raises(StoreError, match="old.csv is not an atlas: it begins with 'network,layer"):
        from_csv(text.partition("\n")[2], "old.csv")
    with pytest.raises(StoreError, match="old.csv, line 3: could not convert string to float: 'wide'"):
        from_csv(text.replace(",1.25,", ",wide,"), "old.csv")
    with pytest.raises(StoreError, match="old.csv, line 3: its columns are network, field"):
        from_csv(text.replace("network,layer", "network,field"), "old.csv")


def test_a_file_that_is_not_there_is_named(tmp_path):
    """The message says what to give."""
    with pytest.raises(StoreError, match=r"There is no atlas at .*gone.csv: .* Give a table of jaxrf atlas-export"):
        jaxrf.atlas(tmp_path / "gone.csv")


def test_a_name_that_is_not_there_gives_the_nearest(tmp_path):
    """Networks, layers, columns; an input or kind of images without a row says what there is."""
    (tmp_path / "a.csv").write_text(to_csv([ROW, FAILED]))
    found = jaxrf.atlas(tmp_path / "a.csv")
    assert found.find("unet", "down_0") == ROW
    assert len(found.select(status="failed")) == 1
    assert repr(found) == "Atlas: 1 rows of 1 networks; 1 failed"
    with pytest.raises(UnknownNameError, match="Unknown network of the atlas 'unett'. Did you mean 'unet'"):
        found["unett"]
    with pytest.raises(UnknownNameError, match="Unknown layer of unet in the atlas 'down0'. Did you mean 'down_0'"):
        found.find("unet", "down0")
    with pytest.raises(UnknownNameError, match="Unknown column of the atlas 'sigmas'. Did you mean 'sigma'"):
        found.select(sigmas=1)
    with pytest.raises(InputError, match="The atlas has unet down_0 on 64x64x1 with noise, not on 8x8x1 with noise"):
        found.find("unet", "down_0", input="8x8x1")


def test_the_stored_atlas_keeps_what_it_promises():
    """Rows are of the zoo, each once; those that are done have sigma to 1 %, in its interval, from enough samples."""
    rows = jaxrf.atlas().rows
    there = {(job.network, job.input, job.images): job for job in jobs()}
    keys = [(row.network, row.input, row.images, row.layer) for row in rows]
    assert len({*keys}) == len(keys) > 0
    assert all(key[:3] in there for key in keys)
    for row in rows:
        assert (row.status == "failed") == (not row.samples) == bool(row.reason), row
        if row.status == "done":
            assert row.sigma_error <= ERROR and row.effective >= 30, row
            assert row.sigma_low < row.sigma < row.sigma_high, row
        if row.status == "capped":
            assert row.samples >= there[row.network, row.input, row.images].cap, row
            assert row.sigma_error > ERROR or row.effective < 30, row
    assert {row.network for row in rows} <= {*zoo.models}


def test_the_command_lists_rows(capsys):
    """Text with the command that makes a row again, CSV that can be read, and an unknown network's nearest."""
    row = next(row for row in jaxrf.atlas() if row.samples)
    assert main(["atlas", "--network", row.network]) == 0
    text = capsys.readouterr().out
    assert row.layer in text and f"jaxrf atlas-redo {row.network}" in text
    assert main(["atlas", "--csv"]) == 0
    assert tuple(from_csv(capsys.readouterr().out, "stdout")) == jaxrf.atlas().rows
    assert main(["atlas", "--network", f"{row.network}x"]) == 2
    assert f"Did you mean '{row.network}'" in capsys.readouterr().err
