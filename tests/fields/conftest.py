"""A small field, its weights and images."""

from __future__ import annotations

import jax
import pytest

import jaxrf
from tests.fields.small import CHANNEL, SHAPE, UNITS, Net


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(1), SHAPE)


@pytest.fixture(scope="module")
def variables(images):
    return Net().init(jax.random.key(0), images)


@pytest.fixture(scope="module")
def field(variables, images):
    return jaxrf.prepare(Net(), variables, images, units=UNITS, channels=CHANNEL)
