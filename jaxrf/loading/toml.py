"""TOML files as tables, with values of theirs changed by dotted keys."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxrf.errors import InputError


def table(path: str | Path, changes: Iterable[tuple[str, Any]] = ()) -> dict[str, Any]:
    """The table in a file, with some values changed.

    Args:
        path: of the file.
        changes: pairs of a dotted key, `model.depth`, and its new value.

    Raises:
        InputError: there is no such file, it is not TOML, or a key goes through what is not a table.
    """
    try:
        given = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Give the path of a TOML file.") from error
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error}.") from error
    for key, value in changes:
        inner, parts = given, key.split(".")
        for part in parts[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise InputError(f"{key} cannot be set: {part} is {inner!r}, not a table.")
        inner[parts[-1]] = value
    return given
