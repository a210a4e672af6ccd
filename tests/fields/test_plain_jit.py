"""Fields inside of somebody's plain `jax.jit`, where options for the compiler do not reach, against double precision.

jaxlib 0.10.2 fuses a product with a coefficient, summed over the last axis and broadcast back, wrongly on CPUs from
32,768 elements on, where all units share the coefficient (`jaxrf/base/compiler.py`). So windows are whole axes here, as
behind a mean over all positions.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf import zoo
from jaxrf.base.compiler import compiler_options

SHAPE = (2, 16, 18, 3)
CHANNEL = 1


def squeezed(x):
    """Seeing all positions: the mean over them is added."""
    return x + x.mean((1, 2), keepdims=True)


class Block(nn.Module):
    """A residual block about a step over channels, which sees all positions."""

    step: str

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3))(x)
        for _ in range(2):
            x = squeezed(x + nn.Conv(16, (3, 3))(nn.tanh(STEPS[self.step](x))))
        return nn.Conv(4, (3, 3))(x)


class Attending(nn.Module):
    """Attention over all positions, and its softmax."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3))(x)
        tokens = nn.LayerNorm()(x.reshape(len(x), -1, 16))
        x = x + nn.MultiHeadDotProductAttention(2)(tokens, tokens).reshape(x.shape)
        return nn.Conv(4, (1, 1))(nn.LayerNorm()(x))


class Tall(nn.Module):
    """ConvNeXt blocks below a mean over all positions."""

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            y = nn.LayerNorm()(nn.Conv(16, (7, 7), feature_group_count=16)(nn.Conv(16, (1, 1))(x)))
            x = nn.Conv(16, (1, 1))(x) + nn.Dense(16)(nn.gelu(nn.Dense(64)(y)))
        return nn.Conv(4, (1, 1))(squeezed(x))


class Windows(nn.Module):
    """Windows in the place of the batch, as in a Swin transformer, and a sum of products with a coefficient."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3))(x)
        for _ in range(2):
            y = x.reshape(-1, 72, 16)
            y = y + jnp.tanh(y) * y.sum(-1, keepdims=True)
            x = squeezed(nn.Dense(16)(y).reshape(x.shape))
        return nn.Conv(4, (3, 3))(x)


STEPS = {
    "LayerNorm": lambda x: nn.LayerNorm()(x),
    "plain LayerNorm": lambda x: nn.LayerNorm(use_scale=False, use_bias=False)(x),
    "GroupNorm": lambda x: nn.GroupNorm(4)(x),
    "RMSNorm": lambda x: nn.RMSNorm()(x),
    "softmax": lambda x: nn.softmax(x),
    "unit length": lambda x: x / jnp.sqrt((x * x).sum(-1, keepdims=True)),
    "less its energy": lambda x: x - (x * x).sum(-1, keepdims=True),
}
MODELS = {name: Block(name) for name in STEPS} | {
    "attention": Attending(),
    "ConvNeXt": Tall(),
    "windows": Windows(),
    "convnext_tiny": zoo.convnext_tiny(stages=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_against_double_precision(name):
    """Maps of 64 units at once, in a plain jit, are those of one pull-back for each in double precision."""
    model = MODELS[name]
    shape = (2, 32, 40, 3) if name == "convnext_tiny" else SHAPE
    images = jax.random.normal(jax.random.key(1), shape)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    units = "all" if name == "convnext_tiny" else jaxrf.grid(8, 8)
    field = jaxrf.prepare(model, variables, images, units=units, channels=CHANNEL)
    maps = jax.jit(lambda w, x: field(w, x))(variables, images)
    found = np.ldexp(np.asarray(maps.values, np.float64), np.asarray(maps.exponent)[..., None, None])
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        value, pull = jax.vjp(lambda x: model.apply(wide, x), jnp.asarray(images, jnp.float64))
        for k in range(0, len(field.units), 9):
            ct = jnp.zeros_like(value).at[(slice(None), *field.units[k], CHANNEL)].set(1)
            right = np.asarray(jnp.square(pull(ct)[0]).sum(-1))
            places = [np.arange(n) + lo for n, lo in zip(found.shape[2:], field.origin[k])]
            inside = [(p >= 0) & (p < n) for p, n in zip(places, right.shape[1:])]
            placed = np.zeros_like(right)
            for one, whole in zip(found[:, k], placed, strict=True):
                whole[np.ix_(*(p[i] for p, i in zip(places, inside)))] = one[np.ix_(*inside)]
            assert np.abs(placed - right).max() <= 3e-5 * right.max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "windows"])
def test_gradients(name):
    """The gradient of a sum of maps by the weights is that of a program with the options; it does not end the process."""
    model, images = MODELS[name], jax.random.normal(jax.random.key(1), SHAPE)
    field = jaxrf.prepare(model, None, images, units=jaxrf.grid(4, 4), channels=CHANNEL)
    variables = field.init(jax.random.key(0))

    def total(variables):
        return jnp.log(field(variables, images).array().sum())

    found, right = (
        jax.jit(jax.grad(total), compiler_options=options)(variables) for options in (None, compiler_options())
    )
    for mine, other in zip(jax.tree.leaves(found), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-3 * max(float(np.abs(other).max()), 1e-3))
