"""Small networks under the sign-averaged estimator, for the tests of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

import jaxrf
from jaxrf import zoo
from jaxrf.fields.run import Run
from tests.running import drawn_run

SHAPE = (13, 15, 3)
STACK = zoo.conv_stack(depth=3, width=8)


def erf(model=STACK, shape=SHAPE, estimator="sign_averaged", **options):
    return jaxrf.erf(model, input_shape=shape, estimator=estimator, **{"inputs": jaxrf.noise(1), **options})


def open_run(model=STACK, shape=SHAPE, **options) -> Run:
    return drawn_run(model, jaxrf.noise(1), shape, estimator="sign_averaged", **options)


class Net(nn.Module):
    """A function of the module and the image, `body(self, x)`, as a module."""

    body: Callable[[nn.Module, jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x):
        return self.body(self, x)


def layer(width: int = 8, **options: Any) -> nn.Conv:
    return nn.Conv(width, (3, 3), use_bias=False, **options)


def overlapping_pools(_, x):
    """Average pools that overlap, with a convolution between them."""
    x = nn.relu(layer()(x))
    x = nn.avg_pool(x, (3, 3), (1, 1), "SAME")
    x = nn.relu(layer()(x))
    return layer()(nn.avg_pool(x, (3, 3), (1, 1), "SAME"))
