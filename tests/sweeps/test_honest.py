"""What is read of a sweep is right, or refused with what is damaged; nothing is moved, and the same command repairs."""

from __future__ import annotations

import json
import warnings

import pytest

import jaxrf
from jaxrf.errors import StoreError
from tests.sweeps.mutations import trial
from tests.sweeps.small import digests, last, made


def blocks(place):
    return sorted(file for file in (place / "blocks").rglob("*-*") if file.is_file())


@pytest.fixture
def place(tmp_path, singly):
    """A finished sweep of four seeds, each a block."""
    assert last(made(), tmp_path / "out").state == "done"
    return tmp_path / "out"


def test_random_damage_is_never_a_wrong_number(tmp_path):
    """Twenty mutations of all files; a thousand by `python -m tests.sweeps.mutations 1000`."""
    counts, wrong = trial(20, 3, tmp_path)
    assert not wrong and counts["refused"] > 2


def test_a_damaged_block_is_named_and_left_where_it_is(place):
    """Reading a finished sweep says which block and how many chunks, moves nothing; the same command repairs it."""
    before, one = digests(place), blocks(place)[1]
    data = one.read_bytes()
    one.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StoreError, match=rf"1 of 4 chunks cannot be read.*{one.name}.*Run the same command again"):
        jaxrf.open(place).result()
    with pytest.raises(StoreError, match="1 of 4 chunks"):
        jaxrf.open(place).table()
    assert one.exists() and not (place / "damaged").exists()
    assert last(made(), place).computed == 1
    assert digests(place) == before and jaxrf.open(place).result().count == 8


def test_a_missing_block_of_a_finished_sweep_is_named(place):
    """A block that is gone is not a smaller count."""
    blocks(place)[2].unlink()
    with pytest.raises(StoreError, match="1 of 4 chunks cannot be read: damaged or missing is the chunks 2:3"):
        jaxrf.open(place).result()
    assert last(made(), place).computed == 1


@pytest.mark.parametrize("cut", [True, False])
def test_a_plan_that_is_lost_is_named(place, cut):
    """A task without its plan is not left out of the table."""
    (plan,) = (place / "plans").iterdir()
    plan.write_bytes(b"") if cut else plan.unlink()
    with pytest.raises(StoreError, match="its plan cannot be read: damaged or missing is plans/"):
        jaxrf.open(place).table()
    assert last(made(), place).state == "done" and jaxrf.open(place).result().count == 8


def test_a_changed_digit_of_the_record_is_noticed(place):
    """The specification carries a checksum; the same command writes it anew, another sweep does not get the place."""
    text = (place / "sweep.json").read_text()
    (place / "sweep.json").write_text(text.replace('"0:4"', '"0:3"'))
    with pytest.raises(StoreError, match=r"sweep.json is damaged: it does not have its checksum"):
        jaxrf.open(place)
    with pytest.raises(StoreError, match="is not empty and holds no sweep"):
        last(made(score="abs"), place)
    assert last(made(), place).computed == 0
    assert (place / "sweep.json").read_text() == text


def test_a_changed_table_is_told_and_written_anew(place):
    """The table is compared with its checksum when the sweep is opened."""
    table = (place / "table.csv").read_bytes()
    (place / "table.csv").write_bytes(table.replace(b"1", b"2"))
    with pytest.warns(UserWarning, match=r"table.csv is not what was written"):
        jaxrf.open(place)
    assert last(made(), place).computed == 0
    assert (place / "table.csv").read_bytes() == table
    with warnings.catch_warnings(action="error"):
        jaxrf.open(place)


def test_done_is_not_believed_after_an_interrupted_run_with_another_rule(tmp_path):
    """A run with a stricter rule that was stopped leaves the record of the earlier one, which is not the end of either."""
    loose, strict = ({"error": 1e-6, "cap": cap} for cap in (32, 64))
    sweeps = [made(until=rule, seeds="0:100", inputs="noise:1") for rule in (loose, strict)]
    place = tmp_path / "out"
    assert last(sweeps[0], place).state == "done"
    before = digests(place)
    assert last(sweeps[1], place, stop=lambda: True).state == "stopped"
    assert json.loads((place / "done.json").read_text())
    assert jaxrf.open(place).result().count == 32  # what is there, of a sweep that is not finished
    end = last(sweeps[0], place)
    assert (end.state, end.computed) == ("done", 0) and digests(place) == before
    assert json.loads((place / "sweep.json").read_text())["specification"]["until"]["cap"] == 32
