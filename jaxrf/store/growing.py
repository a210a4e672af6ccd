"""Arrays in a Zarr v3 group that grow along their first axis, one entry of each at a time.

The array `step` is written last and says how many entries are whole: what a killed process leaves behind it is cut off
when the group is opened again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from jaxrf.errors import StoreError
from jaxrf.store.record import Variable, plain

STEPS = "step"
FAST = ts.Context({"file_io_sync": False})
"""The operating system may write later: after a power failure, not after a killed process, entries can be lost."""


@dataclass(frozen=True, eq=False)
class Growing:
    """A group of arrays by their paths below `path`, each (step, ...), and what is said of it and of its sub-groups."""

    path: Path
    facts: Mapping[str, Any]
    arrays: Mapping[str, tuple[str, ...]]

    @classmethod
    def create(cls, path: Path, example: Mapping[str, Variable], groups: Mapping[str, Any], facts: Any) -> Growing:
        """A new group without entries.

        Args:
            path: where nothing is yet, or an empty folder.
            example: an entry: arrays and their axes, without that of steps, by paths such as `conv/mean`.
            groups: what is said of each sub-group.
            facts: what is said of the whole.

        Raises:
            StoreError: the disk refuses, or something said is not JSON-able.
        """
        arrays = {STEPS: (STEPS,), **{name: (STEPS, *one.axes) for name, one in example.items()}}
        facts = plain({**facts, "arrays": arrays}, "facts")
        try:
            path.mkdir(parents=True, exist_ok=True)
            for name, one in {STEPS: Variable((), np.zeros((), np.int64)), **example}.items():
                ts.open(_spec(path / name, one, arrays[name]), create=True, context=FAST).result()
            for name, said in groups.items():
                _write_group(path / name, plain(said, name))
            _write_group(path, facts)  # last: a folder with this file is complete
        except (OSError, ValueError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"Could not write {path}: {error}. Check the folder's permissions and space.") from error
        return cls(path, facts, {name: tuple(axes) for name, axes in arrays.items()})

    @classmethod
    def open(cls, path: Path, kind: str) -> Growing:
        """The group at `path`.

        Raises:
            StoreError: nothing of that kind is there, or it is damaged.
        """
        try:
            facts = json.loads((path / "zarr.json").read_text())["attributes"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is not a {kind}: it has no zarr.json that can be read.") from error
        if not isinstance(facts, dict) or facts.get("format") != kind or "arrays" not in facts:
            raise StoreError(f"{path} is not a {kind}: it is a Zarr group of something else. Choose another path.")
        return cls(path, facts, {name: tuple(axes) for name, axes in facts["arrays"].items()})

    def said(self, group: str) -> dict[str, Any]:
        """What is said of a sub-group."""
        return json.loads((self.path / group / "zarr.json").read_text())["attributes"]

    @property
    def steps(self) -> np.ndarray:
        """Numbers of the steps of all whole entries, ascending."""
        return self._done(self._array(STEPS).read())

    def append(self, step: int, entry: Mapping[str, np.ndarray]) -> None:
        """Write one entry of every array.

        Raises:
            StoreError: the disk refuses.
        """
        n = len(self.steps)
        writes = [(self._array(name), value) for name, value in entry.items()]
        for array, value in writes:
            if value.shape != tuple(array.shape[1:]):
                raise StoreError(
                    f"An entry of shape {value.shape} does not fit {self.path}: {array.shape[1:]} is needed."
                )
        grown = [(self._done(self._resized(array, n + 1)), value) for array, value in writes]
        for write in [array[n].write(value) for array, value in grown]:
            self._done(write)
        self._done(self._done(self._resized(self._array(STEPS), n + 1))[n].write(np.int64(step)))

    def cut(self, length: int) -> None:
        """Keep the first entries alone, and nothing that was half written."""
        for name in self.arrays:  # `step` is the first of them
            array = self._array(name)
            if array.shape[0] > length:
                self._done(self._resized(array, length))

    def read(self, name: str, index: Any = slice(None)) -> np.ndarray:
        """Entries of an array, of whole steps alone."""
        return np.asarray(self._done(self._array(name)[: len(self.steps)][index].read()))

    def _array(self, name: str) -> Any:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{self.path / name}/"}}
        return self._done(ts.open(spec, open=True, context=FAST))

    def _resized(self, array: Any, length: int) -> Any:
        return array.resize(exclusive_max=[length, *array.shape[1:]])

    def _done(self, future: Any) -> Any:
        try:
            return future.result()
        except (ValueError, OSError) as error:
            raise StoreError(f"{self.path} cannot be read or written: {error}. Check permissions and space.") from error


def _write_group(path: Path, said: Mapping[str, Any]) -> None:
    content = {"zarr_format": 3, "node_type": "group", "attributes": said}
    path.mkdir(parents=True, exist_ok=True)
    (path / "zarr.json").write_text(json.dumps(content, indent=1, allow_nan=False))


def _spec(path: Path, one: Variable, axes: tuple[str, ...]) -> dict[str, Any]:
    shape, kind = one.data.shape, one.data.dtype
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "metadata": {
            "shape": [0, *shape],
            "data_type": kind.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, *(max(n, 1) for n in shape)]}},
            "dimension_names": list(axes),
            "fill_value": "NaN" if kind.kind == "f" else 0,
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "zstd", "configuration": {"level": 1}},
                {"name": "crc32c"},
            ],
        },
    }
