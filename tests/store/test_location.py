"""Places for small files, on disk and in memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxrf.errors import StoreError
from jaxrf.store.location import Location, to_json


@pytest.fixture(params=["disk", "memory"])
def location(request, tmp_path):
    return Location.at(tmp_path / "new" if request.param == "disk" else f"memory://{request.node.name}")


def test_adding_writes_once(location):
    """The first to add a key wins, and says so; the second changes nothing."""
    assert location.add("a/b", b"1")
    assert not location.add("a/b", b"2")
    assert location.read("a/b") == b"1"


def test_putting_replaces_and_removing_removes(location):
    """`put` is for what may change; what was removed reads as nothing."""
    location.put("a", b"1")
    location.put("a", b"2")
    assert location.read("a") == b"2"
    location.remove("a")
    assert location.read("a") is None
    location.remove("a")


def test_keys_are_sorted_and_below_a_prefix(location):
    """Listing is by the start of the key, and knows nothing of other keys."""
    for key in ("b/2", "b/1", "c", "ba", "b0/3"):  # "0" is the character behind "/"
        location.put(key, b"")
    assert location.listed("b/") == ["b/1", "b/2"]
    assert location.listed() == ["b/1", "b/2", "b0/3", "ba", "c"]
    assert location.listed("d") == []


def test_many_reads_keep_their_order(location):
    """Reads that are under way together come back in the order asked, missing ones as None."""
    for i in range(70):
        location.put(f"k{i}", bytes([i]))
    found = list(location.read_all([*(f"k{i}" for i in range(70)), "none"]))
    assert found == [*((f"k{i}", bytes([i])) for i in range(70)), ("none", None)]


def test_a_whole_prefix_is_removed(location):
    """What starts with it goes, inner folders too, and what is beside it stays."""
    for key in ("a/b/c", "a/d", "a0/d", "ab", "b"):
        location.put(key, b"")
    location.remove_all("a/")
    assert location.listed() == ["a0/d", "ab", "b"]
    assert not list(Path(location.name).glob("a/*"))


def test_a_place_that_can_be_written_to_is_left_as_it_was(location):
    """The check for that leaves nothing behind."""
    location.put("a", b"")
    location.check()
    assert location.listed() == ["a"]


def test_setting_aside_keeps_the_bytes(location):
    """What is set aside is gone from its place, and lies below damaged/."""
    location.put("a/b", b"1")
    aside = location.set_aside("a/b")
    assert location.read("a/b") is None and location.read(aside) == b"1"
    assert aside.startswith("damaged/a/b.")


def test_json_is_read_back_or_damaged(location):
    """A JSON file that is none says so."""
    location.put("a.json", to_json({"b": [1, "ä"]}))
    assert location.read_json("a.json") == {"b": [1, "ä"]}
    assert location.read_json("none.json") is None
    location.put("a.json", b"{")
    with pytest.raises(StoreError, match=r"a\.json is damaged"):
        location.read_json("a.json")


def test_places_that_cannot_be_are_refused(tmp_path):
    """Unknown kinds of URL, files and unwritable folders are said by name."""
    with pytest.raises(StoreError, match="ftp://x is no place that can be written"):
        Location.at("ftp://x")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file; a folder is needed"):
        Location.at(tmp_path / "file")
    with pytest.raises(StoreError, match="/proc/nowhere/a cannot be reached: .*Check permissions, free space"):
        Location.at("/proc/nowhere").put("a", b"")


def test_of_two_processes_one_adds(tmp_path):
    """Processes that add the same keys at the same moment share them out: each is written once."""
    code = (
        "import sys, json, time; from jaxrf.store.location import Location\n"
        f"place = Location.at({str(tmp_path)!r})\n"
        "while time.time() < float(sys.argv[1]): pass\n"
        "print(json.dumps([i for i in range(100) if place.add(f'k{i}', sys.argv[2].encode())]))"
    )
    start = str(time.time() + 1.5)
    runs = [
        subprocess.Popen([sys.executable, "-c", code, start, name], stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    mine = [set(json.loads(run.communicate(timeout=240)[0])) for run in runs]
    assert not mine[0] & mine[1] and mine[0] | mine[1] == set(range(100))
    for name, keys in zip("ab", mine):
        assert all(Location.at(tmp_path).read(f"k{i}") == name.encode() for i in keys)
