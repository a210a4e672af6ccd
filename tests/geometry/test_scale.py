"""Rows in physical units."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf.errors import InputError
from jaxrf.geometry.table import Table

NET = nn.Conv(2, (3, 5, 3), (1, 2, 1))


def test_sizes_and_places_are_positions_times_their_distance():
    """Per axis; a saved table keeps them."""
    table = jaxrf.trf(NET, (8, 12, 10, 1), spacing=(2.0, 0.5, 0.5), unit="µm")
    assert table.title.endswith("positions of 2 × 0.5 × 0.5 µm")
    for row in (table[-1], Table.from_json(table.to_json())[-1]):
        found = row.physical
        assert found.size == (6.0, 2.5, 1.5) and found.stride == (2.0, 1.0, 0.5) and found.latency == (2.0, 1.5, 0.5)
        np.testing.assert_allclose(found.center((3, 2, 1)), np.multiply(row.center((3, 2, 1)), (2, 0.5, 0.5)))
        np.testing.assert_allclose(found.box((3, 2, 1)), np.multiply(row.box((3, 2, 1)), [[2], [0.5], [0.5]]))
        np.testing.assert_allclose(found.halo(), np.multiply(row.halo(), [[2], [0.5], [0.5]]))
        assert repr(found) == "output: size 6 x 2.5 x 1.5, stride 2 x 1 x 0.5, latency 2 x 1.5 x 0.5 µm"


def test_a_rate_gives_seconds():
    """16,000 samples in a second; what a row does not have stays None."""
    table = jaxrf.trf(lambda x: x.mean(1) + x[:, 0], (64, 1), rate=16_000)
    assert table[-1].physical.stride == (None,) and table[-1].scale.unit == "s"
    row = jaxrf.trf(nn.Conv(1, (400,), 160, padding="VALID"), (1600, 1), rate=16_000)[-1]
    assert row.physical.size == pytest.approx((0.025,)) and row.physical.stride == pytest.approx((0.01,))
    assert "scale" not in json.loads(jaxrf.trf(nn.Dense(1), (4, 1)).to_json())["rows"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spacing": 0.5, "rate": 2}, "needed is one of them"),
        ({"unit": "mm"}, "needed is one of them"),
        ({"spacing": (1.0, 2.0)}, "for all or each of the 3 spatial axes"),
        ({"spacing": 0}, "spacing=0 is not a number above zero"),
        ({"rate": -1}, "rate=-1 is not a number above zero"),
        ({"spacing": float("inf")}, "spacing=inf is not"),
    ],
)
def test_scales_that_say_nothing(options, message):
    with pytest.raises(InputError, match=message):
        jaxrf.trf(NET, (8, 12, 10, 1), **options)
    with pytest.raises(InputError, match="has no physical units.*spacing=0.5"):
        jaxrf.trf(NET, (8, 12, 10, 1))[-1].physical  # noqa: B018
