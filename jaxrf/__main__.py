"""`python -m jaxrf` is the command `jaxrf`."""

from __future__ import annotations

from jaxrf.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
