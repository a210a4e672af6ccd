"""A record as one NetCDF file (version 3, through xarray and SciPy), and as an xarray dataset.

The header is one attribute, `jaxrf`, of JSON text: NetCDF attributes cannot be nested.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrf.errors import StoreError
from jaxrf.store.record import FORMAT, Record, check_header, checked, full_header

if TYPE_CHECKING:
    import xarray


def dataset(record: Record) -> xarray.Dataset:
    """The record as an xarray dataset, with the header as attributes.

    Raises:
        StoreError: xarray is not installed.
    """
    variables = {name: (variable.axes, variable.data) for name, variable in record.variables.items()}
    return _xarray().Dataset(variables, attrs=full_header(record))


def write(path: Path, record: Record) -> None:
    """Write the file `path`."""
    header = json.dumps(full_header(record), allow_nan=False)
    # SciPy cannot read back what has no entries; the axes in the header tell that it was there.
    data = dataset(Record({name: v for name, v in record.variables.items() if v.data.size}, {}))
    data.attrs = {"jaxrf": header}
    data.to_netcdf(path, engine="scipy")


def read(path: Path) -> Record:
    """Read the file `path`."""
    header, data = _open(path)
    header = check_header(header, path)
    return checked(header, {name: _array(path, data, name, axes) for name, axes in header["arrays"].items()}, path)


def is_ours(path: Path) -> bool:
    """Whether `path` is a file with a result."""
    try:
        return _open(path)[0]["format"] == FORMAT
    except (StoreError, KeyError, TypeError):
        return False


def _open(path: Path) -> tuple[Any, xarray.Dataset]:
    try:
        with path.open("rb") as file:
            data = _xarray().load_dataset(file, engine="scipy")
        return json.loads(data.attrs["jaxrf"]) if "jaxrf" in data.attrs else None, data
    except Exception as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} is damaged or not a NetCDF 3 file ({error}). Make it again.") from error


def _array(path: Path, data: xarray.Dataset, name: str, axes: list[str]) -> np.ndarray:
    """In 64 bits and this machine's byte order: the file has 32-bit integers and is big-endian."""
    if name in data:
        values = np.asarray(data[name].values)
        return values.astype(np.int64 if values.dtype.kind == "i" else np.float64)
    shape = tuple(data.sizes.get(axis, 0) for axis in axes)
    if 0 not in shape:
        raise StoreError(f"{path} is damaged: its array {name!r} is missing. Make it again.")
    return np.zeros(shape)


def _xarray() -> Any:
    try:
        import xarray
    except ImportError as error:
        raise StoreError(
            "xarray is needed for this, and not installed. Install it with: pip install 'jaxrf[xarray]'"
        ) from error
    return xarray
