"""Path counts and densities of random networks, against products of the 0/1 matrices of their steps."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.adapters import adapt
from jaxrf.errors import InputError
from jaxrf.interpret import table as tables
from jaxrf.interpret.paths import count
from jaxrf.planning.programs import Programs, choose
from tests.interpret.counted_networks import network

CHANNELS = (1, 4)


def check(seed: int, channels: int) -> None:
    """Compare some units of one network; a unit without a path is refused."""
    net = network(seed, 1 + seed % 3)
    subject = adapt(net.model, (*net.shape, channels))
    geometry = Programs(subject).geometry
    target = choose(geometry.program, None, None)
    row = tables.row(geometry, target)
    assert row.unit_shape == net.out
    units = list(np.ndindex(*net.out))
    for unit in {units[0], units[-1], *(units[i] for i in np.random.default_rng(seed).integers(0, len(units), 4))}:
        right = net.counts[unit]
        if not right.any():
            with pytest.raises(InputError, match="No path leads"):
                count(geometry, target, row, unit)
            continue
        found = count(geometry, target, row, unit)
        box = tuple(slice(lo, hi) for lo, hi in row.box(unit, clip=True))
        np.testing.assert_array_equal(found, right[box])
        assert found.sum() == right.sum(), "paths outside of the box"
        if unit == row.center_unit:
            assert tables.table(geometry, model="").rows[-1].density == pytest.approx((right[box] > 0).mean())


@pytest.mark.parametrize("seed", [*range(8), 179, 206])
def test_counts_of_random_networks(seed):
    """Whatever the operations, units have the paths that the steps' matrices have; channels count once."""
    check(seed, CHANNELS[seed // 3 % 2])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(8, 21), *range(100, 200)])
def test_counts_of_many_random_networks(seed):
    """The same for a hundred networks, each with one channel and with four."""
    for channels in CHANNELS:
        check(seed, channels)
