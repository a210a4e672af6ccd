"""Measured context: smaller than what units see, and enough."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError


def decaying(x):
    """A sum over 41 positions before, of weights that halve, and over 11 behind."""
    weights = jnp.concatenate([0.5 ** jnp.arange(40, 0, -1), jnp.ones(1), 0.1 ** jnp.arange(1, 11)])
    return jax.lax.conv_general_dilated(
        x, weights[:, None, None], (1,), [(40, 10)], dimension_numbers=("NWC", "WIO", "NWC")
    )


def test_the_context_is_that_of_the_weights():
    """On ones, leaving out all beyond c positions of weights 2^-k changes a value by 2^-c of the sum."""
    images = np.ones((2, 200, 1), np.float32)
    found = jaxrf.halo(decaying, None, images, 1e-3)
    total = 1 + 1 + 1 / 9
    before = next(c for c in range(40) if 0.5**c / total <= 1e-3)
    after = next(c for c in range(40) if 0.1**c / 9 / total <= 1e-3)
    assert found.theoretical == ((40, 10),)
    assert found.error <= 1e-3
    assert np.all(np.subtract(found.context[0], (before, after)) <= 2)
    assert np.all(np.subtract(found.context[0], (before, after)) >= 0)
    assert "10 in theory" in str(found) and "of 2 images" in str(found)
    profile = found.profiles[0][0]
    np.testing.assert_allclose(profile[:8], 0.5 ** np.arange(8) / total, rtol=1e-2)


@pytest.mark.slow
def test_tiles_with_the_measured_context_stay_under_the_tolerance():
    """The error that remains is that of really cutting, on all axes together; a stricter tolerance asks for more."""
    net = zoo.unet(depth=1, width=4, up="nearest")
    images = np.random.default_rng(0).normal(size=(2, 64, 48, 1)).astype(np.float32)
    variables = net.init(jax.random.key(0), images)
    whole = net.apply(variables, images)
    loose, strict = (jaxrf.halo(net, variables, images, tolerance) for tolerance in (3e-2, 1e-6))
    assert np.sum(loose.context) < np.sum(strict.context) <= np.sum(strict.theoretical)
    tiled = jaxrf.tile(net, variables, images, 32, context=loose.context)
    assert 0 < np.abs(tiled - whole).max() / np.abs(whole).max() <= 3e-2


def test_without_padding_all_of_the_context_is_needed():
    """A network without padding has no unit with less context than it sees; and tiles hold those that there are."""

    def net(x):
        return x[:, 4:] + 1e-9 * x[:, :-4]

    images = np.random.default_rng(0).normal(size=(1, 60, 1)).astype(np.float32)
    found = jaxrf.halo(net, None, images)
    assert found.context == ((0, 4),) and found.error == 0 and np.isinf(found.profiles[0][1][:4]).all()
    tiled = jaxrf.tile(net, None, images, 20, context=((0, 0),))
    np.testing.assert_array_equal(tiled, net(images))


@pytest.mark.parametrize(
    ("model", "tolerance", "shape", "message"),
    [
        (decaying, 0, (200, 1), "tolerance=0 is not above zero.*theoretical"),
        (decaying, -1e-3, (200, 1), "is not above zero"),
        (decaying, "1e-3", (200, 1), "tolerance='1e-3' is not above zero"),
        (decaying, float("nan"), (200, 1), "is not above zero"),
        (
            lambda x: nn.avg_pool(x, (41,), padding="SAME"),
            1e-9,
            (40, 1),
            "40 positions on axis 0 are too small for a context of .*larger images",
        ),
        (lambda x: nn.softmax(x, 1), 1e-3, (60, 1), "sees its input whole"),
    ],
)
def test_what_has_no_measured_context(model, tolerance, shape, message):
    with pytest.raises(InputError, match=message):
        jaxrf.halo(model, None, jaxrf.noise(1), tolerance, input_shape=shape)
