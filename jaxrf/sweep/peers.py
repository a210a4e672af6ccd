"""Processes that were started together watch each other: when one dies, the others learn of it within seconds.

Process 0 listens at the address at which JAX's runtime had its coordinator, which is free again by then.
The others connect to it. Every second each end sends a sign of life; at its orderly end it says so first.
A connection that breaks without that, or is silent for long, is a process that died.
A process that was killed is noticed at once, since its system closes its connections; a machine that is gone, by silence.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any

from jaxrf.errors import InputError

HELLO = b"jaxrf sweep peer\n"
ALIVE, END, LOST = b".", b"e", b"x"
EVERY = 1.0
"""Seconds between two signs of life."""
SILENT = 10.0
"""Seconds of silence after which a process counts as dead."""
JOIN = 60.0
"""Seconds within which all processes must have connected."""
GREETING, TICK = 2.0, 0.1
"""Seconds that a greeting may take, and between two looks at what is to be done."""


class Peers:
    """A context in which a thread watches the other processes.

    Process 0 leaves it when the others have left, so that it hears of each of them; or when it is to stop.

    Args:
        address: host and port of process 0.
        index: of this process.
        count: of all.
        lost: called once, in the thread, when another process died.
        stop: whether this process is to stop without waiting for others.

    Raises:
        InputError: on entering, where the others cannot be reached.
    """

    def __init__(
        self, address: str, index: int, count: int, lost: Callable[[], object], stop: Callable[[], bool] = lambda: False
    ):
        host, _, port = address.rpartition(":")
        self._address = (host.strip("[]"), int(port))
        self._index, self._count, self._lost, self._stop = index, count, lost, stop
        self._over, self._failed = threading.Event(), False

    def __enter__(self) -> Peers:
        try:
            self._connections = self._accept() if self._index == 0 else [self._connect()]
        except OSError as error:
            raise InputError(
                f"Process {self._index} of {self._count} did not find the others at {self._address[0]}:"
                f"{self._address[1]}: {error}. Start all of them, or give each its --shard instead."
            ) from error
        self._thread = threading.Thread(target=self._watch, name="jaxrf-peers", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._failed = kind is not None
        self._over.set()
        self._thread.join()

    def _accept(self) -> list[socket.socket]:
        limit, found = time.monotonic() + JOIN, []
        with _server(self._address[1], self._count, limit) as server:
            while len(found) < self._count - 1:
                server.settimeout(max(0.01, limit - time.monotonic()))
                connection = server.accept()[0]
                if _greeted(connection):
                    found.append(connection)
        return found

    def _connect(self) -> socket.socket:
        limit = time.monotonic() + JOIN
        while True:
            try:
                connection = socket.create_connection(self._address, timeout=GREETING)
                if _greeted(connection):  # what listens there may be JAX's coordinator yet, about to close
                    return connection
            except OSError:
                pass
            if time.monotonic() > limit:
                raise TimeoutError(f"no answer within {JOIN:g} s")
            time.sleep(0.1)

    def _watch(self) -> None:
        """Send and hear signs of life until there is nobody left to watch, or somebody is lost."""
        heard = dict.fromkeys(self._connections, time.monotonic())
        said, lost = -EVERY, False
        with selectors.DefaultSelector() as selector:
            for connection in self._connections:
                selector.register(connection, selectors.EVENT_READ)
            while heard and not lost and not (self._over.is_set() and self._may_leave()):
                if time.monotonic() - said >= EVERY:
                    said = time.monotonic()
                    _say(heard, ALIVE)
                for key, _ in selector.select(TICK):
                    word = _heard(key.fileobj)
                    if not word or LOST in word:
                        lost = True
                    elif END in word:
                        selector.unregister(key.fileobj)
                        heard.pop(key.fileobj)  # pyright: ignore[reportArgumentType]
                    else:
                        heard[key.fileobj] = time.monotonic()  # pyright: ignore[reportArgumentType]
                lost = lost or any(time.monotonic() - since > SILENT for since in heard.values())
        if lost:
            self._lost()
        _say(heard, LOST if lost or self._failed else END)
        for connection in self._connections:
            connection.close()

    def _may_leave(self) -> bool:
        return self._index > 0 or self._failed or self._stop()


def _server(port: int, count: int, limit: float) -> socket.socket:
    """A listening socket; the one who had the port before may need a moment to let go of it."""
    while True:
        try:
            return socket.create_server(("", port), backlog=count)
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.1)


def _greeted(connection: socket.socket) -> bool:
    """Say who this is, and hear whether the other one is of the same kind; else close the connection."""
    try:
        connection.settimeout(GREETING)
        connection.sendall(HELLO)
        said = b""
        while len(said) < len(HELLO) and (more := connection.recv(len(HELLO) - len(said))):
            said += more
        if said == HELLO:
            return True
    except OSError:
        pass
    connection.close()
    return False


def _heard(connection: Any) -> bytes:
    """What was said; nothing where the connection is broken."""
    try:
        return connection.recv(4096)
    except OSError:
        return b""


def _say(to: Iterable[socket.socket], word: bytes) -> None:
    for connection in to:
        with suppress(OSError):  # a broken connection is noticed where it is read
            connection.sendall(word)
