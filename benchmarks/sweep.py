"""What does a sweep cost beside the maps in it: with small tasks, on one process or two, and with very many blocks?

Rates are of the seeds after the first block, until all is merged and written: tracing and compiling do not count.
Processes are bound to cores with `taskset`, where that is there. Beside seconds of the clock stand seconds of the
processor, which others on the machine disturb less; of two workers, those of the busier one. What is compared goes in
turns, and ratios are of a round each: their median and quartiles.

    python benchmarks/sweep.py --tables throughput,dask
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _common import Report, chosen_tables, is_there, parser, with_tables

from jaxrf import noise, zoo
from jaxrf.fields.opening import open_call
from jaxrf.inputs.images import as_images
from jaxrf.planning.options import Options
from jaxrf.sweeps.blocks import Area, Chunks, Made, to_bytes
from jaxrf.sweeps.folder import Folder
from jaxrf.sweeps.run import run
from jaxrf.tasks import Specification

SIDE = 32
OPTIONS = {"depth": 8, "width": 32}
"""Of the small task: a millisecond or two per seed."""
Measure = Callable[[], tuple[float, float]]
"""Seeds per second of the clock, and of the processor."""
BETWEEN = 0.3, 0.95
"""Shares of the seeds: each worker has opened the task at the first, and is still busy at the second."""


def specification(seeds: int, **changes: Any) -> Specification:
    """A sweep of the small task."""
    model = {"source": "zoo:conv_stack", **OPTIONS}
    return Specification(
        **{"model": model, "input": f"{SIDE}x{SIDE}x3", "seeds": seeds, "measures": ["sigma"], **changes}
    )


@dataclass(frozen=True)
class Stretch:
    """What one process computed after its first block, or in all where there was no other.

    Attributes:
        seeds: how many.
        began, ended: when the first block was there, and when the sweep ended.
        cpu: seconds of the processor between.
    """

    seeds: int
    began: float
    ended: float
    cpu: float


def swept(seeds: int, place: str, shard: tuple[int, int] = (0, 1)) -> Stretch:
    """A sweep, or a share of one, on an empty folder."""
    first, began, cpu = 0, 0.0, 0.0
    opened, opened_cpu = time.time(), time.process_time()
    for last in run(specification(seeds), place, shard=shard):
        if last.computed and not first:
            first, began, cpu = last.computed, time.time(), time.process_time()
    if last.computed == first:
        return Stretch(first, opened, time.time(), time.process_time() - opened_cpu)
    return Stretch(last.computed - first, began, time.time(), time.process_time() - cpu)


def rate(stretches: list[Stretch]) -> float:
    """Seeds per second of processes that ran side by side."""
    seconds = max(one.ended for one in stretches) - min(one.began for one in stretches)
    return sum(one.seeds for one in stretches) / seconds


def in_sweep(seeds: int) -> tuple[float, float]:
    """Seeds of a sweep in this process per second of the clock, and of the processor."""
    with tempfile.TemporaryDirectory() as folder:
        found = swept(seeds, f"{folder}/out")
        return rate([found]), found.seeds / found.cpu


def in_engine(seeds: int) -> tuple[float, float]:
    """The same of these maps and means without a sweep, by a field that was prepared before."""
    with jax.default_matmul_precision("highest"):
        images = as_images(noise(1).images(0, 1, (SIDE, SIDE, 3), np.float32), None)  # drawn once, as a sweep does
        opened = open_call(zoo.conv_stack(**OPTIONS), None, images, Options(seeds=seeds))
        (run,) = opened.runs.values()
        run.result(images, opened.seeds[:2])
        began, cpu = time.perf_counter(), time.process_time()
        run.result(images, opened.seeds)
        return seeds / (time.perf_counter() - began), seeds / (time.process_time() - cpu)


def alternated(first: Measure, second: Measure, rounds: int) -> list[tuple[float, float, float, float]]:
    """Rates of two measurements in turns, after one of each that does not count; every other round begins with the second.

    So what slows the machine down for a while, or takes its caches, is met by both alike.
    """
    first(), second()
    found = []
    for number in range(rounds):
        if number % 2:
            there, here = second(), first()
        else:
            here, there = first(), second()
        found.append((*here, *there))
    return found


def compared(names: tuple[str, str], rounds: list[tuple[float, float, float, float]]) -> dict[str, float]:
    """Median rates by the clock, and medians and quartiles of the rounds' ratios, by the clock and by the processor."""
    one, one_cpu, two, two_cpu = np.transpose(rounds)
    columns = {
        f"seeds a second, {name}": float(np.median(rates)) for name, rates in zip(names, (one, two), strict=True)
    }
    for name, ratios in {"ratio": two / one, "ratio by processor time": two_cpu / one_cpu}.items():
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        columns |= {name: float(middle), f"{name}, quartiles": f"{low:.2f} to {high:.2f}"}
    return columns


def throughput(report: Report, small: bool, repeats: int) -> None:
    """Seeds per second in a sweep and in `Run.result`."""
    seeds, rounds = (200, 1) if small else (2000, 3 * repeats)
    found = alternated(lambda: in_engine(seeds), lambda: in_sweep(seeds), rounds)
    report.add("sweep of small tasks", "one process", compared(("engine", "sweep"), found), {"rounds": found})


def processes(report: Report, small: bool, repeats: int) -> None:
    """Two processes with a core each, against one with both."""
    seeds = 400 if small else 8000
    rounds = [(bound(seeds, ["0,1"]), bound(seeds, ["0", "1"])) for _ in range(repeats)]
    one, two = (statistics.median(column) for column in zip(*rounds, strict=True))
    columns = {"seeds a second, one process": one, "seeds a second, two": two, "ratio": two / one}
    report.add("processes", "two cores", columns, {"rounds": rounds, "bound": _can_bind()})


def dask(report: Report, small: bool, repeats: int) -> None:
    """Two Dask workers with a core each, against one with one core."""
    if not is_there("distributed"):
        return
    seeds, rounds = (3000, 1) if small else (8000, repeats)
    with _cluster(["0"]) as one, _cluster(["0", "1"]) as two:
        found = alternated(lambda: on_dask(seeds, *one), lambda: on_dask(2 * seeds, *two), rounds)
    columns = compared(("one worker", "two"), found)
    report.add("dask", "workers of one core", columns, {"rounds": found, "bound": _can_bind()})


def on_dask(seeds: int, address: str, workers: list[Any]) -> tuple[float, float]:
    """Seeds of a sweep on these workers per second of the clock, and of the processor of the busiest worker.

    Between two answers, so that what workers have in hand is as much at the end as it was at the beginning. Two workers are
    given twice the seeds of one, so that both cases last as long.
    """
    moments, shares = [], iter(BETWEEN)
    with tempfile.TemporaryDirectory() as folder:
        share = next(shares)
        for last in run(specification(seeds), f"{folder}/out", on=f"dask://{address}"):
            if last.state == "running" and last.computed >= share * seeds:
                moments.append((last.computed, time.perf_counter(), *(_used(one) for one in workers)))
                share = next(shares, 2)
    computed, seconds, *used = np.subtract(moments[-1], moments[0])
    return computed / seconds, computed / max(*used, 0.01)  # the kernel counts in hundredths


def _used(process: Any) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def _cluster(cores: list[str]) -> Iterator[tuple[str, list[Any]]]:
    """The address of a scheduler, and its workers, each bound to its core."""
    import psutil
    from distributed import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", f"tcp://{address}", "--no-dashboard"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://{address}", "--nthreads", "1"]
    worker += ["--no-nanny", "--no-dashboard"]
    begun = [subprocess.Popen(scheduler, **quiet)]
    try:
        for core in cores:
            bind = ["taskset", "-c", core] if _can_bind() else []
            begun.append(subprocess.Popen([*bind, *worker], **quiet))
        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(len(cores), timeout=120)
        yield address, [psutil.Process(process.pid) for process in begun[1:]]
    finally:
        for process in reversed(begun):
            process.kill()
            process.wait()


def bound(seeds: int, cores: list[str]) -> float:
    """Seeds per second of processes that share a sweep, each on its cores."""
    with tempfile.TemporaryDirectory() as folder:
        started = []
        for index, own in enumerate(cores):
            child = [sys.executable, __file__, "--child", f"{seeds},{index},{len(cores)},{folder}/out"]
            command = ["taskset", "-c", own, *child] if _can_bind() else child
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return rate([Stretch(*json.loads(one.communicate()[0].splitlines()[-1])) for one in started])


def _can_bind() -> bool:
    return shutil.which("taskset") is not None and (os.cpu_count() or 1) > 1


def blocks(report: Report, small: bool, repeats: int) -> None:
    """Finding that everything is there, merging it and writing the results, of ever more blocks of nearly 20 kB."""
    for count in (50, 100) if small else (10_000, 100_000):
        command = [sys.executable, __file__, "--blocks", str(count), *(["--small"] if small else [])]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        report.add("many blocks", f"{count} blocks", *json.loads(output.splitlines()[-1]))


def many_blocks(count: int, small: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """A sweep whose blocks lie there already, one for each seed: columns and details."""
    side = 7 if small else 69
    model = {"source": "zoo:conv_stack", "depth": side // 2, "width": 2}
    with tempfile.TemporaryDirectory() as place:
        changes = {"model": model, "input": f"{side}x{side}x3"}
        *_, last = run(specification(1, **changes), place)
        (task,) = specification(count, **changes).tasks()
        rng = np.random.default_rng(0)
        for seed in range(count):
            key = Area(seed, seed + 1, 0, 1).key(task.id)
            made = Made((seed, (0, 1)), rng.random((1, 1, side, side), np.float32), np.zeros((1, 1), np.float32))
            file = Path(place) / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(to_bytes(key, [made], {"host": "here"}))
        before, began = _peak(), time.perf_counter()
        chunks = Chunks.of(task, specification(count, **changes).seed_numbers)
        listed = len(Folder.at(place).present({task.id: chunks})[task.id])
        listing = time.perf_counter() - began
        began = time.perf_counter()
        *_, last = run(specification(count, **changes), place)
        columns = {"listing s": listing, "resuming and merging s": time.perf_counter() - began}
        columns["more memory MB"] = _peak() - before
        assert (last.state, last.computed, listed) == ("done", 0, count)
        return columns, {"bytes per block": file.stat().st_size}


def _peak() -> float:
    """Megabytes that the process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


TABLES = {"throughput": throughput, "processes": processes, "dask": dask, "blocks": blocks}


def main() -> None:
    """Run the chosen tables."""
    arguments = with_tables(parser(__doc__), [*TABLES])
    arguments.add_argument("--child", help=argparse.SUPPRESS)
    arguments.add_argument("--blocks", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    if options.child:
        seeds, index, count, place = options.child.split(",", 3)
        print(json.dumps(astuple(swept(int(seeds), place, (int(index), int(count))))))
        return
    if options.blocks:
        print(json.dumps(many_blocks(options.blocks, options.small)))
        return
    report = Report("sweep", options)
    for name in chosen_tables(arguments, options, [*TABLES]):
        TABLES[name](report, options.small, options.repeats)


if __name__ == "__main__":
    main()
