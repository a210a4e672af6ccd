"""A record as one compressed npz file, for readers with NumPy only: the arrays, and `header` as JSON text."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.errors import StoreError
from jaxrf.store.record import FORMAT, Record, check_header, checked, full_header


def write(path: Path, record: Record) -> None:
    """Write the file `path`."""
    header = json.dumps(full_header(record), allow_nan=False)
    arrays: dict[str, Any] = {name: variable.data for name, variable in record.variables.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, header=np.array(header), **arrays)


def read(path: Path) -> Record:
    """Read the file `path`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"])) if "header" in file else None
            header = check_header(header, path)
            arrays = {name: file[name] for name in header["arrays"]}
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} is damaged or not an npz file ({error}). Make it again.") from error
    return checked(header, arrays, path)


def is_ours(path: Path) -> bool:
    """Whether `path` is a file with a result."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return json.loads(str(file["header"]))["format"] == FORMAT
    except (ValueError, KeyError, EOFError, OSError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error):
        return False
