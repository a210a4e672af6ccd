"""Checkpoints in the cloud, fetched to this machine: no more of them than is read."""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from jaxrf.errors import InputError


def is_remote(place: str | os.PathLike[str]) -> bool:
    """Whether a place is a URL, such as `gs://bucket/run` or `memory://weights.npz`.

    Example:
        >>> is_remote("s3://bucket/weights.npz"), is_remote("runs/7")
        (True, False)
    """
    return "://" in os.fspath(place)


@contextlib.contextmanager
def local(place: str | os.PathLike[str], part: Callable[[Path], Path]) -> Iterator[Path]:
    """The path on this machine of what lies at a place; of a URL a copy, which is gone afterwards.

    Args:
        place: a path, or a URL that fsspec knows.
        part: which folder below a folder is read. It is asked on empty files of the right names, before anything is fetched.

    Raises:
        InputError: nothing is there, it cannot be reached, or what reaches such places is not installed.
    """
    if not is_remote(place):
        yield Path(place)
        return
    url = os.fspath(place)
    with tempfile.TemporaryDirectory(prefix="jaxrf-") as folder:
        try:
            found = _fetched(url, Path(folder), part)
        except InputError as error:
            raise InputError(str(error).replace(str(Path(folder) / _name(url)), url)) from error
        try:
            yield found
        except InputError as error:
            raise InputError(str(error).replace(str(found), url)) from error


def _name(url: str) -> str:
    return PurePosixPath(url).name or "checkpoint"


def _fetched(url: str, folder: Path, part: Callable[[Path], Path]) -> Path:
    """Where the file, or the part of a folder, was copied to."""
    files, path = _opened(url)
    target = folder / _name(url)
    try:
        if files.isfile(path):
            files.get_file(path, str(target))
            return target
        names = [name for name in files.find(path) if len(name) > len(path.rstrip("/"))] if files.exists(path) else []
        if not names:
            raise InputError(f"There are no variables at {url}. Check its spelling.")
        if strange := [name for name in names if ".." in PurePosixPath(name).parts]:
            raise InputError(f"{url} holds the name {strange[0]!r}, which leads out of it. Nothing was fetched.")
        within = {name: target / name[len(path.rstrip("/")) :].lstrip("/") for name in names}
        for copy in within.values():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
        chosen = part(target)
        for name, copy in within.items():
            if copy.is_relative_to(chosen):
                files.get_file(name, str(copy))
        return chosen
    except InputError:
        raise
    except Exception as error:  # each service has errors of its own
        raise InputError(
            f"{url} cannot be fetched: {type(error).__name__}: {error}. Check that this machine may read it, or copy it first."
        ) from error


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    try:
        core: Any = importlib.import_module("fsspec.core")
        return core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        scheme = url.partition("://")[0]
        raise InputError(
            f"{url} cannot be opened: {error}. Places are read by fsspec, with gcsfs for gs:// and s3fs for s3://: "
            f"pip install what {scheme}:// needs, or copy the checkpoint to this machine."
        ) from error
