"""Sweeps in processes of their own, killed, stopped and started together: always the same bits."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jaxrf
from jaxrf.store.location import Location

SPECIFICATION = """
input = "8x9x3"
inputs = "noise:2"
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


def start(file: Path, place: Path, *flags: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "jaxrf.cli", "sweep", str(file), "--out", str(place), "--quiet", *flags]
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def joined(file: Path, place: Path) -> list[subprocess.Popen]:
    """Two processes with JAX's runtime between them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    names = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [start(file, place, **names, JAX_PROCESS_ID=str(i)) for i in range(2)]


def finish(file: Path, place: Path, *flags: str) -> int:
    """Run in this process, which has JAX loaded already."""
    from jaxrf.cli import main

    return main(["sweep", str(file), "--out", str(place), "--quiet", *flags])


def digests(place: Path) -> dict[str, str]:
    return Location.at(place).read_json("run.json")["results"]


def wait_for_blocks(place: Path, count: int, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while len(list(place.glob("blocks/*/*/*-*"))) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)


def test_sigterm_ends_with_75_and_the_rest_follows(whole, tmp_path):
    """After SIGTERM the block in hand is written and the status says requeue; the same command does the rest."""
    file, expected = whole
    process = start(file, tmp_path, "--set", "seeds=0:4000")
    wait_for_blocks(tmp_path, 3, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err.decode()
    assert not list(tmp_path.rglob("done.json"))
    there = len(Location.at(tmp_path).listed("blocks/"))
    assert 3 <= there < 4000
    record = (tmp_path / "sweep.json").read_text()
    (tmp_path / "sweep.json").write_text(record.replace('"0:4000"', '"0:40"'))
    assert finish(file, tmp_path) == 0
    assert digests(tmp_path) == expected


def test_interrupt_ends_with_130(whole, tmp_path):
    """Ctrl-C does the same with its own status."""
    file, _ = whole
    process = start(file, tmp_path, "--set", "seeds=0:4000")
    wait_for_blocks(tmp_path, 1, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()


def test_sigkill_loses_nothing_that_was_written(whole, tmp_path):
    """Killed at random moments and started again each time, the bits are those of an undisturbed run."""
    file, expected = whole
    chance = random.Random(7)
    for _ in range(2):
        process = start(file, tmp_path)
        wait_for_blocks(tmp_path, len(Location.at(tmp_path).listed("blocks/")) + chance.randrange(1, 12), process)
        process.kill()
        process.communicate(timeout=60)
    assert finish(file, tmp_path) == 0
    assert digests(tmp_path) == expected


def test_two_at_once_on_one_folder_agree(whole, tmp_path):
    """Two processes that know nothing of each other, started at the same moment, give the result of one."""
    file, expected = whole
    processes = [start(file, tmp_path) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert digests(tmp_path) == expected


@pytest.mark.slow
def test_two_processes_of_jax_share_the_work(whole, tmp_path):
    """JAX's runtime on loopback, named by its variables, makes two processes two shards."""
    file, expected = whole
    processes = joined(file, tmp_path)
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert digests(tmp_path) == expected


def test_a_slurm_step_is_two_shards(whole, tmp_path):
    """Under srun each process does its share, without any runtime between them."""
    file, expected = whole
    first = start(file, tmp_path, SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="2")
    assert first.communicate(timeout=60) and first.returncode == 0
    assert len(Location.at(tmp_path).listed("blocks/")) == 20
    assert jaxrf.open(tmp_path).result().count == 40
    assert finish(file, tmp_path, "--shard", "1/2") == 0
    assert digests(tmp_path) == expected


def test_four_devices_of_a_process_agree_with_one(whole, tmp_path):
    """Work that is spread over virtual devices has the bits of one device."""
    file, expected = whole
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    process = start(file, tmp_path, XLA_FLAGS=flags)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    assert digests(tmp_path) == expected


@pytest.mark.slow
def test_a_killed_peer_harms_nobody(whole, tmp_path):
    """Of two processes that JAX's runtime joined, one is killed; the other does its share and ends well."""
    file, expected = whole
    processes = joined(file, tmp_path)
    wait_for_blocks(tmp_path, 4, processes[0])
    processes[0].kill()
    processes[0].communicate(timeout=60)
    _, err = processes[1].communicate(timeout=60)
    assert processes[1].returncode == 0, err.decode()
    assert finish(file, tmp_path) == 0
    assert digests(tmp_path) == expected
