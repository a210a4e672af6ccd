"""Checkpoints of a folder that a training job writes, each once, in their order, as they come.

Orbax's own `checkpoints_iterator` gives the newest alone, so that those between are missed, and puts snapshots into the
folder; this one only reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxrf.errors import InputError
from jaxrf.loading.checkpoints import DamagedError, read_variables
from jaxrf.loading.formats import steps_of


@dataclass(frozen=True)
class Checkpoint:
    """Variables of a step; None, and why, where they cannot be read."""

    step: int
    variables: Any
    problem: str = ""


def follow(
    folder: Path,
    like: Any,
    *,
    after: int = -1,
    timeout: float = 0.0,
    every: float = 1.0,
    stop: Callable[[], bool] = lambda: False,
    average: bool = False,
) -> Iterator[Checkpoint]:
    """Whole checkpoints by ascending steps, until none came for `timeout` seconds, or `stop()` says so.

    A checkpoint that is being written has another name, and is given when it is whole. One that cannot be read is tried
    again for `timeout` seconds, and then given with its problem; one of other variables, or one that was removed
    meanwhile, is given with its problem at once. Those behind it follow.

    Args:
        folder: it may not be there yet.
        like: variables, or their shapes, that are needed.
        after: steps up to this one are left out.
        timeout: seconds.
        every: seconds between two looks.
        stop: whether to end.
        average: take the running average of the parameters.
    """
    last, since = after, time.monotonic()
    while not stop():
        steps, late = (steps_of(folder) if folder.is_dir() else {}), None
        for step in sorted(one for one in steps if one > last):
            if stop():
                return
            found, whole = _read(step, steps[step], like, average)
            if not whole:
                late = found
                break  # the next ones wait for it, so that steps stay in order
            yield found
            last, since = step, time.monotonic()
        if time.monotonic() - since < timeout:
            time.sleep(min(every, max(timeout, 0.01)))
        elif late is None:
            return
        else:  # it was waited for long enough; what lies behind it is still given
            yield late
            last, since = late.step, time.monotonic()


def _read(step: int, path: Path, like: Any, average: bool) -> tuple[Checkpoint, bool]:
    """A checkpoint, and whether that is all that there will be of it: one that cannot be read may not be whole yet."""
    try:
        return Checkpoint(step, read_variables(path, like=like, average=average)), True
    except InputError as error:
        if not path.exists():
            return Checkpoint(step, None, f"step {step} was removed before it was read"), True
        return Checkpoint(step, None, f"step {step}: {error}"), not isinstance(error, DamagedError)
