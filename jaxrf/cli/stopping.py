"""SIGTERM and Ctrl-C as a wish to stop: work in hand is finished if it does not take too long.

Python tells its main thread of a signal only after a call into XLA has returned, which may take minutes.
So a thread of its own reads the descriptor that Python's handler in C writes to at once.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from types import TracebackType

from jaxrf.cli import REQUEUE

INTERRUPTED = 130
CODES = {signal.SIGTERM: REQUEUE, signal.SIGINT: INTERRUPTED}


class Stopping:
    """A context in which the two signals are wishes; at a second one, or after `grace` seconds, the process ends.

    To be entered in the main thread, after `jax.distributed.initialize`, which takes SIGTERM for itself.

    Attributes:
        grace: seconds that the work in hand may still take.
        code: the exit status that the signal asks for; None before one came.
    """

    def __init__(self, grace: float):
        self.grace = grace
        self.code: int | None = None
        self._over = threading.Event()

    def asked(self) -> bool:
        """Whether to stop."""
        return self.code is not None

    def __enter__(self) -> Stopping:
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self._descriptor = signal.set_wakeup_fd(self._write.fileno())
        self._handlers = {number: signal.signal(number, lambda *_: None) for number in CODES}
        self._thread = threading.Thread(target=self._watch, daemon=True, name="jaxrf-signals")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._descriptor)
        self._read.close()
        self._write.close()

    def _watch(self) -> None:
        while self.code is None:
            self.code = self._wait(0.1)
            if self._over.is_set():
                return
        waited = 0.0
        while not self._over.is_set():
            again = self._wait(0.1)
            waited += 0.1
            if again is not None or waited >= self.grace:
                os._exit(self.code)

    def _wait(self, seconds: float) -> int | None:
        """The status that a signal within so many seconds asks for."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        found = self._read.recv(64) if ready else b""
        return next((CODES[number] for number in map(signal.Signals, found) if number in CODES), None)
