"""The file of choices that were measured on one device: written by `jaxrf tune`, read by `choose`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jaxrf.errors import InputError

FORMAT = "jaxrf-tuning-1"


def tuned_choices(file: str, platform: str) -> Mapping[str, str]:
    """The lowering of each problem by its key; nothing where the file was made on another platform.

    Raises:
        InputError: the file is missing or none of ours.
    """
    path = Path(file)
    try:
        found = _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The tuning file {path} cannot be read: {error}. "
            f"Make one with jaxrf tune --out {path}, or unset JAXRF_TUNING."
        ) from error
    return found["choices"] if found["platform"] == platform else {}


@lru_cache(maxsize=8)
def _read(path: Path, modified: int) -> dict[str, Any]:
    found = json.loads(path.read_text())
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    return found


def write_choices(
    path: Path, platform: str, device: str, costs: Mapping[str, Mapping[str, float]], unit: str = "seconds"
) -> None:
    """Save the quickest lowering of each problem, and the costs that say so: seconds, or cycles that a compiler expects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "format": FORMAT,
        "platform": platform,
        "device": device,
        "choices": {key: min(times, key=times.__getitem__) for key, times in costs.items()},
        unit: {key: dict(times) for key, times in costs.items()},
    }
    path.write_text(json.dumps(found, indent=1) + "\n")
