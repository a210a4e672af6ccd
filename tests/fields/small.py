"""Small nets, and their maps written out, for the tests of fields."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

SHAPE = (3, 13, 18, 2)
UNITS = [(3, 4), (0, 7)]
CHANNEL = 1
ROUNDING = 3e-5
"""Of the peak of a map, in single precision."""


class Net(nn.Module):
    """A small net with what is met most: strides, a norm, a pool; two layers that can be mapped."""

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Conv(6, (3, 3), strides=2, name="first")(x))
        x = nn.GroupNorm(2, name="norm")(x)
        return nn.Conv(4, (3, 5), name="second")(nn.relu(x))


class Tied(nn.Module):
    """A net whose images see each other."""

    @nn.compact
    def __call__(self, x):
        return nn.Conv(3, (3, 3))(nn.BatchNorm(use_running_average=False)(x))


def written_out(variables, images, model=None):
    """(image, unit, y, x): squared gradients by one plain pull-back for each unit."""
    model = model or Net().apply
    maps = []
    for unit in UNITS:
        values, pull = jax.vjp(lambda x: model(variables, x), images)
        cotangent = jnp.zeros_like(values).at[(slice(None), *unit, CHANNEL)].set(1)
        maps.append((pull(cotangent)[0] ** 2).sum(-1))
    return np.stack(maps, axis=1)


def laid_out(field, maps):
    """The same of a field's maps."""
    array = np.asarray(maps.array() if hasattr(maps, "array") else maps)
    whole = np.zeros((*array.shape[:2], *SHAPE[1:3]), array.dtype)
    for unit, origin in enumerate(field.origin):
        places = [np.arange(n) + lo for n, lo in zip(array.shape[2:], origin)]
        kept = [(p >= 0) & (p < n) for p, n in zip(places, SHAPE[1:3])]
        target = np.ix_(range(len(array)), *(p[k] for p, k in zip(places, kept)))
        whole[:, unit][target] = array[:, unit][np.ix_(range(len(array)), *kept)]
    return whole


def assert_same(field, maps, right):
    """Maps are those, to the rounding of single precision."""
    assert np.abs(laid_out(field, maps) - right).max() <= ROUNDING * right.max()
