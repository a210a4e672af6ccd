"""Executors by name: threads of this process's devices, processes of this machine, Dask, MPI; and keeping one busy.

Sharing out among workers, their loss and their dashboards are the executor's.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import threading
from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from jaxrf.errors import EngineError, InputError

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds in which a scheduler must answer."""
TICK = 0.1
"""Seconds between two questions whether to stop."""


@contextmanager
def executor(on: str | Executor | None) -> Iterator[Executor | None]:
    """The executor that is named; None in a process that only serves another one's, when all is done.

    Args:
        on: `processes:4`, `dask://host:port`, or `mpi`; an executor, which is left open; None for a thread for each of
            this process's devices.

    Raises:
        InputError: no such executor, it cannot be reached, or its library is not installed.
    """
    if on is None:
        with _devices() as threads:
            yield threads
    elif not isinstance(on, str | type) and hasattr(on, "submit"):
        yield on
    elif found := re.fullmatch(r"processes:([1-9]\d{0,3})", str(on)):
        import multiprocessing

        spawned = multiprocessing.get_context("spawn")  # a fork would hang: JAX has threads
        with ProcessPoolExecutor(int(found[1]), spawned, initializer=_follow) as processes:
            yield processes
    elif isinstance(on, str) and on.startswith("dask://"):
        with _dask(on.removeprefix("dask://")) as dask:
            yield dask
    elif on == "mpi":
        with _mpi() as mpi:
            yield mpi
    else:
        raise InputError(
            f"There is no engine {on!r}. Write processes:4, dask://host:8786 or mpi, give a concurrent.futures.Executor, or "
            "leave it out."
        )


def width(executor: Any) -> int:
    """How many calls an executor runs at a time, now, as far as it says; what it does not say counts as one."""
    if client := getattr(executor, "_client", None):  # of Dask, whose workers come and go
        return max(1, sum(client.nthreads().values()))
    return max(1, int(getattr(executor, "num_workers", None) or getattr(executor, "_max_workers", None) or 1))


def sharing(executor: Any) -> int:
    """How many calls, of those that an executor runs at a time, share the memory of one machine, or of one device.

    Workers of Dask tell their machine; of others that do not, all are taken to be on one.
    """
    if client := getattr(executor, "_client", None):
        hosts = Counter()
        for address, threads in client.nthreads().items():
            hosts[urlsplit(address).hostname] += threads
        return max(1, *hosts.values()) if hosts else 1
    if isinstance(executor, ThreadPoolExecutor):
        import jax

        devices = 1 if jax.default_backend() == "cpu" else len(jax.local_devices())
        return -(-width(executor) // devices)
    return getattr(executor, "sharing", width(executor))


def answers(
    executor: Executor,
    function: Callable[..., T],
    ask: Callable[[int], tuple[Any, Any] | None],
    stop: Callable[[], bool],
) -> Iterator[tuple[Any, Any, T | BaseException]]:
    """What a function answers to one thing after the other, in any order, until there is nothing more to ask.

    Args:
        executor: who calls it.
        function: of one thing; threads of this process also pass `stop`, which is true when nobody waits any more.
        ask: given how many calls are out, the next thing and what it is for; None where there is nothing now.
        stop: when it is true, calls that were not begun are given up.

    Yields:
        Each thing, what it is for, and its answer; or the error with which it was lost, such as its worker's death.

    Raises:
        EngineError: those who call are gone.
    """
    out: dict[Future[T], tuple[Any, Any]] = {}
    ended = threading.Event()
    if isinstance(executor, ThreadPoolExecutor):
        function = partial(function, stop=lambda: ended.is_set() or stop())
    try:
        while True:
            while (asked := ask(len(out))) is not None:
                out[_submitted(executor, function, asked[0])] = asked
            if not out:
                return
            for future in wait(out, TICK, FIRST_COMPLETED).done:
                asked = out.pop(future)
                if not (future.cancelled() and stop()):
                    yield *asked, _answer(future)
            if stop():
                for future in out:
                    future.cancel()  # those that are being computed go on to their end
    finally:
        ended.set()
        for future in out:
            future.cancel()


def _submitted(executor: Executor, function: Callable[..., T], thing: Any) -> Future[T]:
    try:
        return executor.submit(function, thing)
    except Exception as error:
        raise gone(error) from error


def _answer(future: Future[T]) -> T | BaseException:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise gone(error) from error
    except (Exception, CancelledError) as error:
        return error


def gone(error: BaseException) -> EngineError:
    """The error of workers that come back no more."""
    return EngineError(
        f"Those who compute are gone: {type(error).__name__}: {error}. What was written is sound; see that the workers "
        "run and have enough memory, then run the same command again."
    )


@contextmanager
def _devices() -> Iterator[ThreadPoolExecutor]:
    import jax

    devices: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for device in jax.local_devices():
        devices.put(device)

    def take() -> None:
        jax.default_device(devices.get()).__enter__()  # of this thread, for as long as it lives

    with ThreadPoolExecutor(devices.qsize(), "jaxrf-device", take) as threads:
        yield threads


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("Dask is not installed. Use pip install 'jaxrf[dask]'.") from error
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"There is no Dask scheduler at {address}: {error}. Check its address.") from error
    with client:
        yield client.get_executor(retries=3)


@contextmanager
def _mpi() -> Iterator[Executor | None]:
    try:
        from mpi4py import MPI  # pyright: ignore[reportMissingImports]
        from mpi4py.futures import MPICommExecutor  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError) as error:
        raise InputError(f"MPI cannot be used: {error}. Use pip install 'jaxrf[mpi]', with an MPI library.") from error
    if MPI.COMM_WORLD.Get_size() < 2:
        raise InputError(
            "MPI started one process, and process 0 only hands out work. Use mpirun -n 5 for four workers."
        )
    sharing = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED).Get_size()  # processes on the machine of each
    with MPICommExecutor(MPI.COMM_WORLD, root=0) as executor:
        if executor is not None:
            executor.sharing = sharing
        yield executor


def _follow() -> None:
    """Leave Ctrl-C to the process that started this one, and end when it ends."""
    import multiprocessing.connection

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True, name="jaxrf-parent").start()
