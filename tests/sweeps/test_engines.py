"""Sweeps on engines that others made: threads, processes, Dask and MPI give the bits of one process."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from jaxrf.base import executors
from jaxrf.base.executors import executor, width
from jaxrf.errors import EngineError, InputError, StoreError
from jaxrf.store.location import Location
from jaxrf.sweeps.run import run
from tests.sweeps.small import MODEL, digests, last, made

TASKS = {"model": {**MODEL, "depth": [1, 2]}, "seeds": "0:30", "inputs": "noise:1"}
SLOWLY = """
import time
from jaxrf.sweeps import job, worker
if job.SECONDS:  # Dask runs this more than once
    whole, job.SECONDS, job.LONGEST = worker.areas, 0, 0
    worker.areas = lambda *chunks: time.sleep(0.05) or whole(*chunks)
"""
"""What a worker of Dask runs first: a block for each chunk, and a pause after it."""


@pytest.fixture(scope="module")
def alone():
    """The digests of two tasks by one process."""
    assert last(made(**TASKS), "memory://engines-alone").state == "done"
    return digests("memory://engines-alone")


def test_threads_of_an_executor_compute(alone):
    """An executor that somebody made is used and left open."""
    with ThreadPoolExecutor(2) as threads:
        assert width(threads) == 2
        assert last(made(**TASKS), "memory://threads", on=threads).state == "done"
        assert threads.submit(int, "3").result() == 3
    assert digests("memory://threads") == alone


class Losing(ThreadPoolExecutor):
    """An executor whose workers die with every other job."""

    count = 0

    def submit(self, *arguments, **options):
        self.count += 1
        if self.count % 2:
            lost = Future()
            lost.set_exception(RuntimeError("the worker died"))
            return lost
        return super().submit(*arguments, **options)


def test_jobs_that_are_lost_are_done_again(alone, monkeypatch):
    """A job whose worker died is handed out again; after too many of them the sweep gives up and says so."""
    with Losing(1) as executor:
        assert last(made(**TASKS), "memory://losing", on=executor).state == "done"
        assert digests("memory://losing") == alone
        monkeypatch.setattr(Losing, "count", property(lambda self: 1, lambda self, value: None))
        with pytest.raises(EngineError, match="Those who compute are gone: RuntimeError: the worker died"):
            last(made(**TASKS), "memory://lost", on=executor)


def test_a_worker_of_another_kind_is_refused(monkeypatch):
    """Versions, settings and the model's source are compared where the task is opened."""
    from jaxrf.sweeps import worker

    whole = worker.environment
    monkeypatch.setattr(worker, "environment", lambda: {**whole(), "x64": True})
    with pytest.raises(
        StoreError, match=r"(?s)is not like the process that asks it.*x64: False there, True here.*same"
    ):
        last(made(), "memory://unlike")


@pytest.mark.slow
def test_engines_are_named(monkeypatch):
    """What is not an engine, or has no scheduler, is said."""
    with pytest.raises(InputError, match="There is no engine 'processes:0'"), executor("processes:0"):
        pass
    pytest.importorskip("distributed")
    monkeypatch.setattr(executors, "PATIENCE", 0.5)
    with pytest.raises(InputError, match="There is no Dask scheduler at 127.0.0.1:1"), executor("dask://127.0.0.1:1"):
        pass


@pytest.mark.slow
def test_processes_compute(alone, tmp_path):
    """Two processes of this machine; when one is killed, that is said, and the same command goes on."""
    assert last(made(**TASKS), tmp_path, on="processes:2").state == "done"
    assert digests(tmp_path) == alone
    with ProcessPoolExecutor(1) as pool:
        pool.submit(os.getpid).result()
        for process in pool._processes.values():
            process.kill()
        with pytest.raises(EngineError, match="BrokenProcessPool"):
            last(made(**TASKS), tmp_path / "killed", on=pool)


@contextmanager
def scheduler():
    """A scheduler on loopback, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["-m", "distributed.cli.dask_scheduler", "--host", f"tcp://{address}", "--no-dashboard"]
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL)
    try:
        yield address
    finally:
        process.kill()
        process.wait()


@contextmanager
def workers(address, folder):
    """What starts a worker of one thread; all of them are ended."""
    (folder / "slowly.py").write_text(SLOWLY)
    begun = []

    def start():
        command = ["-m", "distributed.cli.dask_worker", f"tcp://{address}", "--nthreads", "1", "--no-nanny"]
        command += ["--no-dashboard", "--local-directory", str(folder), "--preload", str(folder / "slowly.py")]
        begun.append(subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL))
        return begun[-1]

    try:
        yield start
    finally:
        for process in begun:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 5])
def test_dask_loses_workers_and_gains_others(alone, tmp_path, kills):
    """Of two workers on loopback one is killed while it computes, and another is added: the bits of one process."""
    distributed = pytest.importorskip("distributed")
    killed = 0
    with scheduler() as address, workers(address, tmp_path) as start:
        running = [start(), start()]
        with distributed.Client(address, timeout=60) as client:
            client.wait_for_workers(2, timeout=120)
            for progress in run(made(**TASKS), tmp_path / "out", on=f"dask://{address}"):
                if killed < kills and progress.computed > 5 + 8 * killed:
                    running.pop(0).kill()
                    running.append(start())
                    killed += 1
    assert (progress.state, progress.done, killed) == ("done", 60, kills)
    assert digests(tmp_path / "out") == alone


@pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or shutil.which("mpirun") is None, reason="mpi4py or mpirun is missing"
)
def test_mpi_computes(alone, tmp_path):
    """Process 0 hands out work to two others under mpirun."""
    (tmp_path / "a.toml").write_text(
        'input = "8x9x3"\ninputs = "noise:1"\nseeds = "0:30"\n'
        '[model]\nsource = "zoo:conv_stack"\ndepth = [1, 2]\nwidth = 2\n'
    )
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3", sys.executable, "-m", "jaxrf"]
    out = str(tmp_path / "out")
    subprocess.run([*command, "sweep", str(tmp_path / "a.toml"), "--out", out, "--on", "mpi"], check=True, timeout=300)
    assert digests(out) == alone


def test_width_of_executors():
    """What an executor does not say counts as one."""
    assert width(object()) == 1


def test_a_place_that_is_removed_ends_the_run(tmp_path):
    """A folder that is removed while a sweep runs ends it with its name; the same sweep goes on with what is left of it."""
    place = tmp_path / "out"

    def until_removed():
        for progress in run(made(seeds="0:400"), place):
            if progress.computed and (place / "sweep.json").exists():
                shutil.rmtree(place, ignore_errors=True)

    with pytest.raises(StoreError, match="sweep.json is gone: the sweep was removed while it ran"):
        until_removed()
    assert not Location.at(place).read("sweep.json")
    assert last(made(), place).state == "done"
    last(made(), "memory://not-removed")
    assert digests(place) == digests("memory://not-removed")
