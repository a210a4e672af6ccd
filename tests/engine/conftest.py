"""Double precision for the tests of the engine, and less work for XLA."""

from __future__ import annotations

import jax
import pytest


@pytest.fixture
def double():
    """Arrays are float64 where they are asked to be."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def quick():
    """XLA compiles with little effort: a compilation takes half as long, and the numbers differ only by rounding."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
