"""Saving and loading a record: the format by the path's ending, never over what is not ours, never half of it."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from types import ModuleType

from jaxrf.errors import StoreError, listed
from jaxrf.store import netcdf_file, npz_file, zarr_group
from jaxrf.store.record import Record

FORMATS: dict[str, ModuleType] = {".npz": npz_file, ".nc": netcdf_file}
"""Formats of one file by ending; each has `write(path, record)`, `read(path)` and `is_ours(path)`."""


def save(path: str | os.PathLike[str], record: Record, overwrite: bool = False) -> Path:
    """Write a record to `path`: `.npz` and `.nc` are one file, anything else is a folder, a Zarr v3 group.

    It is written beside its place first and then renamed, so that a reader sees all of it or nothing.
    Missing parent folders are made. An empty folder counts as nothing there.

    Args:
        path: where to.
        record: what.
        overwrite: whether a result that is already there may be replaced.

    Returns:
        The absolute path.

    Raises:
        StoreError: there is something that is not a result, or a result and `overwrite` is False;
            the header cannot be stored; the disk refuses.
    """
    path = checked_path(path)
    form = _format(path)
    _check_free(path, form, overwrite)
    partial = path.with_name(f".{uuid.uuid4().hex[:16]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        form.write(partial, record)
        _move(partial, path)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"Could not write {path}: {error}. Check the folder's permissions and free space.") from error
    finally:
        _remove(partial)
    return path


def load(path: str | os.PathLike[str]) -> Record:
    """Read the record at `path`.

    Raises:
        StoreError: nothing is there, or what is there is foreign, damaged or newer than this version of jaxrf.
    """
    path = checked_path(path)
    if not path.exists():
        raise StoreError(f"There is nothing at {path}. Give the path that Result.save() returned.")
    if path.is_file() and path.suffix not in FORMATS:
        raise StoreError(f"{path} is a file, but not one ending in .npz or .nc. Load what Result.save() wrote.")
    return _format(path).read(path)


def checked_path(path: str | os.PathLike[str]) -> Path:
    """The absolute path.

    Raises:
        StoreError: it is not a path, or no file system has such a name.
    """
    if not isinstance(path, str | os.PathLike):
        raise StoreError(f"{path!r} is a {type(path).__name__}; the path of a file or folder is needed.")
    text = os.fspath(path)
    if "\0" in text or len(os.fsencode(text)) > 4095 or any(len(part) > 255 for part in os.fsencode(text).split(b"/")):
        raise StoreError(
            f"{text[:60]!r}{' ...' if len(text) > 60 else ''} cannot be the name of a file: it has a NUL, or a part of "
            "more than 255 bytes. Choose another one."
        )
    return Path(text).expanduser().resolve()


def _format(path: Path) -> ModuleType:
    return zarr_group if path.is_dir() else FORMATS.get(path.suffix, zarr_group)


def _check_free(path: Path, form: ModuleType, overwrite: bool) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not form.is_ours(path):
        raise StoreError(
            f"{path} exists and is not a jaxrf result alone: {_found(path)}. "
            "Choose another path, or move it away first."
        )
    if not overwrite:
        raise StoreError(
            f"{path} already holds a jaxrf result. Pass overwrite=True to replace it, or choose another path."
        )


def _found(path: Path) -> str:
    if path.is_file():
        return f"it is a file of {path.stat().st_size} bytes"
    names = sorted(entry.name for entry in path.iterdir())
    return f"it is a folder with {listed([repr(name) for name in names], 4)}"


def _move(partial: Path, path: Path) -> None:
    """Put `partial` in the place of `path`; a folder that is there steps aside first."""
    if path.is_dir() and any(path.iterdir()):
        old = path.with_name(f".{uuid.uuid4().hex[:16]}.old")
        path.rename(old)
        try:
            partial.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old)
    else:
        partial.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
