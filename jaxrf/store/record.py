"""What is stored: named arrays with named axes, and a header that JSON can hold.

The same record goes into every format. The header is completed with the format's name, its schema version, the axes
and the shape of each array, so that a reader knows what must be there, and with checksums of the arrays and of itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.errors import StoreError

FORMAT = "jaxrf-result"
SCHEMA_VERSION = 2
"""2 has checksums and shapes; 1 is read without them."""
ADDED = ("format", "schema_version", "arrays", "shapes", "checksums", "checksum")


@dataclass(frozen=True, eq=False)
class Variable:
    """An array and the names of its axes."""

    axes: tuple[str, ...]
    data: np.ndarray


@dataclass(frozen=True, eq=False)
class Record:
    """Arrays by name, and a header of JSON-able values."""

    variables: Mapping[str, Variable]
    header: Mapping[str, Any]


def full_header(record: Record) -> dict[str, Any]:
    """The header as it is written: plain JSON values, with format, schema version and the axes of the arrays.

    Raises:
        StoreError: an entry is not JSON-able; says which.
    """
    header = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "arrays": {name: list(variable.axes) for name, variable in record.variables.items()},
        "shapes": {name: list(variable.data.shape) for name, variable in record.variables.items()},
        "checksums": {name: _digest(variable.data) for name, variable in record.variables.items()},
        **{key: plain(value, key) for key, value in record.header.items()},
    }
    return {**header, "checksum": checksum(header)}


def checksum(values: Mapping[str, Any]) -> str:
    """A hash of JSON-able values, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _digest(data: np.ndarray) -> str:
    """A hash of the shape and the values of an array, the same in all formats: in 64 bits, all NaN alike."""
    if data.dtype.kind == "f":
        data = np.where(np.isnan(data), np.nan, data)
    values = np.ascontiguousarray(data, "<f8" if data.dtype.kind == "f" else "<i8")
    return hashlib.sha256(repr(data.shape).encode() + values.tobytes()).hexdigest()


def checked(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], path: Path) -> Record:
    """The record of a header that was checked, and of arrays that were read.

    Raises:
        StoreError: an array does not have its checksum.
    """
    for name, data in arrays.items():
        if header["schema_version"] > 1 and header["checksums"].get(name) != _digest(data):
            raise StoreError(f"{path} is damaged: its array {name!r} does not have its checksum. Make it again.")
    variables = {name: Variable(tuple(header["arrays"][name]), data) for name, data in arrays.items()}
    return Record(variables, {key: value for key, value in header.items() if key not in ADDED})


def check_header(header: Any, path: Path) -> dict[str, Any]:
    """The header that was read, if it is one of ours and not newer than this version.

    Raises:
        StoreError: the header is foreign, newer, or lacks its list of arrays.
    """
    if not isinstance(header, Mapping) or header.get("format") != FORMAT:
        raise StoreError(
            f"{path} is not a jaxrf result: its header has no format {FORMAT!r}. Load what Result.save() wrote."
        )
    version = header.get("schema_version")
    if not isinstance(version, int) or not isinstance(header.get("arrays"), Mapping):
        raise StoreError(f"{path} is damaged: its header has no schema version or no list of arrays. Make it again.")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}, but this jaxrf reads versions up to {SCHEMA_VERSION}. "
            "Use a newer jaxrf."
        )
    own = {key: value for key, value in header.items() if key != "checksum"}
    if version > 1 and header.get("checksum") != checksum(own):
        raise StoreError(f"{path} is damaged: its header does not have its checksum. Make it again.")
    return dict(header)


def memory_bytes() -> int:
    """Bytes that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**40


def plain(value: Any, where: str) -> Any:
    """`value` in JSON's own types: NumPy numbers, arrays, tuples and paths are converted.

    Raises:
        StoreError: there is something else in it, or a number that JSON does not have; `where` names it.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise StoreError(
            f"The entry {where!r} is {value}, which JSON cannot hold. Use None, a string or a finite number."
        )
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist(), where)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    raise StoreError(
        f"The entry {where!r} is of type {type(value).__name__}, which cannot be stored. "
        "Use numbers, strings, lists and dicts."
    )
