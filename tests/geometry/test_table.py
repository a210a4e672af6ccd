"""Tables: finding rows, and every form in which they are shown or written."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from rich.console import Console

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.geometry.field import Field, Paths
from jaxrf.geometry.render import _count
from jaxrf.geometry.table import Row, Table
from tests.geometry.index_sets import Step, unet
from tests.geometry.made_rows import STEM, image_row, token_row, whole_field


def rows():
    paths = Paths(Fraction(4), Fraction(0), Fraction(1, 2), Fraction(50), False)
    stem = image_row(
        STEM, (29, 43), step=4, name="stem/conv", parameters=9408, flops=118_013_952, flops_so_far=236_027_904
    )
    deep = replace(stem, name="deep", fields=tuple(replace(one, paths=paths) for one in stem.fields), exact=False)
    gate = "mean in gate (reduce_sum)"
    return [
        stem,
        replace(deep, notes=("boxes of channel splits were merged",)),
        image_row((Step("nearest", options={"factor": 2}),), (29, 43), period=2, step=1, name="up"),
        image_row(unet(3, 3, transposed=True), (64, 128), period=8, step=8, name="unet"),
        token_row(4, 5, 7),
        Row(
            "gate",
            "SE|gate",
            (7, 9, 16),
            (7, 9),
            (whole_field(29, 2), whole_field(43, 2)),
            parameters=None,
            global_axes=("y", "x", "batch"),
            global_cause={"y": gate, "x": gate, "batch": "norm"},
            notes=("boxes of channel splits were merged",),
        ),
        Row("empty", "Conv<1>", (0, 4), (0,), (Field(29, np.zeros(0, int), np.zeros(0, int)),)),
    ]


@pytest.fixture(scope="module")
def table():
    return Table(rows(), model="Net", input_shape=(29, 43, 3))


def test_rows_are_found_by_name_and_place(table):
    """Names, numbers and slices; a slice is a table of the same model."""
    assert table["deep"] is table[1] is table[-6]
    assert [row.name for row in table] == list(table.names)
    assert table[1:3].names == ("deep", "up")
    assert repr(table[1:3]) == "Table(Net, 2 layers, input 29×43×3)"
    assert "deep" in table
    assert "depp" not in table
    assert table[0] in table


def test_unknown_name_suggests_the_nearest(table):
    """A misspelled layer is answered with the known ones and the nearest."""
    with pytest.raises(UnknownNameError, match=r"Unknown layer 'stem/conf'. Did you mean 'stem/conv'\? Known: 'deep'"):
        table["stem/conf"]


def test_names_are_unique():
    """Two rows of one name are refused."""
    with pytest.raises(InputError, match="Two rows of a table have the name 'up'"):
        Table([*rows(), rows()[2]])


def test_printed_table(table):
    """All columns, aligned, with notes below that rows refer to by number."""
    expected = """
Net, 7 layers, input 29×43×3
layer      kind     output    params  FLOPs  FLOPs so far    size  min size  stride  padding      center   share  aligned  exact  notes
stem/conv  Conv     8×11×4     9.41k   118M          236M      11         –       4        5      12, 20    9.7%      yes    yes
deep       Conv     8×11×4     9.41k   118M          236M      11        50       4        5      12, 20    9.7%       no     no  1, 2
up         Conv     58×86×4        0      –             –       1         –     1/2        0      14, 21    0.1%      yes    yes
unet       Conv     64×128×4       0      –             –  92–100         –       1       48  31.5, 63.5   71.9%      yes    yes
tokens     Embed    35×8           0      –             –       4         –       –        –   9.5, 13.5    2.9%      yes    yes  3
"""
    printed = str(table).splitlines()
    assert printed[:2] + printed[3:8] == expected.strip().splitlines()
    assert set(printed[2]) == {"─"}
    assert printed[-6:] == [
        "",
        "1: unproductive: even the smallest path sees more than the input",
        "2: boxes of channel splits were merged",
        "3: on a grid of 5×7 units, of patches of 4, 4 apart",
        "4: global over y, x: mean in gate (reduce_sum)",
        "5: global over batch: norm",
    ]
    gate = next(text for text in printed if text.startswith("gate"))
    assert gate.split() == [
        "gate",
        "SE|gate",
        "7×9×16",
        "–",
        "–",
        "–",
        "29×43",
        "–",
        "–",
        "–",
        "14,",
        "21",
        "100.0%",
        "yes",
        "yes",
        "4,",
        "5,",
        "2",
    ]
    assert all(text == text.rstrip() for text in printed)


def test_narrow_console_leaves_out_columns(table):
    """On 80 characters the layer, size, stride and padding stay whole, and what is missing is named."""
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    text = out.getvalue()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "stem/conv" in text
    assert "92–100" in text
    assert "…" not in text
    assert "no room for: share, min size, kind" in text


def test_empty_table_prints():
    """No rows: a head and nothing else, in every form."""
    empty = Table([], model="Net")
    assert "Net, 0 layers" in str(empty)
    assert empty.to_csv().startswith("name,kind,shape")
    assert Table.from_json(empty.to_json()).names == ()
    assert "<table>" in empty._repr_html_()
    assert "| layer |" in empty.to_markdown()


def test_notes_column_only_where_there_are_notes(table):
    """A table of plain rows has no empty column."""
    assert "notes" not in str(table[:1])


def test_csv_reads_back(table):
    """One column per number and axis; fractions as 1/2, None as nothing."""
    lines = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [line["name"] for line in lines] == list(table.names)
    stem, _, up, phases, tokens, gate, _ = lines
    assert [stem[k] for k in ("size_y", "size_x", "stride_y", "padding_x", "center_x", "center_unit")] == [
        *("11", "11", "4", "5", "20.0", "3 5")
    ]
    assert (up["stride_y"], tokens["stride_x"], gate["parameters"]) == ("1/2", "", "")
    assert (phases["smallest_y"], phases["size_y"], phases["period_x"]) == ("92", "100", "8")
    assert gate["notes"].split(" | ")[1:] == ["global over batch: norm", "boxes of channel splits were merged"]


def test_markdown(table):
    """A pipe in a cell is escaped, so that all lines have the same number of cells."""
    lines = [line for line in table.to_markdown().splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert len(lines) == len(table) + 2
    assert "| SE\\|gate |" in table.to_markdown()


def test_html_is_escaped(table):
    """Names are text, also where they look like tags."""
    assert "Conv&lt;1&gt;" in table._repr_html_()
    assert "Conv<1>" not in table._repr_html_()
    assert table["deep"]._repr_html_().count("<tr>") == 2


def test_json_is_lossless(table):
    """A table read back answers every question as before."""
    back = Table.from_json(table.to_json())
    assert back.to_json() == table.to_json()
    assert str(back) == str(table)
    assert [row.fields[0].paths for row in back] == [row.fields[0].paths for row in table]
    for row, read in zip(table, back, strict=True):
        for one, other in zip(row.fields, read.fields, strict=True):
            assert one.lo.shape == other.lo.shape
            assert other.lo.dtype == np.int64
            assert (one.lo == other.lo).all()
            assert (one.hi == other.hi).all()
            assert (one.continuation is None) == (other.continuation is None)
    assert back["unet"].box((9, 127)) == table["unet"].box((9, 127))
    assert back["gate"].global_cause == table["gate"].global_cause


def test_json_carries_the_summary(table):
    """Readers in other languages find the numbers without the tables."""
    stem, _, up, *_, empty = json.loads(table.to_json())["rows"]
    assert (stem["size"], stem["stride"], stem["center_unit"], stem["center"]) == ([11, 11], [4, 4], [3, 5], [12, 20])
    assert up["stride"] == ["1/2", "1/2"]
    assert empty["center_unit"] is None


@pytest.mark.parametrize("form", ["csv", "json", "markdown"])
def test_files(table, form, tmp_path):
    """What is returned is what is written."""
    text = getattr(table, f"to_{form}")(tmp_path / "table")
    assert (tmp_path / "table").read_text("utf-8") == text
    if form == "json":
        assert Table.from_json(tmp_path / "table").names == table.names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "The text is not JSON"),
        ("[1]", "The text has format None, version None; 'jaxrf.table', version 1 is needed"),
        ('{"format": "jaxrf.table", "version": 9}', "has format 'jaxrf.table', version 9"),
        ('{"format": "jaxrf.table", "version": 1, "rows": [{"name": "a"}]}', "not a row of a table: KeyError: 'kind'"),
    ],
)
def test_foreign_json(text, message, tmp_path):
    """What is not a table is refused with what was found."""
    with pytest.raises(InputError, match=message):
        Table.from_json(text)
    (tmp_path / "foreign.json").write_text(text)
    with pytest.raises(InputError, match=message.replace("The text", ".*foreign.json")):
        Table.from_json(tmp_path / "foreign.json")


def test_counts_have_three_digits():
    """Numbers of parameters and operations are short, and round up into the next unit."""
    counts = [0, 999, 1000, 9408, 999_499, 999_600, 25_557_032, 4_089_184_256, None]
    assert [_count(n) for n in counts] == ["0", "999", "1.00k", "9.41k", "999k", "1.00M", "25.6M", "4.09G", "–"]


def test_a_table_that_knew_one_number_of_flops(table):
    """Before there were two, the number was of all that leads to a layer; what the layer costs alone is not known."""
    values = json.loads(table.to_json())
    for row in values["rows"]:
        row["flops"] = row.pop("flops_so_far")
    again = Table.from_json(json.dumps(values))
    assert [row.flops_so_far for row in again] == [row.flops_so_far for row in table]
    assert {row.flops for row in again} == {None}
