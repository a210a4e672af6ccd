"""Two processes of one program on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys


def run_two(code: str, *arguments: str) -> None:
    """Runs `code` twice at once, with a number (0 or 1), a free port and `arguments`; each has to end with "done"."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", code, str(n), port, *arguments], **pipes) for n in range(2)]
    try:
        done = [process.communicate(timeout=500) for process in both]
    finally:
        for process in both:
            process.kill()
    for process, (printed, errors) in zip(both, done, strict=True):
        assert process.returncode == 0 and printed.strip().endswith("done"), errors[-3000:]
