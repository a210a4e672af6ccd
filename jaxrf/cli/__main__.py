"""`python -m jaxrf.cli` is the command `jaxrf`."""

from __future__ import annotations

import sys

from jaxrf.cli import program

if __name__ == "__main__":
    sys.exit(program())
