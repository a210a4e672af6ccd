"""A record as one compressed npz file, for readers with NumPy only: the arrays, and `header` as JSON text."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.errors import StoreError
from jaxrf.store.record import FORMAT, Record, check_header, checked, full_header, memory_bytes

BROKEN = (ValueError, EOFError, OSError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged archive raises; RuntimeError where it is encrypted, or JSON is deep."""


def write(path: Path, record: Record) -> None:
    """Write the file `path`."""
    header = json.dumps(full_header(record), allow_nan=False)
    arrays: dict[str, Any] = {name: variable.data for name, variable in record.variables.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, header=np.array(header), **arrays)


def read(path: Path) -> Record:
    """Read the file `path`."""
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"])) if "header" in file else None
            header = check_header(header, path)
            arrays = {name: file[name] for name in header["arrays"]}
    except (*BROKEN, KeyError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} is damaged or not an npz file ({error}). Make it again.") from error
    return checked(header, arrays, path)


def _check_sizes(path: Path) -> None:
    """Raise where the arrays would be larger than memory once they are unpacked."""
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    if sizes.get("header.npy", 0) > 2**30 or sum(sizes.values()) > memory_bytes():
        raise ValueError(f"it unpacks to {sum(sizes.values())} bytes")


def is_ours(path: Path) -> bool:
    """Whether `path` is a file with a result."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return json.loads(str(file["header"]))["format"] == FORMAT
    except (*BROKEN, KeyError, TypeError, AttributeError):
        return False
