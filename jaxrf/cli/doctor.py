"""`jaxrf doctor`: what this machine offers to jaxrf, for bug reports and for cluster jobs that see too little."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jaxrf.cli.options import Command, commands

PACKAGES = ("jaxrf", "jax", "jaxlib", "flax", "numpy", "scipy", "tensorstore", "pillow", "matplotlib", "xarray", "zarr")

# The variables by which each kind of job tells a process who it is.
CLUSTERS = {
    "Slurm": ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_CPUS_PER_TASK", "SLURM_JOB_NUM_NODES"),
    "Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "Kubernetes": ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"),
    "Cloud TPU": ("TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES", "MEGASCALE_NUM_SLICES", "MEGASCALE_SLICE_ID"),
    "JAX": ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_PLATFORMS", "XLA_FLAGS"),
}


@commands.register("doctor")
@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Print what jaxrf sees of this machine.

    Versions of packages, devices, cores, memory, and the kind of cluster job, if any.
    """

    def run(self) -> int:
        facts = examine(os.environ)
        print(json.dumps(facts, indent=2) if self.json else "\n".join(_lines(facts)))
        return 0 if "error" not in facts["devices"] else 1


def examine(environment: Mapping[str, str]) -> dict[str, Any]:
    """What is here, in JSON's types; memory is in bytes, absent facts are None."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "core_quota": _core_quota(Path("/sys/fs/cgroup/cpu.max")),
        "memory_available": _memory_available(Path("/proc/meminfo")),
        "memory_limit": _memory_limit(Path("/sys/fs/cgroup/memory.max")),
        "cluster": cluster(environment),
    }


def cluster(environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The kinds of job whose variables are set, with those variables.

    >>> cluster({"SLURM_JOB_ID": "7", "HOME": "/root"})
    {'Slurm': {'SLURM_JOB_ID': '7'}}
    """
    seen = {}
    for kind, names in CLUSTERS.items():
        if found := {name: environment[name] for name in names if name in environment}:
            seen[kind] = found
    return seen


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    import jax

    try:
        devices = jax.devices()
    except RuntimeError as error:  # a backend that was asked for does not start
        return {"error": str(error)}
    kinds = [device.device_kind for device in devices]
    return {
        "platform": jax.default_backend(),
        "count": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "processes": jax.process_count(),
        "process_index": jax.process_index(),
    }


def _core_quota(file: Path) -> float | None:
    """Cores that a container may use (control groups v2), which the affinity does not show."""
    quota, _, period = _text(file).partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _memory_available(file: Path) -> int | None:
    for line in _text(file).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _memory_limit(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _lines(facts: dict[str, Any]) -> list[str]:
    devices = facts["devices"]
    shown = devices.get("error") or ", ".join(f"{n} x {kind}" for kind, n in devices["count"].items())
    quota = "" if facts["core_quota"] is None else f" (quota of the container: {facts['core_quota']:g})"
    lines = [f"{'python':<12} {facts['python']} on {facts['platform']}"]
    lines += [f"{name:<12} {found or 'not installed'}" for name, found in facts["versions"].items()]
    lines += [
        f"{'devices':<12} {shown}",
        f"{'cores':<12} {facts['cores']}{quota}",
        f"{'memory':<12} {_gigabytes(facts['memory_available'])} available, limit {_gigabytes(facts['memory_limit'])}",
    ]
    if not facts["cluster"]:
        return [*lines, f"{'cluster':<12} none seen"]
    for kind, found in facts["cluster"].items():
        lines.append(f"{'cluster':<12} {kind}: {' '.join(f'{name}={value}' for name, value in found.items())}")
    return lines


def _gigabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"
