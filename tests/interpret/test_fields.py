"""What the one pass from the input to the layers keeps, and what it needs of memory."""

from __future__ import annotations

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np

import jaxrf
from jaxrf.adapters import adapt
from jaxrf.equations.program import TangentProgram
from jaxrf.interpret.fields import boxes
from jaxrf.tangent.trace import trace

N = 96


def causal(depth: int) -> TangentProgram:
    """Causal attention between tokens, several times."""

    def model(x):
        for _ in range(depth):
            scores = jnp.where(np.tri(N, dtype=bool), jnp.einsum("bic,bjc->bij", x, jnp.sin(x)), -1e9)
            x = jaxrf.tap(x + jnp.einsum("bij,bjc->bic", jax.nn.softmax(scores), jnp.cos(x)), "layer")
        return x

    return trace(adapt(model, (N, 3)))


def peak(program: TangentProgram) -> int:
    """Bytes that are held at a time while boxes are found."""
    tracemalloc.start()
    try:
        boxes(program)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_scores_are_held_by_one_layer_at_a_time():
    """A further layer of attention holds its masks, and no intervals of pairs of tokens, of which it has about fifty."""
    peak(causal(1))  # what is held from the first call on is not counted
    two, five = peak(causal(2)), peak(causal(5))
    assert two > 100 * N**2  # of the layer at hand some are held
    assert five - two < 3 * 50 * N**2


def test_fields_of_layers_and_of_what_is_asked_for_are_kept():
    """Others are dropped, with their notes."""
    program = causal(2)
    layers = {layer.tangent for layer in program.layers.values()}
    found = boxes(program)
    assert set(found.fields) == set(found.loose) == layers | {program.input}
    every = [equation.result for equation in program.linear]
    assert set(boxes(program, keep=every).fields) == {*every, program.input}


def test_bases_of_sums_are_held_until_the_sum():
    """An interpolation by hand, between whose reads and their sum the image is read for the last time."""

    def model(x):
        i = np.minimum(np.arange(14) // 2 + 1, 6)
        share = np.tile([0.25, 0.75], 7)[:, None].astype(np.float32)
        below, above = x[:, np.arange(14) // 2], x[:, i]
        return 0.5 * (below * (1 - share)) + above * share

    row = jaxrf.trf(model, (7, 2))[-1]
    assert row.box((3,), clip=True) == ((1, 3),)
    assert row.stride == (0.5,) and row.size == (2,)
