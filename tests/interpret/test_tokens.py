"""Rows of tokens: their grid, patch and stride on the image, for the kinds of token models."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from tests.interpret.token_models import Deit, MaxVit, Mixer, Recurrence, VisionRecurrence

IMAGE = (40, 32, 3)


@pytest.mark.parametrize(
    ("model", "layer", "units", "grid", "patch", "apart"),
    [
        (Deit(), "block/attention", (24,), (5, 4), (8, 8), (8, 8)),
        (Deit(first=1, patch=7, stride=4), "block", (81,), (10, 8), (7, 7), (4, 4)),
        (Mixer(), "mixed", (20,), (5, 4), (8, 8), (8, 8)),
        (Mixer(), "block", (20,), (5, 4), (8, 8), (8, 8)),
        (MaxVit(), "gated", (20, 16), (20, 16), (6, 6), (2, 2)),
        (MaxVit(), "block/attention", (20, 16), (20, 16), (6, 6), (2, 2)),
        (MaxVit(), "windows", (20, 16), (20, 16), (6, 6), (2, 2)),
        (MaxVit(), "grid/attention", (20, 16), (20, 16), (6, 6), (2, 2)),
        (VisionRecurrence(), "ahead", (20,), (5, 4), (8, 8), (8, 8)),
        (VisionRecurrence(), "both", (20,), (5, 4), (8, 8), (8, 8)),
    ],
)
def test_grid_patch_and_stride(model, layer, units, grid, patch, apart):
    """Tokens lie on the grid of their patches, whatever they see beside them, and the table says so.

    A patch behind a convolution with a skip is what both see of it: 6 of a 3 x 3 on patches of 2.
    """
    table = jaxrf.trf(model, IMAGE)
    row = table[layer]
    assert (row.unit_shape, row.grid, row.patch, row.pitch) == (units, grid, patch, apart)
    assert f"on a grid of {grid[0]}×{grid[1]} units, of patches of {patch[0]}, {apart[0]} apart" in str(table)


def test_tokens_in_front_have_no_place():
    """Class, distillation and register tokens see the image and lie nowhere; patches behind them keep their places."""
    row = jaxrf.trf(Deit(), IMAGE)["block"]
    assert np.isnan([row.center(u) for u in range(4)]).all()
    assert [row.center(u) for u in (4, 5, 8)] == [(3.5, 3.5), (3.5, 11.5), (11.5, 3.5)]
    assert all(row.box(u, clip=True) == ((0, 40), (0, 32)) for u in (0, 9))


@pytest.mark.parametrize("parallel", [False, True])
def test_a_state_sees_what_was_before(parallel):
    """A scan sees all up to its unit; with a skip it has a place."""
    row = jaxrf.trf(Recurrence(parallel), (12, 4))[-1]
    assert [row.box(u, clip=True) for u in (0, 7)] == [((0, 1),), ((0, 8),)]
    assert row.grid == (12,) and row.patch == (1,) and row.look_back == (None,)


def test_patches_of_several_sizes_have_no_one_size():
    """What is not one number is None."""
    row = jaxrf.trf(lambda x: x.reshape(len(x), 4, 3, 2).mean(2) * 1.0, (12, 2))[-1]
    assert row.patch == (3,) and row.pitch == (3.0,)
    row = jaxrf.trf(lambda x: jaxrf.tap(x.mean(1), "mean"), (12, 2))[-1]
    assert row.patch == row.pitch == (None,) and row.grid == (0,)


class Pairs(nn.Module):
    """Tokens that are taken apart by turns and put together again."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (8, 8), 8, padding="VALID")(x).reshape(x.shape[0], -1, 8)
        return jnp.stack([x[:, ::2], x[:, 1::2]], 2).reshape(x.shape)


class Parallel(nn.Module):
    """A recurrence over patches, all of whose steps are taken by pairs in parallel."""

    @nn.compact
    def __call__(self, x):
        return Recurrence(parallel=True)(nn.Conv(8, (8, 8), 8, padding="VALID")(x).reshape(x.shape[0], -1, 8))


@pytest.mark.parametrize("model", [Pairs(), Parallel()])
def test_tokens_whose_place_is_lost_on_the_way_have_no_center(model):
    """On neither axis; half of an answer would be taken for one. A patch that is found has its own middle."""
    row = jaxrf.trf(model, (32, 48, 3))["output"]
    for unit in range(24):
        center = row.center(unit)
        assert np.isnan(center).all() or center == (8 * (unit // 6) + 3.5, 8 * (unit % 6) + 3.5)
    assert row.box(7)[1][0] <= 8 and row.box(7)[1][1] >= 16


def test_units_at_the_border_whose_fields_may_go_on_there_have_no_center():
    """Behind attention on a grid it is not known by how much the border cuts what a unit sees; inside it is whole."""
    row = jaxrf.trf(MaxVit(), (32, 64, 3))["across"]
    found = [row.center((5, u))[1] for u in range(32)]
    assert np.isnan(found[0]) and np.isnan(found[-1]) and found[1:-1] == [2 * u + 0.5 for u in range(1, 31)]
