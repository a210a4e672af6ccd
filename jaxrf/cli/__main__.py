"""`python -m jaxrf.cli` is the command `jaxrf`."""

from __future__ import annotations

import sys

from jaxrf.cli import main

if __name__ == "__main__":
    sys.exit(main())
