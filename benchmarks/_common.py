"""What all benchmarks share: their options, interleaved timing, comparison of maps, results on disk.

A script measures its candidates in rounds, every candidate once per round, so that a change in the machine's speed
meets all of them alike; medians are reported, and ratios are of medians from one run. Compilation stands apart.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.base.provenance import PACKAGES, version
from jaxrf.engine.windows import Windows
from jaxrf.equations.program import TangentProgram
from jaxrf.primitives.rule import rules

RESULTS = Path(__file__).parent / "results"
EXTRA = ("torch", "libtpu", "jax_cuda13_plugin")
"""Packages of peers and compilers, which need not be installed."""
PAUSE = 0.05
"""Seconds between two candidates, so that the idle threads of one have gone to sleep before the next begins."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every script has: `--repeats`, `--small`, `--out`."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--repeats", type=int, default=5, help="rounds of the interleaved measurement (default: 5)")
    made.add_argument("--small", action="store_true", help="tiny sizes: whether the script runs, not how fast")
    made.add_argument("--out", type=Path, help="JSON file; default: results/NAME.json here, none if --small")
    return made


def with_tables(made: argparse.ArgumentParser, names: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with `--tables` for some of `names`."""
    made.add_argument("--tables", default=",".join(names), help=f"which of: {', '.join(names)} (default: all)")
    return made


def chosen_tables(made: argparse.ArgumentParser, options: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """Those that were asked for; ends with an error for one that is not among `names`."""
    chosen = [name.strip() for name in options.tables.split(",")]
    if unknown := sorted({*chosen} - {*names}):
        made.error(f"no table {unknown[0]!r}; there are {', '.join(names)}")
    return chosen


def interleaved(candidates: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call of each candidate, one call of each per round.

    A candidate returns only when its work is done, and has been called before, so that nothing is compiled here.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, call in candidates.items():
            times[name].append(seconds(call))
    return times


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of one call."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Gemm:
    """A large product of float32 matrices, as the rate that the machine can reach; a candidate among the others."""

    def __init__(self, small: bool = False):
        n = 128 if small else 2048
        self.flops = 2 * n**3
        self._factors = [jnp.asarray(np.random.default_rng(i).normal(size=(n, n)), jnp.float32) for i in (0, 1)]
        self._product = jax.jit(jnp.dot)
        self()

    def __call__(self) -> None:
        self._product(*self._factors).block_until_ready()


def forward_flops(program: TangentProgram, windows: Windows) -> float:
    """FLOPs of the convolutions and products that compute the coefficients of a pull-back, for one image."""
    counted = ("conv_general_dilated", "dot_general")
    return sum(
        rules[eqn.primitive].flops(eqn) for eqn in program.needed(windows.coefficients()) if eqn.primitive in counted
    )


def whole_maps(maps: np.ndarray, origin: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Unit-centered maps (..., unit, y, x) laid into images (..., unit, *shape); what leaves the image is dropped."""
    placed = np.zeros((*maps.shape[:-2], *shape), maps.dtype)
    for unit, begin in enumerate(origin):
        lo = np.maximum(begin, 0)
        hi = np.minimum(begin + maps.shape[-2:], shape)
        (y0, x0), (y1, x1), (dy, dx) = lo, hi, begin
        placed[..., unit, y0:y1, x0:x1] = maps[..., unit, y0 - dy : y1 - dy, x0 - dx : x1 - dx]
    return placed


def relative_errors(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Per map: the norm of the difference over the norm of what was wanted; 0 where both are zero."""
    axes = (-2, -1)
    difference = np.sqrt(np.square(found.astype(np.float64) - wanted).sum(axes))
    size = np.sqrt(np.square(wanted.astype(np.float64)).sum(axes))
    return np.divide(difference, size, out=np.where(difference > 0, np.inf, 0.0), where=size > 0)


def is_there(package: str) -> bool:
    """Whether a package is installed."""
    return importlib.util.find_spec(package) is not None


def machine() -> dict[str, Any]:
    """Facts that a time depends on."""
    with open("/proc/cpuinfo") as lines:
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "device": str(jax.devices()[0].device_kind),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in (*PACKAGES, *EXTRA) if is_there(name)},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


class Report:
    """The result file of one script: tables of rows, each row with its columns and its details.

    A row is written as soon as it is there, and replaces the row of the same name in the file; so a long benchmark can
    be run in parts. `table.py` makes the tables of the README from these files.
    """

    def __init__(self, name: str, options: argparse.Namespace):
        self.file: Path | None = options.out or (None if options.small else RESULTS / f"{name}.json")
        self.name, self.small = name, options.small

    def add(self, table: str, row: str, columns: Mapping[str, Any], details: Mapping[str, Any] | None = None) -> None:
        """Print and write one row: `columns` are shown in the tables, `details` are kept in the file only."""
        print(f"{table} | {row}: " + ", ".join(f"{name} {shown(value)}" for name, value in columns.items()), flush=True)
        if self.file is None:
            return
        content = json.loads(self.file.read_text()) if self.file.exists() else {"name": self.name, "tables": {}}
        content["small"] = self.small
        rows = content["tables"].setdefault(table, {})
        rows[row] = {"columns": dict(columns), "details": {**(details or {}), "machine": machine()}}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(content, indent=1) + "\n")


def shown(value: Any) -> str:
    """A number with three digits, as tables print it; None is empty."""
    if value is None:
        return ""
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, digits)}f}"
