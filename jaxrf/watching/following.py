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
from jaxrf.loading.checkpoints import read_variables
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
    again until the end, and then given with its problem; one that was removed meanwhile is given with that.

    Args:
        folder: it may not be there yet.
        like: variables, or their shapes, that are needed.
        after: steps up to this one are left out.
        timeout: seconds.
        every: seconds between two looks.
        stop: whether to end.
        average: take the running average of the parameters.
    """
    last, since, failed = after, time.monotonic(), {}
    while not stop():
        steps = steps_of(folder) if folder.is_dir() else {}
        for step in sorted(one for one in steps if one > last):
            if stop():
                return
            try:
                found = Checkpoint(step, read_variables(steps[step], like=like, average=average))
            except InputError as error:
                if steps[step].exists():
                    failed[step] = str(error)
                    break  # the next ones wait for it, so that steps stay in order
                found = Checkpoint(step, None, f"step {step} was removed before it was read")
            failed.pop(step, None)
            yield found
            last, since = step, time.monotonic()
        if time.monotonic() - since >= timeout:
            for step, problem in failed.items():
                yield Checkpoint(step, None, problem)
            return
        time.sleep(min(every, max(timeout, 0.01)))
