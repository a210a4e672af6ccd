"""Sweeps in processes of their own, killed, stopped and started together: always the same bits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jaxrf
from jaxrf.store.location import Location
from jaxrf.sweeps.folder import checked

SPECIFICATION = """
input = "8x9x3"
inputs = "noise:1"
seeds = "0:40"
[model]
source = "zoo:conv_stack"
depth = 1
width = 2
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The specification's file, and the digests of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "a.toml").write_text(SPECIFICATION)
    assert finish(folder / "a.toml", folder / "out") == 0
    return folder / "a.toml", digests(folder / "out")


SLOWLY = """
import sys, time
from jaxrf.cli import main
from jaxrf.sweeps import job, worker
whole, job.SECONDS = worker.areas, 0
worker.areas = lambda *chunks: time.sleep({pause}) or whole(*chunks)
sys.exit(main(sys.argv[1:]))
"""
"""The program with a block for each chunk, and a pause after it, so that there is a middle to be disturbed in."""


def start(file: Path, place: Path, *flags: str, pause: float = 0.05, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-c", SLOWLY.format(pause=pause), "sweep", str(file), "--out", str(place), "--quiet"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, *flags], env={**os.environ, **environment}, **pipes)


def finish(file: Path, place: Path, *flags: str) -> int:
    """Run in this process, which has JAX loaded already."""
    from jaxrf.cli import main

    return main(["sweep", str(file), "--out", str(place), "--quiet", *flags])


def digests(place: Path) -> dict[str, str]:
    return Location.at(place).read_json("run.json")["results"]


def wait_for_blocks(place: Path, count: int, process: subprocess.Popen) -> None:
    end = time.monotonic() + 240
    while len(list(place.glob("blocks/*/*/*-*[0-9]"))) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)


def wait_for_plan(place: Path) -> None:
    end = time.monotonic() + 240
    while not list(place.glob("plans/*")) and time.monotonic() < end:
        time.sleep(0.01)


def wait_for_death(process: subprocess.Popen) -> str:
    """What it said on stderr; the status is then known."""
    return process.communicate(timeout=120)[1].decode()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 75), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_ends_with_its_status_and_the_rest_follows(whole, tmp_path, number, status):
    """After SIGTERM the status says requeue, after Ctrl-C that it was so; the same command does the rest."""
    file, expected = whole
    process = start(file, tmp_path)
    wait_for_blocks(tmp_path, 3, process)
    process.send_signal(number)
    assert (wait_for_death(process), process.returncode) == ("", status)
    assert 3 <= len(Location.at(tmp_path).listed("blocks/")) < 40
    assert not (tmp_path / "done.json").exists()
    assert finish(file, tmp_path) == 0
    assert digests(tmp_path) == expected


@pytest.mark.parametrize("delay", [0.15, 0.4])
def test_sigterm_while_it_starts_ends_with_75(whole, tmp_path, delay):
    """Before the first model is loaded, a signal says requeue as well; nothing is computed."""
    file, _ = whole
    program = "import sys; from jaxrf.cli import main; print('up', flush=True); sys.exit(main())"
    command = [sys.executable, "-c", program, "sweep", str(file), "--out", str(tmp_path / "out"), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=240) == 75
    assert not (tmp_path / "out" / "done.json").exists()


@pytest.mark.slow
def test_a_second_interrupt_ends_at_once(whole, tmp_path):
    """In the middle of a chunk that takes a minute, the second Ctrl-C is not waited out."""
    file, _ = whole
    process = start(file, tmp_path, "--grace", "50", pause=60)
    while not (tmp_path / "sweep.json").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode == 130


@pytest.mark.slow
def test_ten_kills_lose_nothing_that_was_written(whole, tmp_path):
    """Killed at ten random moments and started again each time, the bits are those of an undisturbed run."""
    file, expected = whole
    chance = random.Random(7)
    for turn in range(10):
        process = start(file, tmp_path, pause=0.2)
        if turn % 2:
            time.sleep(chance.uniform(0.2, 3))
        else:
            there = len(Location.at(tmp_path).listed("blocks/"))
            wait_for_blocks(tmp_path, there + chance.randrange(1, 4), process)
        process.kill()
        process.communicate(timeout=240)
    assert 5 <= len(Location.at(tmp_path).listed("blocks/")) < 40
    assert finish(file, tmp_path) == 0
    assert digests(tmp_path) == expected
    assert not list(tmp_path.glob("damaged/*"))


@pytest.mark.slow
def test_two_at_once_on_one_folder_agree(whole, tmp_path):
    """Two processes that know nothing of each other, started at the same moment, give the result of one."""
    file, expected = whole
    processes = [start(file, tmp_path, pause=0.01) for _ in range(2)]
    errors = [wait_for_death(process) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert digests(tmp_path) == expected


def test_a_slurm_step_is_two_shards(whole, tmp_path):
    """Under srun each process does its share, without any runtime between them."""
    file, expected = whole
    first = start(file, tmp_path, pause=0, SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="2")
    assert (wait_for_death(first), first.returncode) == ("", 0)
    assert len(Location.at(tmp_path).listed("blocks/")) == 20
    assert jaxrf.open(tmp_path).result().count == 20
    assert finish(file, tmp_path, "--shard", "1/2") == 0
    assert digests(tmp_path) == expected


@pytest.mark.slow
def test_four_devices_of_a_process_agree_with_one(whole, tmp_path):
    """Work that is spread over virtual devices has the bits of one device."""
    file, expected = whole
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    process = start(file, tmp_path, pause=0, XLA_FLAGS=flags)
    assert (wait_for_death(process), process.returncode) == ("", 0)
    assert digests(tmp_path) == expected


def test_a_write_that_fails_is_said_and_damages_nothing(whole, tmp_path):
    """A disk that takes no more of a block ends the run with a message; with space again, the same command finishes."""
    file, _ = whole
    flags = ("--set", "units=all", "--set", "seeds=0:60")
    assert finish(file, tmp_path / "whole", *flags) == 0
    lines = [
        "import resource, sys",
        "from jaxrf.cli import main",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30000,) * 2)",
    ]
    place = tmp_path / "out"
    command = [sys.executable, "-c", "\n".join([*lines, "sys.exit(main(sys.argv[1:]))"])]
    done = subprocess.run(
        [*command, "sweep", str(file), "--out", str(place), "--quiet", *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr and "free space" in done.stderr
    assert Location.at(place).listed("plans/")
    assert all(checked(*read) for read in Location.at(place).read_all(Location.at(place).listed("blocks/")))
    assert finish(file, place, *flags) == 0
    assert digests(place) == digests(tmp_path / "whole")
    assert not list(place.glob("damaged/*"))
