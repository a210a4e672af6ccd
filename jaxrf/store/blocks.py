"""A block: a header and arrays in one piece of bytes, under a checksum of all of it.

    magic (8) | length of the header (8, little-endian) | header (JSON) | arrays, one after another | SHA-256 (32)

The header lists name, dtype and shape of each array, and where the block belongs.
Whatever is changed, cut off or added is noticed when the block is read; so is a block in another's place.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrf.errors import StoreError
from jaxrf.store.record import plain

Block = tuple[dict[str, Any], dict[str, np.ndarray]]
"""Header and arrays."""
MAGIC = b"JAXRFB1\n"
CHECKSUM = 32


def encode(place: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a block.

    Args:
        place: the key under which it will lie.
        header: JSON-able facts.
        arrays: numbers; they are stored in little-endian order.

    Example:
        >>> block = encode("a/0", {"seed": 0}, {"maps": np.zeros((2, 3), np.float32)})
        >>> header, arrays = decode("a/0", block)
        >>> header["seed"], arrays["maps"].shape
        (0, (2, 3))
    """
    little = {name: np.ascontiguousarray(data, data.dtype.newbyteorder("<")) for name, data in arrays.items()}
    listed = [[name, data.dtype.str, list(data.shape)] for name, data in little.items()]
    text = json.dumps({"place": place, "arrays": listed, "header": plain(header, "header")}).encode()
    parts, found = [MAGIC, len(text).to_bytes(8, "little"), text, *little.values()], hashlib.sha256()
    for part in parts:
        found.update(part)
    return b"".join([*parts, found.digest()])  # arrays may be large: one copy


def decode(place: str, block: bytes) -> Block:
    """Header and arrays of a block.

    Args:
        place: the key under which it lay.
        block: its bytes.

    Raises:
        StoreError: they are not what `encode` made for this place.
    """
    body = memoryview(block)[:-CHECKSUM]
    if len(block) < len(MAGIC) + 8 + CHECKSUM or hashlib.sha256(body).digest() != block[-CHECKSUM:]:
        raise StoreError(
            f"The block {place} is damaged: its {len(block)} bytes do not have the checksum they end with."
        )
    if not block.startswith(MAGIC):
        raise StoreError(f"The block {place} starts with {block[:8]!r}, not {MAGIC!r}. Use the jaxrf that wrote it.")
    start = len(MAGIC) + 8
    end = start + int.from_bytes(block[len(MAGIC) : start], "little")
    facts = json.loads(block[start:end])
    if facts["place"] != place:
        raise StoreError(f"The block at {place} belongs to {facts['place']}: somebody moved it. Move it back.")
    arrays, at = {}, end
    for name, dtype, shape in facts["arrays"]:
        array = np.frombuffer(body, dtype, math.prod(shape), at).reshape(shape)
        arrays[name], at = array, at + array.nbytes
    return facts["header"], arrays
