"""Latency, look-ahead and look-back of units; units that see padding; positions that none sees."""

from __future__ import annotations

import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf.geometry.edges import unseen
from jaxrf.geometry.field import Field


def row_of(model, length=24):
    return jaxrf.trf(model, (length, 1))[-1]


@pytest.mark.parametrize(
    ("model", "look_back", "look_ahead", "latency"),
    [
        (nn.Conv(1, (5,), padding="CAUSAL"), 4, 0, 0),
        (nn.Conv(1, (5,)), 2, 2, 2),
        (nn.Conv(1, (4,), 4, padding="VALID"), 0, 0, 3),
        (nn.Sequential([nn.Conv(1, (4,), 4, padding="VALID"), nn.ConvTranspose(1, (4,), (4,))]), 3, 3, 3),
        (lambda x: x[:, 3:], 0, 3, 3),
        (lambda x: x[:, ::-1], None, None, None),
    ],
)
def test_how_late_a_unit_is(model, look_back, look_ahead, latency):
    """What a unit sees before and behind the positions that it owns, and from the first of these on."""
    row = row_of(model)
    assert (row.look_back, row.look_ahead, row.latency) == ((look_back,), (look_ahead,), (latency,))


def test_units_that_see_padding_are_those_whose_boxes_leave_the_input():
    """Against the boxes of all units."""
    row = jaxrf.trf(nn.Sequential([nn.Conv(1, (5, 3), (2, 1)), nn.Conv(1, (3, 3))]), (17, 12, 1))[-1]
    for axis, (first, last) in enumerate(row.padded):
        boxes = [row.box(tuple(u if a == axis else 0 for a in range(2)))[axis] for u in range(row.unit_shape[axis])]
        assert first == sum(lo < 0 for lo, _ in boxes) > 0
        assert last == sum(hi > row.input_shape[axis] for _, hi in boxes) > 0
    assert row_of(lambda x: x.mean(1, keepdims=True)).padded == (None,)


def test_positions_that_no_unit_sees():
    """Strides larger than kernels, and remainders at the end."""
    assert row_of(nn.Conv(1, (2,), 5, padding="VALID")).unseen == (24 - 5 * 2,)
    assert row_of(nn.Conv(1, (5,), 5, padding="VALID")).unseen == (4,)
    assert row_of(nn.Conv(1, (5,))).unseen == (0,)
    assert unseen(Field(7, np.array([9, 3, 2]), np.array([4, 5, 2]))) == 5
