"""Which random numbers a layer is made of."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrf.adapters import adapt
from jaxrf.tangent.draws import draws
from jaxrf.tangent.trace import trace


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="before")(x)
        x = nn.Dropout(0.5, deterministic=False, name="drop")(x)
        return nn.remat(nn.Dropout)(0.5, (0, 1, 2), deterministic=False, name="shared")(x)


def shapes(model, layer: str, images: int) -> set[tuple[int, ...]]:
    """The shapes of more than one number that a layer is made of."""
    program = trace(adapt(model, (5, 7, 2)), images)
    return {shape for shape in draws(program, program.layers[layer]) if shape not in ((), (1,))}


def test_draws_of_a_layer():
    """A layer is made of the numbers that are drawn on the way to it, in the body of a remat too, and of no later ones."""
    assert shapes(Noisy(), "before", 2) == set()
    assert shapes(Noisy(), "drop", 2) == {(2, 5, 7, 4)}
    assert shapes(Noisy(), "output", 2) == {(2, 5, 7, 4), (1, 1, 1, 4)}
    assert shapes(Noisy(), "output", 1) == {(1, 5, 7, 4), (1, 1, 1, 4)}


def test_draws_in_a_loop():
    """Numbers drawn in the body of a loop that makes a coefficient are found."""

    def model(x):
        add = lambda i, mask: mask + jax.random.uniform(jax.random.fold_in(jax.random.key(0), i), mask.shape)  # noqa: E731
        return x * jax.lax.fori_loop(0, 3, add, jnp.zeros(x.shape[:3] + (1,)))

    assert shapes(model, "output", 2) == {(2, 5, 7, 1)}
