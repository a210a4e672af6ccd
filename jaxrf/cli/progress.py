"""A bar on a terminal for calls that take long; elsewhere nothing is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

AFTER = 2.0
"""Seconds until a bar appears: a short call shows none."""


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A callback for `jaxrf.erf(progress=)`, which moves a bar on standard error while that is a terminal.

    Args:
        what: is counted.
    """
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    shown = Progress(
        what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    )
    began, task = time.monotonic(), shown.add_task(what, total=None)

    def moved(done: int, total: int | None) -> None:
        shown.update(task, completed=done, total=total)
        if time.monotonic() - began > AFTER and shown.console.is_terminal:
            shown.start()

    try:
        yield moved
    finally:
        if shown.live.is_started:  # one that never was would end a line that nobody began
            shown.stop()
