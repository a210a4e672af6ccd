"""A small field, its weights and images."""

from __future__ import annotations

import jax
import pytest
from tests.field.small import CHANNEL, SHAPE, UNITS, Net

import jaxrf


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(1), SHAPE)


@pytest.fixture(scope="module")
def variables(images):
    return Net().init(jax.random.key(0), images)


@pytest.fixture(scope="module")
def field(variables, images):
    return jaxrf.prepare(Net(), variables, images, units=UNITS, channels=CHANNEL)
