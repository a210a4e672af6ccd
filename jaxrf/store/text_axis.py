"""Labels of an axis as a Zarr v3 array of strings, which tensorstore cannot write: one chunk, by hand.

The chunk is the number of labels and then each label's length and UTF-8 bytes; numbers are 32 bits, little-endian.
Source: the `vlen-utf8` codec of the Zarr extensions registry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def write(group: Path, name: str, labels: Sequence[str]) -> None:
    """Write the array `name`, along the dimension of the same name, into the folder of a group."""
    texts = [label.encode() for label in labels]
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [len(texts)],
        "data_type": "string",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [len(texts)]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "",
        "codecs": [{"name": "vlen-utf8", "configuration": {}}],
        "dimension_names": [name],
        "attributes": {},
    }
    chunk = len(texts).to_bytes(4, "little") + b"".join(len(t).to_bytes(4, "little") + t for t in texts)
    (group / name / "c").mkdir(parents=True)
    (group / name / "c" / "0").write_bytes(chunk)
    (group / name / "zarr.json").write_text(json.dumps(metadata))
