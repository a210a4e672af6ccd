"""How wide the place is that a command prints to."""

from __future__ import annotations

import shutil
import sys


def columns() -> int | None:
    """Characters of a line of the terminal; None where a file or another program reads, whose lines have no end."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
