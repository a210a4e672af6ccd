"""Blocks notice whatever happened to them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from jaxrf.errors import StoreError
from jaxrf.store.blocks import decode, encode

PLACE = "blocks/a/00000003/00000000-00000002"
MAPS = np.arange(2 * 1 * 5 * 7, dtype=np.float32).reshape(2, 1, 5, 7)
BLOCK = encode(PLACE, {"seed": 3, "bad": ["ä.png"]}, {"maps": MAPS, "none": np.zeros((0, 4))})


def test_what_went_in_comes_out():
    """Header and arrays, empty ones too, are those that were encoded."""
    header, arrays = decode(PLACE, BLOCK)
    assert header == {"seed": 3, "bad": ["ä.png"]}
    np.testing.assert_array_equal(arrays["maps"], MAPS)
    assert arrays["maps"].dtype == np.float32 and arrays["none"].shape == (0, 4)


def test_the_order_of_bytes_is_fixed():
    """A big-endian array is stored as its little-endian equal."""
    header = {"seed": 3, "bad": ["ä.png"]}
    assert encode(PLACE, header, {"maps": MAPS.astype(">f4"), "none": np.zeros((0, 4))}) == BLOCK


def test_non_finite_maps_keep_their_bits():
    """NaN and infinities are data like any other."""
    maps = np.array([np.nan, np.inf, -0.0], np.float32)
    assert decode("a", encode("a", {}, {"maps": maps}))[1]["maps"].tobytes() == maps.tobytes()


def test_every_single_flipped_byte_is_noticed():
    """No byte of a block is outside of the checksum."""
    for at in range(len(BLOCK)):
        with pytest.raises(StoreError, match="checksum"):
            decode(PLACE, BLOCK[:at] + bytes([BLOCK[at] ^ 0x40]) + BLOCK[at + 1 :])


def test_every_truncation_is_noticed():
    """A block that was cut off, to nothing even, is damaged; so is one that is too long."""
    for length in range(len(BLOCK)):
        with pytest.raises(StoreError, match="is damaged"):
            decode(PLACE, BLOCK[:length])
    with pytest.raises(StoreError, match="is damaged"):
        decode(PLACE, BLOCK + b"\0")


def test_random_ranges_are_noticed():
    """A thousand ranges of random bytes, none goes unseen."""
    chance = random.Random(0)
    for _ in range(1000):
        first = chance.randrange(len(BLOCK))
        stop = chance.randrange(first, len(BLOCK)) + 1
        noise = chance.randbytes(stop - first)
        if noise != BLOCK[first:stop]:
            with pytest.raises(StoreError, match="is damaged"):
                decode(PLACE, BLOCK[:first] + noise + BLOCK[stop:])


def test_a_block_in_another_place_is_noticed():
    """A sound block under another key is not taken for that key's."""
    with pytest.raises(StoreError, match=f"belongs to {PLACE}: somebody moved it"):
        decode(PLACE.replace("a", "b"), BLOCK)


def test_another_format_is_named():
    """A sound checksum over foreign bytes is not enough."""
    import hashlib

    body = b"SOMETHINGELSE" + bytes(20)
    with pytest.raises(StoreError, match="starts with b'SOMETHIN'"):
        decode(PLACE, body + hashlib.sha256(body).digest())
