"""A Zarr array on disk, read piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

MARKS = {"zarr.json": "zarr3", ".zarray": "zarr"}
"""Files that only an array, or group, of Zarr has; and tensorstore's names of the formats."""


def is_zarr(path: Path) -> bool:
    """Whether `path` is the folder of a Zarr array or group."""
    return any((path / mark).is_file() for mark in MARKS)


def open_zarr(path: Path) -> Any:
    """The array, of which a part is read when it is asked for by `numpy.asarray(array[first:stop])`.

    Raises:
        ValueError: it is a group, or damaged.
    """
    import tensorstore as ts

    driver = next(MARKS[mark] for mark in MARKS if (path / mark).is_file())
    return ts.open({"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}}, open=True, read=True).result()


def dtype_of(array: Any) -> np.dtype:
    """Of an array of numpy or of tensorstore."""
    return np.dtype(getattr(array.dtype, "numpy_dtype", array.dtype))
