"""What the chunks of a task hold: each its own images and probes, whichever chunk they fall into."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.inputs.images import Noise
from jaxrf.inputs.named import Inputs
from tests.sweeps.small import last, made

CHUNKED = {"model": {"source": "zoo:conv_stack", "depth": 2, "width": 3}, "inputs": "noise:5", "seeds": 2}


@pytest.fixture(scope="module")
def chunked():
    """A task of two networks of three channels with a ReLU, and five images in chunks of two."""
    assert last(made(**CHUNKED, images_per_chunk=2), "memory://chunked").computed == 6
    return jaxrf.open("memory://chunked").result()


@pytest.fixture(scope="module")
def at_once():
    """The same by one call."""
    with warnings.catch_warnings(action="ignore"):
        return jaxrf.erf(zoo.conv_stack(depth=2, width=3), None, jaxrf.noise(5), input_shape=(8, 9, 3), seeds=2)


@pytest.mark.parametrize("factor", ["images", "seeds"])
def test_every_image_and_seed_gives_what_it_gives_alone(chunked, at_once, factor):
    """Image 3 is the second of the second chunk: its noise and its probe are those that it has in a run of all images."""
    sums, alone = (one.groups[factor].totals() for one in (chunked, at_once))
    np.testing.assert_allclose(sums, alone, rtol=0, atol=1e-5 * alone.max())
    apart = np.abs(sums[:, None] - sums[None]).max(axis=(2, 3, 4))[~np.eye(len(sums), dtype=bool)]
    assert (apart > 0.01 * sums.max()).all()  # so that one in place of another would have been seen


def test_noise_goes_on_from_chunk_to_chunk():
    """The images 3 and 4 are others than 0 and 1, and those that all five hold in these places."""
    shape = (4, 5, 2)
    whole = Noise(5, 7).images(0, 5, shape, np.float32)
    found = [Inputs("noise:5:7").chunk(first, stop, shape).images for first, stop in ((0, 3), (3, 5))]
    np.testing.assert_array_equal(np.concatenate(found), whole)
    assert len(np.unique(whole[:, 0, 0, 0])) == 5
