"""A place for many small files: a folder, a bucket, or memory, through tensorstore's key-value stores.

Keys are relative paths. A write is seen whole or not at all; `add` writes only what is not there yet.
"""

from __future__ import annotations

import json
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tensorstore as ts

from jaxrf.errors import StoreError
from jaxrf.store.disk import checked_path
from jaxrf.store.record import checksum

SCHEMES = ("file", "gs", "s3", "memory")
AT_ONCE = 32
"""Reads under way at a time."""
RETRIES = {"max_retries": 7, "initial_delay": "1s", "max_delay": "16s"}
"""Of requests to a bucket: one that cannot be reached is given up after about a minute."""
PATIENCE = 300.0
"""Seconds after which something that neither answers nor fails is given up."""
CONTEXT = ts.Context({"gcs_request_retries": RETRIES, "s3_request_retries": RETRIES})
"""Of all locations; so all `memory://` locations of a process are in one store."""


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
    def at(cls, place: str | os.PathLike[str]) -> Self:
        """The location of a path, or of a URL `file://`, `gs://`, `s3://` or `memory://`.

        Nothing is written, and nothing need be there yet.

        Raises:
            StoreError: another kind of URL, or a file where a folder is needed.
        """
        text = str(place)
        if "://" not in text:
            checked_path(place)
        scheme, found, _ = text.partition("://")
        if found and scheme not in SCHEMES:
            raise StoreError(f"{text} is no place that can be written. Use a path, or {'://, '.join(SCHEMES)}://.")
        path = Path(text.removeprefix("file://")).expanduser().resolve() if not found or scheme == "file" else None
        if path is not None and path.exists() and not path.is_dir():
            raise StoreError(f"{path} is a file; a folder is needed. Choose another path.")
        spec = _spec(f"{text.rstrip('/')}/") if path is None else {"driver": "file", "path": f"{path}/"}
        opened = _reached(text, lambda: ts.KvStore.open(spec, context=CONTEXT))
        return cls(text if path is None else str(path), opened)

    def read(self, key: str) -> bytes | None:
        """The bytes at `key`; None where there are none."""
        found = _reached(f"{self.name}/{key}", lambda: self.store.read(key))
        return found.value if found.state == "value" else None

    def read_all(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """`read` for many keys, in their order, many at a time."""
        waiting: deque[tuple[str, Any]] = deque()

        def first() -> tuple[str, bytes | None]:
            key, future = waiting.popleft()
            found = _reached(f"{self.name}/{key}", lambda: future)
            return key, found.value if found.state == "value" else None

        for key in keys:
            waiting.append((key, self.store.read(key)))
            if len(waiting) == AT_ONCE:
                yield first()
        while waiting:
            yield first()

    def add(self, key: str, data: bytes) -> bool:
        """Write `data` where there is nothing yet; whether it was written."""
        found = _reached(f"{self.name}/{key}", lambda: self.store.read(key))
        if found.state == "value":
            return False
        # Another process may have written it since: then its generation is no longer that of nothing.
        nothing = found.stamp.generation
        stamp = _reached(f"{self.name}/{key}", lambda: self.store.write(key, data, if_equal=nothing))
        return bool(stamp.generation)

    def put(self, key: str, data: bytes) -> None:
        """Write `data`, over what is there."""
        _reached(f"{self.name}/{key}", lambda: self.store.write(key, data))

    def remove(self, key: str) -> None:
        """Remove what is at `key`, if anything."""
        _reached(f"{self.name}/{key}", lambda: self.store.write(key, None))

    def remove_all(self, below: str) -> None:
        """Remove all keys that start with `below`, and the folders in it that are left empty."""
        keys = ts.KvStore.KeyRange(below, _after(below))
        _reached(f"{self.name}/{below}", lambda: self.store.delete_range(keys))

    def check(self) -> None:
        """Write something and remove it.

        Raises:
            StoreError: that is not possible.
        """
        key = f"probe.{uuid.uuid4().hex[:8]}"
        self.put(key, b"")
        self.remove(key)

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
        return sorted(self.keys(below))

    def keys(self, below: str = "") -> Iterator[str]:
        """The same in any order, one after another."""
        keys = ts.KvStore.KeyRange(below, _after(below))
        yield from (
            key.decode(errors="replace") for key in _reached(f"{self.name}/{below}", lambda: self.store.list(keys))
        )

    def read_json(self, key: str) -> Any:
        """The JSON value at `key`; None where there is none.

        Raises:
            StoreError: something else is there.
        """
        data = self.read(key)
        try:
            return None if data is None else json.loads(data)
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self.name}/{key} is damaged: {error}. Remove it.") from error

    def put_record(self, key: str, record: Mapping[str, Any]) -> None:
        """Write JSON-able values under a checksum of them."""
        self.put(key, signed(record))

    def read_record(self, key: str) -> dict[str, Any] | None:
        """What `put_record` wrote; None where there is nothing. One without a checksum is of an earlier version.

        Raises:
            StoreError: it is damaged.
        """
        found = self.read_json(key)
        record = dict(found) if isinstance(found, Mapping) else {}
        if found is not None and (record.pop("checksum", None) not in (checksum(record), None) or not record):
            raise StoreError(
                f"{self.name}/{key} is damaged: it does not have its checksum. Run the same command again, which writes "
                "it anew."
            )
        return record or None


def signed(record: Mapping[str, Any]) -> bytes:
    """JSON-able values as text, with a checksum of them."""
    return to_json({**record, "checksum": checksum(record)})


def to_json(value: Any) -> bytes:
    """`value` as readable JSON text."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def _spec(url: str) -> Any:
    """The URL, or what names the bucket of a service with Amazon's interface, which Amazon's variables tell of."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not url.startswith("s3://") or not endpoint:
        return url
    bucket, _, path = url.removeprefix("s3://").partition("/")
    region = os.environ.get("AWS_REGION") or "us-east-1"
    return {"driver": "s3", "bucket": bucket, "path": path, "endpoint": endpoint.rstrip("/"), "aws_region": region}


def _after(prefix: str) -> str:
    """The first text behind all those that start with `prefix`; nothing, which is the end of all, for nothing."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else ""


def _reached(name: str, action: Callable[[], Any]) -> Any:
    """What tensorstore answers to `action`; its complaints as ours."""
    try:
        return action().result(timeout=PATIENCE)
    except (ValueError, OSError, RuntimeError) as error:
        reason = str(error).split(" [")[0].replace("\\x00", "/")
        reason = f"no answer within {PATIENCE:g} s" if isinstance(error, TimeoutError) else reason
        raise StoreError(
            f"{name} cannot be reached: {reason}. "
            "Check permissions, free space and the network, then run the same command again."
        ) from error
