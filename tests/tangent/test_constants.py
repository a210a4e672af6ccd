"""What is known of coefficients before any weight or image is: values, zeros, masks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf
from jaxrf.adapters import adapt
from jaxrf.equations.program import Equation
from jaxrf.tangent.constants import Constants
from jaxrf.tangent.trace import trace


def last(f, shape, primitive, **variables) -> Equation:
    """The last linear equation of `primitive` in the program of `f(variables, x)`."""
    shapes = {name: jax.ShapeDtypeStruct(s, np.float32) for name, s in variables.items()}
    program = trace(adapt(f, shape, variables=shapes))
    return [eqn for eqn in program.linear if eqn.primitive == primitive][-1]


def conv(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


MASK = (np.arange(9) < 4).reshape(3, 3, 1, 1)
MADE = {
    "times a mask": lambda w: w * MASK,
    "selected": lambda w: jnp.where(MASK, w, 0),
    "rectified, masked, cast": lambda w: (jax.nn.relu(w - 0.5) * MASK).astype(jnp.bfloat16).astype(jnp.float32),
    "rectified on the other side": lambda w: jax.nn.relu(-w) * MASK,
    "soft threshold, large weights alone": lambda w: jnp.sign(w) * jax.nn.relu(jnp.abs(w) - 30) * MASK,
    "normalized and masked": lambda w: (w - w.mean()) / w.std() * MASK,
    "written into zeros": lambda w: jnp.zeros_like(w).at[0].set(w[0]).at[1, 0].set(w[1, 0]),
    "rectified products of neighbors": lambda w: jax.nn.relu(-w * jnp.roll(w, 1, 0)) * MASK,
    "never more than zero for real numbers of either sign": lambda w: jax.nn.relu(w - w**2 - 0.2) * MASK,
    "ternary": lambda w: jnp.where(jnp.abs(w) < 0.7 * jnp.abs(w).mean(), 0, jnp.sign(w)) * MASK,
    "the largest of each column alone": lambda w: jnp.where(w == w.max(0), w, 0) * MASK,
    "of two weights one": lambda w: jnp.where(w > 1e3, w, 0) * MASK,
    "a mask added in exponents": lambda w: jnp.exp(w + jnp.where(MASK, 0, -jnp.inf)),
    "put among zeros": lambda w: jnp.concatenate(
        [w[:1], jnp.pad(w[1, :1], ((0, 2), (0, 0), (0, 0)))[None], 0 * MASK[2:] * w[2:]]
    ),
    "written into zeros at a place": lambda w: lax.dynamic_update_slice(
        jnp.zeros_like(w).at[0].add(w[0]), w[1:2, :1], (1, 0, 0, 0)
    ),
    "mixed among features": lambda w: jnp.einsum("ijkl,lm->ijkm", w * MASK, w[0, :2, 0]),
    "in a jit in a remat": lambda w: jax.checkpoint(jax.jit(lambda w: w * MASK))(w),
}


@pytest.mark.parametrize("made", MADE)
def test_zeros_of_a_masked_kernel_are_seen(made):
    """A kernel made of a weight and constants: its zeros are those that no weight fills, whatever sign weights have."""
    equation = last(lambda v, x: conv(x, MADE[made](v["w"])), (5, 7, 1), "conv_general_dilated", w=(3, 3, 1, 2))
    assert equation.known(1) is None
    assert np.array_equal(equation.support(1), np.broadcast_to(MASK, (3, 3, 1, 2)))


def test_plain_weights_are_not_evaluated():
    """Nothing is known of a weight, nor of one that is only cast, scaled or rectified."""
    for make in (lambda w: w, lambda w: 2 * w.astype(jnp.bfloat16).astype(jnp.float32), jax.nn.relu):
        equation = last(
            lambda v, x, make=make: conv(x, make(v["w"])), (5, 7, 1), "conv_general_dilated", w=(3, 3, 1, 2)
        )
        assert equation.support(1) is None


def test_nothing_is_known_of_what_depends_on_the_image_or_on_chance():
    """Kernels made of the image, and random masks."""
    image = last(lambda v, x: x * (x.sum() * MASK[..., 0, 0]), (3, 3), "mul")
    assert image.support(1) is None or image.support(1).shape == ()

    def dropped(v, x):
        return x * jax.random.bernoulli(jax.random.key(0), 0.5, (3,))

    assert last(dropped, (5, 3), "mul").support(1) is None


def test_large_slices_are_unknown():
    """Beyond the cap nothing is evaluated."""
    program = trace(adapt(lambda v, x: x @ (v["w"] * np.tri(5, dtype=np.float32)), (4, 5),
                          variables={"w": jax.ShapeDtypeStruct((5, 5), np.float32)}))  # fmt: skip
    (equation,) = (eqn for eqn in program.linear if eqn.primitive == "dot_general")
    for cap, known in ((1000, True), (20, False)):
        constants = Constants(program.forward, program.consts, program.arguments, program.image, cap)
        assert (constants.support(equation.operands[1]) is not None) == known


def test_causal_convolution_in_two_dimensions():
    """PixelCNN: rows above in full, the own row up to its middle. Clipped boxes are exact at borders, where no row is above."""
    row = jaxrf.trf(lambda v, x: conv(conv(x, v["a"] * MASK), v["b"] * MASK), (6, 7, 1),
                    variables={k: jax.ShapeDtypeStruct((3, 3, 1, 1), np.float32) for k in "ab"})[-1]  # fmt: skip
    assert row.exact
    assert row.size == (3, 5) and row.padding == (2, 2)
    assert row.box((0, 3), clip=True) == ((0, 1), (1, 2))  # the own row alone: two to the left
    assert row.box((2, 3), clip=True) == ((0, 3), (1, 6))


def test_columns_of_indices():
    """Indices put together from known and unknown ones are known in part."""

    def model(v, x):
        return x[np.arange(1)[:, None], jnp.argmax(x, 2)]

    batch, row = last(model, (5, 7), "gather").columns(1)
    assert np.array_equal(batch, np.zeros((1, 5))) and row is None
