"""`jaxrf sweep`: its flags, what it prints, and how it ends."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys

import pytest

import jaxrf
from jaxrf.cli import main, sweep

SPECIFICATION = 'input = "8x9x3"\nseeds = 2\n[model]\nsource = "zoo:conv_stack"\ndepth = [1, 2]\nwidth = 2\n'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(SPECIFICATION)
    return str(path)


def test_a_sweep_runs_and_says_where(file, tmp_path, capsys):
    """Progress is on stderr, the ending on stdout; a second time nothing is computed; --json is for programs."""
    out = str(tmp_path / "out")
    assert main(["sweep", file, "--out", out]) == 0
    text, log = capsys.readouterr()
    assert text == f"done, 4 chunks computed: {out}\n"
    assert "of 4 chunks" in log and "a second" in log
    assert main(["sweep", file, "--out", out, "--json"]) == 0
    text, log = capsys.readouterr()
    assert json.loads(text) == {"state": "done", "done": 4, "total": 4, "computed": 0, "failed": 0, "out": out}
    assert log == ""


def test_again_takes_no_time_and_no_trace(tmp_path, file):
    """A finished sweep answers in less than 3 s of a processor, the start of Python included, without loading the engine."""
    out = str(tmp_path / "out")
    assert main(["sweep", file, "--out", out, "--quiet", "--set", "model.depth=1"]) == 0
    code = (
        "import sys; from jaxrf.cli import main\n"
        f"assert main(['sweep', {file!r}, '--out', {out!r}, '--set', 'model.depth=1']) == 0\n"
        "assert not [name for name in sys.modules if name.startswith(('jaxrf.engine', 'jaxrf.tangent', 'flax'))]"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)  # of its own, on however busy a machine
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3
    assert run.stdout.startswith("done, 0 chunks computed")


def test_the_present_error_is_shown(file, tmp_path, capsys, monkeypatch, singly):
    """Lines of progress say how sure the task in hand is."""
    monkeypatch.setattr(sweep, "EVERY", 0)
    assert main(["sweep", file, "--out", str(tmp_path / "out"), "--set", "model.depth=1", "--set", "seeds=4"]) == 0
    assert re.search(r"4 of 4 chunks, .* a second, .* left: .*standard error [\d.]+ %", capsys.readouterr().err)


def test_failed_tasks_show_in_the_status(file, tmp_path, capsys):
    """One task of two fails: it is told even with --quiet, the other is done, and the status is 1."""
    out = str(tmp_path / "out")
    flags = ["--set", "model.depth=1", "--set", "model.activation=['relu', 'rilu']", "--quiet"]
    assert main(["sweep", file, "--out", out, *flags]) == 1
    assert "jaxrf: activation=rilu failed with InputError: The option activation='rilu'" in capsys.readouterr().err
    assert jaxrf.open(out).result(activation="relu").count == 2


def test_the_plan_is_printed_without_writing(file, tmp_path, capsys):
    """--print traces all tasks and writes nothing; what cannot be run is said."""
    assert main(["sweep", file, "--print", "--set", "model.depth=[1, 0]"]) == 1
    text = capsys.readouterr().out
    assert "depth=1" in text and "depth=0: The option depth=0 does not fit" in text
    assert "2 tasks, about" in text and list(tmp_path.iterdir()) == [tmp_path / "a.toml"]
    assert main(["sweep", file, "--print", "--json", "--set", "model.depth=1"]) == 0
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert task["samples"] == 2 and task["flops"] > 0 and task["seconds"] > 0 and task["memory"] > 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "Add --out FOLDER"),
        (["--out", "x", "--set", "modell.depth=3"], "Did you mean 'model'"),
        (["--out", "x", "--set", "depth"], "is not KEY=VALUE"),
        (["--out", "x", "--shard", "2/2"], "'2/2' is not a shard"),
        (["--out", "x", "--on", "ray"], "There is no engine 'ray'. Write processes:4, dask://host:8786 or mpi"),
        (["--out", "/proc/x"], "cannot be reached"),
    ],
)
def test_bad_flags_end_with_2(file, flags, message, tmp_path, monkeypatch, capsys):
    """What is wrong is said on stderr, nothing is written, and the status is 2."""
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", file, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
