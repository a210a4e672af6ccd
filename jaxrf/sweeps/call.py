"""`jaxrf.sweep`: a sweep from Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

from jaxrf.errors import InputError
from jaxrf.sweeps.progress import Progress
from jaxrf.sweeps.results import Sweep, open
from jaxrf.sweeps.run import run
from jaxrf.tasks.held import Sweepable, as_asked
from jaxrf.tasks.task import Task


def sweep(
    spec_or_tasks: Sweepable | Mapping[str, Any] | str | os.PathLike[str] | Iterable[Task],
    out: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    on: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    strict: bool = False,
    mix_devices: bool = False,
    memory: int | float | str | None = None,
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
        memory: bytes, or words such as "15GB", that all who compute on one machine may take together, in the sense of
            `jaxrf.erf`; half of what is free if None. Each of them has an equal share.
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
    if progress is not None and not callable(progress):
        raise InputError(f"progress={progress!r} is not a function of a Progress.")
    specification, end = as_asked(spec_or_tasks, asked), None
    terms = {"strict": strict, "mix_devices": mix_devices, "memory": memory}
    for end in run(specification, out, on=on if executor is None else executor, **terms):
        if progress is not None:
            progress(end)
    found = open(out)
    if end is not None and end.state == "failed":
        failures = found.failures()
        last = next(iter(failures.values())).strip().splitlines()[-1]
        text = f"{end.failed} of {len(found)} tasks failed; see failures(). The first: {last}"
        if len(failures) == len(found):
            raise InputError(text)
        warnings.warn(text, stacklevel=2)
    return found
