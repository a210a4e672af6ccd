"""Names and files made to do harm: shown as they are, or refused before they cost anything."""

from __future__ import annotations

import io
import json
import shutil
import warnings
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf.cli import main
from jaxrf.errors import InputError, StoreError, UnknownNameError, cell, visible
from jaxrf.tasks import from_dict
from tests.sweeps.small import last, made

NAMES = ["a\nb", "\x1b[31mred", "=HYPERLINK(1)", "<script>x</script>", "[a](http://b)", "a|b", "\u202eabc", "cost$x$"]


def model(x):
    for name in NAMES:
        x = jaxrf.tap(jnp.sin(x), name)
    return x


@pytest.fixture(scope="module")
def table():
    """A table of layers with such names."""
    return jaxrf.trf(model, (5, 7, 3))


def test_tables_on_terminals_obey_no_character(table):
    """Escapes and line breaks are written out, a row is a line."""
    text = str(table)
    assert "\x1b" not in text and "\u202e" not in text
    assert "a\\nb" in text and "\\x1b[31mred" in text and "\\u202eabc" in text
    assert len([line for line in text.splitlines() if "\\nb" in line]) == 1
    assert "\x1b" not in repr(table["\x1b[31mred"])


def test_markdown_and_html_hold_no_tags_and_links(table):
    """What would be a tag or a link is text; a column more is none."""
    markdown, html = table.to_markdown(), table._repr_html_()
    assert "<script>" not in markdown + html
    assert "[a](" not in markdown and "\\[a\\](http://b)" in markdown
    bars = {line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("|")}
    assert len(bars) == 1


def test_csv_holds_no_formulas_and_no_torn_rows(table):
    """A cell that a spreadsheet would compute starts with a quote, and every row is a line."""
    import csv

    text = table.to_csv()
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == len(text.splitlines()) == len(table) + 1
    names = [row[0] for row in rows[1:]]
    assert "'=HYPERLINK(1)" in names and "a\\nb" in names
    assert [cell(text) for text in ("+1", "-1", "@a", "a=1")] == ["'+1", "'-1", "'@a", "a=1"]


def test_figures_show_dollars():
    """A dollar in a name is not the start of a formula, which may not even be one."""
    with warnings.catch_warnings(action="ignore"):
        found = jaxrf.erf(lambda x: jaxrf.tap(jnp.sin(x), r"$\nope{$"), None, np.ones((1, 5, 7, 1), np.float32))
        found = jaxrf.erf(
            lambda x: jaxrf.tap(jnp.sin(x), r"$\nope{$"), None, np.ones((1, 5, 7, 1), np.float32), layer=r"$\nope{$"
        )
    found.plot().savefig(io.BytesIO())


def test_messages_on_stderr_obey_no_character(tmp_path, capsys):
    """A file name with an escape is shown with it written out."""
    assert main(["sweep", str(tmp_path / "\x1b[31m.toml"), "--out", "x"]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err and "\\x1b[31m.toml" in err
    assert visible("plain text, ×") == "plain text, ×"


@pytest.fixture
def saved(tmp_path):
    """A saved result in all formats."""
    with warnings.catch_warnings(action="ignore"):
        found = jaxrf.erf(jnp.sin, None, np.ones((1, 5, 7, 1), np.float32))
    for name in ("a.zarr", "a.npz", "a.nc"):
        found.save(tmp_path / name)
    return tmp_path


def test_an_array_that_declares_more_than_there_is_is_refused(saved):
    """10^18 elements are not asked of memory, whatever the version of the group."""
    file = saved / "a.zarr" / "mean" / "zarr.json"
    values = json.loads(file.read_text())
    values["shape"] = [10**9, 10**6, 10**3]
    file.write_text(json.dumps(values))
    with pytest.raises(StoreError, match="its array 'mean' cannot be read"):
        jaxrf.load(saved / "a.zarr")
    group = json.loads((saved / "a.zarr" / "zarr.json").read_text())
    group["attributes"] = {k: v for k, v in group["attributes"].items() if not k.startswith(("check", "shapes"))}
    group["attributes"]["schema_version"] = 1
    (saved / "a.zarr" / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(StoreError, match=r"its array 'mean' cannot be read.*declares the shape"):
        jaxrf.load(saved / "a.zarr")


def test_deep_json_is_refused(saved, tmp_path):
    """A hundred thousand brackets are damage, in a result and in a sweep."""
    deep = "[" * 100_000
    (saved / "a.zarr" / "zarr.json").write_text(deep)
    with pytest.raises(StoreError, match="is damaged"):
        jaxrf.load(saved / "a.zarr")
    assert last(made(seeds=1), tmp_path / "sweep").state == "done"
    (tmp_path / "sweep" / "sweep.json").write_text(deep)
    with pytest.raises(StoreError, match="is damaged"):
        jaxrf.open(tmp_path / "sweep")


def test_archives_that_are_encrypted_or_bombs_are_refused(saved):
    """Before they are unpacked."""
    file = saved / "a.npz"
    data = bytearray(file.read_bytes())
    shutil.copy(file, saved / "b.npz")
    for start, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(start)
        while place >= 0:
            data[place + at] |= 1  # the bit of encryption
            place = data.find(start, place + 1)
    file.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"a\.npz is damaged or not an npz file"):
        jaxrf.load(file)
    with zipfile.ZipFile(saved / "b.npz", "a", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as entry:
        entry.write(b"\0")
    data = bytearray((saved / "b.npz").read_bytes())
    place = data.rfind(b"PK\x01\x02")
    data[place + 24 : place + 28] = b"\xfe\xff\xff\xff"  # the size of one entry in the directory
    (saved / "b.npz").write_bytes(bytes(data))
    import jaxrf.store.npz_file as npz_file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz_file, "memory_bytes", lambda: 2**31)
        with pytest.raises(StoreError, match=r"it unpacks to \d{10} bytes"):
            jaxrf.load(saved / "b.npz")


MODEL = {"source": "zoo:conv_stack", "depth": 1}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"variables": 3}, InputError, "variables = 3 is not text. Write for example variables = "),
        ({"input": 5}, InputError, 'input = 5 is not text. Write for example input = "64x64x3"'),
        ({"inputs": 5}, InputError, "inputs = 5 is not text"),
        ({"layer": ["a", 3]}, InputError, "layer = 3 is not text"),
        ({"seeds": "0:12345678901234567890"}, InputError, "is not a range"),
        ({"seeds": "0:9999999999"}, InputError, "is not a range"),
        ({"images_per_chunk": True}, InputError, "images_per_chunk = True is not a count"),
        ({"measures": [{"name": "area_ratio", "shade": 0.5}]}, UnknownNameError, "Did you mean 'share'"),
        ({"measures": [{"name": "sigma", "center": 0}]}, UnknownNameError, "Unknown option of the measure 'sigma'"),
    ],
)
def test_a_sweep_of_other_kinds_is_refused(changes, error, message):
    """What is not text, or an option that a measure does not have, is said when the specification is read."""
    with pytest.raises(error, match=message):
        from_dict({"model": MODEL, **changes})


def test_digits_without_end_are_not_a_shape(capsys):
    """Sizes of twenty and of five thousand digits."""
    for digits in (20, 5000):
        assert main(["trf", "zoo:conv_stack", "--input", "9" * digits + "x3x3"]) == 2
        assert "is not a shape" in capsys.readouterr().err
