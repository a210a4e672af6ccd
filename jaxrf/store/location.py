"""A place for many small files: a folder, a bucket, or memory, through tensorstore's key-value stores.

Keys are relative paths. A write is seen whole or not at all; `add` writes only what is not there yet.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import tensorstore as ts

from jaxrf.errors import StoreError

T = TypeVar("T")
SCHEMES = ("file", "gs", "s3", "memory")
AT_ONCE = 32
"""Reads under way at a time."""
MEMORY = ts.Context()
"""All `memory://` locations of a process are in one store."""


@dataclass(frozen=True, eq=False)
class Location:
    """Files by key, below one folder or bucket.

    Attributes:
        name: as messages show it.
        store: tensorstore's.
    """

    name: str
    store: Any

    @classmethod
    def at(cls, place: str | Path) -> Location:
        """The location of a path, or of a URL `file://`, `gs://`, `s3://` or `memory://`.

        Nothing is written, and nothing need be there yet.

        Raises:
            StoreError: another kind of URL, or a file where a folder is needed.
        """
        text = str(place)
        scheme, found, _ = text.partition("://")
        if found and scheme not in SCHEMES:
            raise StoreError(f"{text} is no place that can be written. Use a path, or {'://, '.join(SCHEMES)}://.")
        path = Path(text.removeprefix("file://")).expanduser().resolve() if not found or scheme == "file" else None
        if path is not None and path.exists() and not path.is_dir():
            raise StoreError(f"{path} is a file; a folder is needed. Choose another path.")
        url = f"{text.rstrip('/')}/" if path is None else {"driver": "file", "path": f"{path}/"}
        opened = _reached(text, lambda: ts.KvStore.open(url, context=MEMORY).result())
        return cls(text if path is None else str(path), opened)

    def read(self, key: str) -> bytes | None:
        """The bytes at `key`; None where there are none."""
        found = _reached(f"{self.name}/{key}", lambda: self.store.read(key).result())
        return found.value if found.state == "value" else None

    def read_all(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """`read` for many keys, in their order, many at a time."""
        keys = iter(keys)
        while some := list(islice(keys, AT_ONCE)):
            futures = [self.store.read(key) for key in some]
            for key, future in zip(some, futures, strict=True):
                found = _reached(f"{self.name}/{key}", future.result)
                yield key, found.value if found.state == "value" else None

    def add(self, key: str, data: bytes) -> bool:
        """Write `data` where there is nothing yet; whether it was written."""
        found = _reached(f"{self.name}/{key}", lambda: self.store.read(key).result())
        if found.state == "value":
            return False
        # Another process may have written it since: then its generation is no longer that of nothing.
        nothing = found.stamp.generation
        stamp = _reached(f"{self.name}/{key}", lambda: self.store.write(key, data, if_equal=nothing).result())
        return bool(stamp.generation)

    def put(self, key: str, data: bytes) -> None:
        """Write `data`, over what is there."""
        _reached(f"{self.name}/{key}", lambda: self.store.write(key, data).result())

    def remove(self, key: str) -> None:
        """Remove what is at `key`, if anything."""
        _reached(f"{self.name}/{key}", lambda: self.store.write(key, None).result())

    def set_aside(self, key: str) -> str:
        """Move what is at `key` to a key below `damaged/`, which is returned."""
        aside = f"damaged/{key}.{uuid.uuid4().hex[:8]}"
        data = self.read(key)
        if data is not None:
            self.put(aside, data)
            self.remove(key)
        return aside

    def listed(self, below: str = "") -> list[str]:
        """All keys that start with `below`, sorted."""
        prefix = ts.KvStore.KeyRange(below, _after(below)) if below else ts.KvStore.KeyRange()
        found = _reached(f"{self.name}/{below}", lambda: self.store.list(prefix).result())
        return sorted(key.decode(errors="replace") for key in found)

    def read_json(self, key: str) -> Any:
        """The JSON value at `key`; None where there is none.

        Raises:
            StoreError: something else is there.
        """
        data = self.read(key)
        try:
            return None if data is None else json.loads(data)
        except ValueError as error:
            raise StoreError(f"{self.name}/{key} is damaged: {error}. Remove it.") from error


def to_json(value: Any) -> bytes:
    """`value` as readable JSON text."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def _after(prefix: str) -> str:
    """The first text behind all those that start with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _reached(name: str, action: Callable[[], T]) -> T:
    """What `action` returns; tensorstore's complaints as ours."""
    try:
        return action()
    except (ValueError, OSError, RuntimeError) as error:
        reason = str(error).split(" [")[0].replace("\\x00", "/")
        raise StoreError(
            f"{name} cannot be reached: {reason}. "
            "Check permissions, free space and the network, then run the same command again."
        ) from error
