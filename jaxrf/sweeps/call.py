"""`jaxrf.sweep`: a sweep from Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from jaxrf.errors import InputError
from jaxrf.sweeps.progress import Progress
from jaxrf.sweeps.results import Sweep, open
from jaxrf.sweeps.run import run
from jaxrf.tasks.specification import Asked, from_dict, read
from jaxrf.tasks.task import Task, TaskList


def sweep(
    spec_or_tasks: Asked | Mapping[str, Any] | str | os.PathLike[str] | Iterable[Task],
    out: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    on: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    strict: bool = False,
    mix_devices: bool = False,
    **asked: Any,
) -> Sweep:
    """Run a sweep, or what is left of it, and open it.

    The same call goes on with what is there, and adds seeds and tasks that are new.

    Args:
        spec_or_tasks: a `Specification`, a table of its keys, the path of a TOML file; or tasks, each made by
            `jaxrf.task`.
        out: a folder, or a URL `gs://`, `s3://`, `memory://`.
        executor: who computes: any `concurrent.futures.Executor`, such as Dask's `client.get_executor()` or
            `mpi4py.futures.MPIPoolExecutor()`. It is left open.
        on: the same by name: `processes:4`, `dask://host:port`. Without either, the devices of this process.
        progress: called after every second or so of work.
        strict: whether a photo that cannot be read fails its task instead of being left out and counted.
        mix_devices: whether blocks of another kind of device may be added to a task.
        asked: seeds, until, measures and name, in place of those of the specification.

    Returns:
        The sweep, as `jaxrf.open` returns it. Tasks that failed are warned of and stand in its `failures()`.

    Raises:
        InputError: something does not fit; also where all tasks failed.
        StoreError: the place is another's, or cannot be reached.
        EngineError: those who compute are gone; the same call goes on.

    Example:
        >>> import jaxrf
        >>> plan = {"model": {"source": "zoo:conv_stack", "depth": [1, 2], "width": 2}, "input": "8x9x3", "seeds": 2}
        >>> found = jaxrf.sweep(plan, "memory://called")
        >>> found.result(depth=2).count
        2
    """
    end = None
    for end in run(_specification(spec_or_tasks, asked), out, on=on, executor=executor, strict=strict,
                   mix_devices=mix_devices):  # fmt: skip
        if progress is not None:
            progress(end)
    found = open(out)
    failures = found.failures()
    if end is not None and end.state == "failed":
        last = next(iter(failures.values())).strip().splitlines()[-1]
        text = f"{end.failed} of {len(found)} tasks failed; see failures(). The first: {last}"
        if len(failures) == len(found):
            raise InputError(text)
        warnings.warn(text, stacklevel=2)
    return found


def _specification(given: Any, asked: Mapping[str, Any]) -> Asked:
    if isinstance(given, Asked):
        return replace(given, **asked)
    if isinstance(given, Mapping):
        return from_dict({**given, **asked})
    if isinstance(given, str | os.PathLike):
        return read(os.fspath(given), tuple(asked.items()))
    found = list(given) if isinstance(given, Iterable) else [given]
    for one in found:
        if not isinstance(one, Task):
            raise InputError(
                f"A {type(one).__name__} is not a task. Give a specification, a table of its keys, the path of a TOML "
                "file, or tasks made by jaxrf.task(model, ...)."
            )
    return TaskList(tasks=tuple(found), **asked)
