"""Folders that a user may not write to: said at the start where it can be known, and never at the cost of what is there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxrf.cli import main

OBEY = """
import ctypes, os, sys
DROP, OVERRIDE, SEARCH = 24, 1, 2  # PR_CAPBSET_DROP of prctl(2); CAP_DAC_* of capabilities(7)
for right in (OVERRIDE, SEARCH):
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(DROP, right, 0, 0, 0):
        sys.exit(f"the right {right} could not be given up")
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
"""Python without what makes root, whom tests may run as, stand above the rights of files."""
SPECIFICATION = 'input = "8x9x3"\nseeds = 30\n[model]\nsource = "zoo:conv_stack"\ndepth = 1\nwidth = 2\n'
PROGRAM = """
import sys, time
from jaxrf.cli import main
from jaxrf.sweeps import job, worker
whole, job.SECONDS = worker.areas, 0
worker.areas = lambda *chunks: time.sleep({pause}) or whole(*chunks)
status = main(sys.argv[1:])
print("traced" if "jaxrf.engine.run" in sys.modules else "not traced")
sys.exit(status)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with the specification's file and a place, which is opened again for whoever cleans up."""
    (tmp_path / "a.toml").write_text(SPECIFICATION)
    (tmp_path / "out").mkdir()
    yield tmp_path
    unlock(tmp_path / "out")


def start(folder: Path, *flags: str, pause: float = 0) -> subprocess.Popen:
    """A sweep of a user whom the rights of files bind."""
    command = [sys.executable, "-c", OBEY, PROGRAM.format(pause=pause), "sweep", str(folder / "a.toml")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, "--out", str(folder / "out"), "--quiet", *flags], **pipes)


def lock(place: Path) -> None:
    """Let nobody write to anything in a place."""
    for path in [place, *place.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def unlock(place: Path) -> None:
    """Let its owner write to it again."""
    place.chmod(0o755)
    for path in place.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out.strip(), err


def digests(place: Path) -> dict[str, str]:
    return json.loads((place / "run.json").read_text())["results"]


def test_an_empty_folder_without_rights_is_named_at_once(folder):
    """Before a model is traced, the folder is named and what to do; nothing is left in it."""
    lock(folder / "out")
    status, out, err = ended(start(folder))
    assert (status, out) == (2, "not traced"), err
    assert f"{folder / 'out'}" in err and "cannot be reached" in err and "Check permissions" in err
    assert list((folder / "out").iterdir()) == []


def test_a_begun_sweep_without_rights_is_named_at_once(folder):
    """So it is where the sweep is there already, and nothing of it need be written at the start."""
    assert ended(start(folder, "--shard", "0/2"))[0] == 0
    before = sorted((folder / "out").rglob("*"))
    lock(folder / "out")
    status, out, err = ended(start(folder))
    assert (status, out) == (2, "not traced"), err
    assert f"{folder / 'out'}" in err and "Check permissions" in err
    assert sorted((folder / "out").rglob("*")) == before


def test_a_folder_without_a_right_to_read_is_named_at_once(folder):
    """One that may not even be looked into is said to be so."""
    (folder / "out").chmod(0o000)
    status, out, err = ended(start(folder))
    assert (status, out) == (2, "not traced"), err
    assert f"{folder / 'out'}" in err and "Check permissions" in err


@pytest.mark.slow
def test_rights_that_are_lost_on_the_way_damage_nothing(folder, tmp_path):
    """The next block cannot be written: it is said, and what is there is sound; with rights again, the rest follows."""
    process = start(folder, pause=0.1)
    limit = time.monotonic() + 240
    while len(list(folder.glob("out/blocks/*/*/*-*[0-9]"))) < 4 and time.monotonic() < limit:
        time.sleep(0.02)
    lock(folder / "out")
    status, out, err = ended(process)
    assert (status, out) == (2, "traced"), err
    assert f"{folder / 'out' / 'blocks'}" in err and "Check permissions" in err
    unlock(folder / "out")
    assert 4 <= len(list(folder.glob("out/blocks/*/*/*-*[0-9]"))) < 30
    assert ended(start(folder))[0] == 0
    assert main(["sweep", str(folder / "a.toml"), "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    assert digests(folder / "out") == digests(tmp_path / "whole")
    assert not list((folder / "out").glob("damaged/*"))
