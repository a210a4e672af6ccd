"""The folder that a run writes to: made, recognized as ours, or refused before anything is computed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxrf.errors import StoreError, listed

MARK = "run.json"


@dataclass(frozen=True)
class RunFolder:
    """A folder of one run: `run.json` says what was asked, beside the results."""

    path: Path

    @classmethod
    def claim(cls, path: str | Path, *, overwrite: bool = False) -> RunFolder:
        """The folder at `path`, made where it is not there.

        Raises:
            StoreError: something else is there, or an earlier run and not `overwrite`.
        """
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise StoreError(f"{path} is a file; --out needs a folder. Choose another path.")
        found = sorted(entry.name for entry in path.iterdir()) if path.exists() else []
        if found and not _is_ours(path):
            raise StoreError(
                f"The folder {path} exists and was not written by jaxrf: it holds {listed(found)}. Choose another one."
            )
        if found and not overwrite:
            raise StoreError(f"The folder {path} holds an earlier run. Add --overwrite, or choose another one.")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"The folder {path} cannot be made: {error}. Choose another one.") from error
        return cls(path)

    def describe(self, command: str, **asked: Any) -> None:
        """Write what was asked, which also marks the folder as ours."""
        (self.path / MARK).write_text(json.dumps({"program": "jaxrf", "command": command, **asked}, indent=2) + "\n")


def _is_ours(path: Path) -> bool:
    try:
        return json.loads((path / MARK).read_text())["program"] == "jaxrf"
    except (OSError, ValueError, LookupError, TypeError):
        return False
