"""Measures of prepared fields: numbers of a program, and their derivatives by the weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf.base.compiler import jit
from jaxrf.statistics.measures import measures

UNITS = [(2, 3), (0, 4), (4, 1)]


class Net(nn.Module):
    """A net with the named parts between its convolutions."""

    parts: tuple[str, ...]

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="first", param_dtype=x.dtype)(x)
        for part in self.parts:
            if part == "norm":
                x = nn.GroupNorm(2, param_dtype=x.dtype)(x)
            elif part == "unet":  # half the resolution, and back beside what was there
                low = nn.max_pool(x, (3, 3), (2, 2), "SAME")
                low = nn.relu(nn.Conv(4, (3, 3), param_dtype=x.dtype)(low))
                x = jnp.concatenate([x, jax.image.resize(low, (*x.shape[:3], 4), "bilinear")], axis=-1)
            else:
                x = getattr(nn, part)(x)
        return nn.Conv(3, (3, 2), name="last", param_dtype=x.dtype)(x)


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def prepared(parts):
    """Images, weights and the field of three units, one of which is at the border."""
    images = jax.random.normal(jax.random.key(1), (2, 11, 13, 2), jnp.float64)
    variables = Net(parts).init(jax.random.key(0), images)
    # Biases at random, so that no pre-activation stands at the kink of a ReLU.
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    variables = tree.unflatten([a + 0.1 * jax.random.normal(k, a.shape, a.dtype) for a, k in zip(leaves, keys)])
    return images, variables, jaxrf.prepare(Net(parts), variables, images, units=UNITS, score="square")


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts", [pytest.param(("relu", "unet"), marks=pytest.mark.slow), ("norm", "tanh")], ids="-".join
)
def test_derivatives_by_the_weights_are_those_of_differences(parts):
    """Of several measures, along random directions in the space of all weights, in double precision, to 1e-6."""
    images, variables, field = prepared(parts)
    asked = {
        "sigma": {},
        "participation": {},
        "kurtosis": {},
        "energy_within_soft": {"radius": 2.5},
        "center_offset": {},
    }

    def numbers(variables):
        maps = field(variables, images, jax.random.key(3)).array()
        place = {"center": field.center, "origin": field.origin}
        return jnp.stack([measures[name](maps, **options, **place).mean() for name, options in asked.items()])

    slopes, numbers = jit(jax.jacrev(numbers))(variables), jit(numbers)
    rng = np.random.default_rng(1)
    for _ in range(3):
        direction = jax.tree.map(lambda a: rng.normal(size=a.shape), variables)
        ends = [
            numbers(jax.tree.map(lambda a, v, step=step: a + step * v, variables, direction)) for step in (1e-5, -1e-5)
        ]
        along = sum((g * v).reshape(len(asked), -1).sum(1) for g, v in zip(*map(jax.tree.leaves, (slopes, direction))))
        assert (np.abs(along) > 1e-4).all()
        np.testing.assert_allclose(along, (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-6)


def test_measures_of_a_field_are_those_of_its_result():
    """Each measure of the maps on the device is the number of the result of the same maps on the host."""
    images, variables, field = prepared(("tanh",))
    maps = field(variables, images[:1], jax.random.key(3))
    result = field.result(maps)
    np.testing.assert_array_equal(field.center, result.center)
    for name in ("sigma", "energy_within", "area_ratio", "border_power"):
        place = {"input_shape": field.row.input_shape} if name in ("area_ratio", "border_power") else {}
        found = measures[name](maps.array(), center=field.center, origin=field.origin, **place)
        np.testing.assert_allclose(found[0], result.measure(name), rtol=1e-9)
