"""A record and the labels of its axes as a Zarr v3 group below a key of a location, be that a folder or a bucket."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxrf.errors import StoreError
from jaxrf.store import text_axis
from jaxrf.store.disk import save
from jaxrf.store.location import Location
from jaxrf.store.record import Record


def write(location: Location, key: str, record: Record, labels: Mapping[str, Sequence[str]]) -> None:
    """Write the group `key`, over an earlier one. Its own file is written last: with it, the group is there.

    Args:
        location: where.
        key: of the group.
        record: numbers.
        labels: of axes that are words.

    Raises:
        StoreError: the place cannot be reached.
    """
    if not _arrays_there(location, key) <= {*record.variables}:
        location.remove_all(f"{key}/")
    with tempfile.TemporaryDirectory() as temporary:
        group = save(Path(temporary) / "group", record)
        for name, texts in labels.items():
            text_axis.write(group, name, texts)
        files = sorted(file for file in group.rglob("*") if file.is_file() and file != group / "zarr.json")
        for file in [*files, group / "zarr.json"]:
            location.put(f"{key}/{file.relative_to(group).as_posix()}", file.read_bytes())


def _arrays_there(location: Location, key: str) -> set[str | None]:
    """Names of the arrays of an earlier group; something that no group has where it is damaged."""
    try:
        earlier = location.read_json(f"{key}/zarr.json")
        return set() if earlier is None else {*earlier["attributes"]["arrays"]}
    except (StoreError, KeyError, TypeError):
        return {None}
