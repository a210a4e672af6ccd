"""SIGTERM and Ctrl-C as a wish to stop: work in hand is finished if it does not take too long.

The signals are waited for in a thread of their own: Python would tell the main thread only after a long call into XLA.
"""

from __future__ import annotations

import os
import signal
import threading
from types import TracebackType

REQUEUE = 75
"""Exit status of a run that was stopped and can go on: EX_TEMPFAIL of sysexits.h, which schedulers requeue."""
INTERRUPTED = 130
CODES = {signal.SIGTERM: REQUEUE, signal.SIGINT: INTERRUPTED}


class Stopping:
    """A context in which the two signals set `asked`; at a second one, or after `grace` seconds, the process ends.

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
        # Threads that are started from here on inherit the mask, so that no other thread gets the signals.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, CODES)
        self._thread = threading.Thread(target=self._watch, daemon=True, name="jaxrf-signals")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _watch(self) -> None:
        while not self._over.is_set():
            found = signal.sigtimedwait(CODES, 0.1)
            if found is not None:
                self.code = CODES[signal.Signals(found.si_signo)]
                break
        else:
            return
        waited = 0.0
        while not self._over.is_set():
            again = signal.sigtimedwait(CODES, 0.1)
            waited += 0.1
            if again is not None or waited >= self.grace:
                os._exit(self.code)
