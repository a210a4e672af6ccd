"""What a number depended on besides its arguments: versions, device, precision."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import time
from typing import Any

PACKAGES = ("jaxrf", "jax", "jaxlib", "flax", "numpy")


def provenance(model: str, layer: str, wrt: str | None, dtype: Any) -> dict[str, Any]:
    """JSON-able facts for the record of a result."""
    import jax  # not by who reads results

    device = jax.devices()[0]
    return {
        "model": model,
        "layer": layer,
        "wrt": wrt,
        "dtype": str(dtype),
        "precision": str(jax.config.values["jax_default_matmul_precision"]),
        "device": f"{device.platform}: {device.device_kind}",
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def version(package: str) -> str:
    """The version of an installed package, or words that say that it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def visible_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def moment(seconds: float) -> str:
    """A time of `time.time`, in words that sort."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def git_commit() -> str | None:
    """The commit of the working folder, where it is in a git repository."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
