"""A record as a Zarr v3 group, written and read with tensorstore.

`xarray.open_zarr(path, consolidated=False)` opens it: every array names its dimensions, the attributes are the header.
Chunks are compressed, and carry a checksum by which damage is noticed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from jaxrf.errors import StoreError
from jaxrf.store.record import FORMAT, Record, Variable, check_header, checked, full_header, memory_bytes

CHUNK_BYTES = 2**24
"""About the size of a chunk before compression: whole maps of as many units as fit."""


def write(path: Path, record: Record) -> None:
    """Write the group into the new folder `path`."""
    header = full_header(record)
    path.mkdir()
    for name, variable in record.variables.items():
        array = ts.open(_spec(path / name, variable), create=True).result()
        array.write(variable.data).result()
    group = {"zarr_format": 3, "node_type": "group", "attributes": header}
    # Last, so that a folder with this file is complete.
    (path / "zarr.json").write_text(json.dumps(group, indent=1, allow_nan=False))


def read(path: Path) -> Record:
    """Read the group in the folder `path`."""
    header = check_header(_attributes(path), path)
    shapes = header.get("shapes", {})
    return checked(header, {name: _array(path, name, shapes.get(name)) for name in header["arrays"]}, path)


def is_ours(path: Path) -> bool:
    """Whether `path` is a folder with a result and nothing else."""
    try:
        header = _attributes(path)
        names = {entry.name for entry in path.iterdir()}
        return header["format"] == FORMAT and names <= {"zarr.json", *header["arrays"]}
    except (StoreError, OSError, KeyError, TypeError):
        return False


def _attributes(path: Path) -> Any:
    file = path / "zarr.json"
    if not file.is_file():
        raise StoreError(f"{path} is not a jaxrf result: there is no zarr.json. Load what Result.save() wrote.")
    try:
        return json.loads(file.read_text())["attributes"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: its zarr.json cannot be read ({error}). Make it again.") from error


def _array(path: Path, name: str, shape: Any) -> np.ndarray:
    """The array `name`, which is as large as the group's header says; of an old one without it, as memory is."""
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{path / name}/"},
        # A lost chunk is damage, not zeros.
        "fill_missing_data_reads": False,
    }
    try:
        array = ts.open(spec, open=True, read=True).result()
        if (
            shape is not None and list(array.shape) != shape
        ) or array.size * array.dtype.numpy_dtype.itemsize > memory_bytes():
            raise ValueError(f"it declares the shape {array.shape}")
        return np.asarray(array.read().result())
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} is damaged: its array {name!r} cannot be read. Make it again. ({error})") from error


def _spec(path: Path, variable: Variable) -> dict[str, Any]:
    shape, dtype = variable.data.shape, variable.data.dtype
    per_unit = max(dtype.itemsize * int(np.prod(shape[1:])), 1)
    units = [min(max(CHUNK_BYTES // per_unit, 1), max(n, 1)) for n in shape[:1]]
    chunk = [*units, *(max(n, 1) for n in shape[1:])]
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "store_data_equal_to_fill_value": True,
        "metadata": {
            "shape": list(shape),
            "data_type": dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "dimension_names": list(variable.axes),
            "fill_value": "NaN" if dtype.kind == "f" else 0,
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "zstd", "configuration": {"level": 3}},
                {"name": "crc32c"},
            ],
        },
    }
