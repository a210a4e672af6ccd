"""Transposes at random places change no row and no map: units and positions follow the axes of the image."""

from __future__ import annotations

import numpy as np
import pytest

import jaxrf
from tests.engine.turned_networks import drawn_shape, network


def same_rows(seed: int) -> None:
    _, shape = drawn_shape(seed)
    turned, plain = (jaxrf.trf(network(seed, turns), shape) for turns in (True, False))
    assert turned.names == plain.names
    for mine, theirs in zip(turned[:-1], plain[:-1]):  # the output is the last tap
        for fact in (
            "unit_shape",
            "sizes",
            "stride",
            "padding",
            "period",
            "aligned",
            "min_size",
            "exact",
            "global_axes",
        ):
            assert getattr(mine, fact) == getattr(theirs, fact), (seed, mine.name, fact)
        assert mine.center_unit == theirs.center_unit
        for a, b in zip(mine.fields, theirs.fields):
            for one, other in ((a.lo, b.lo), (a.hi, b.hi)):
                assert (np.broadcast_to(one, mine.unit_shape) == np.broadcast_to(other, mine.unit_shape)).all()


def same_maps(seed: int) -> None:
    _, shape = drawn_shape(seed)
    names = jaxrf.trf(network(seed, False), shape).names
    draw = np.random.default_rng(seed)
    wrt = names[int(draw.integers(len(names) - 2))] if seed % 2 else None
    x = draw.normal(size=(2, *shape)).astype(np.float32)
    turned, plain = (
        jaxrf.erf(network(seed, turns), None, x, layer=names[-2], wrt=wrt, channels="sum") for turns in (True, False)
    )
    assert (turned.origin == plain.origin).all() and (turned.units == plain.units).all()
    assert turned.mean.shape == plain.mean.shape and plain.mean.any()
    np.testing.assert_allclose(turned.mean, plain.mean, atol=1e-4 * plain.mean.max(), rtol=0)


@pytest.mark.parametrize("seed", range(18))
def test_rows_do_not_depend_on_the_layout(seed):
    """Every layer of a network has the row of the same network without the transposes."""
    same_rows(seed)


@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)]
)
def test_maps_do_not_depend_on_the_layout(seed):
    """The last layer has the map, on the image or on an inner layer, of the same network without the transposes."""
    same_maps(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 200, 20))
def test_many_networks(first):
    """As above, for more networks."""
    for seed in range(first, first + 20):
        same_rows(seed)
