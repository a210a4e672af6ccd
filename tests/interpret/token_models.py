"""Models of tokens, as small as they go: what they do to positions, and little else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

import jaxrf


class Block(nn.Module):
    """Attention and a perceptron, each behind a normalization and with a skip."""

    @nn.compact
    def __call__(self, x):
        x = x + nn.MultiHeadDotProductAttention(2, name="attention")(nn.LayerNorm()(x))
        return x + nn.Dense(x.shape[-1])(nn.gelu(nn.Dense(x.shape[-1])(nn.LayerNorm()(x))))


class Deit(nn.Module):
    """Patches, with so many tokens in front of them: a class, a distillation and register tokens."""

    first: int = 4
    patch: int = 8
    stride: int = 8

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (self.patch,) * 2, self.stride, padding="SAME", name="patch")(x)
        x = x.reshape(x.shape[0], -1, 8)
        first = self.param("first", nn.initializers.normal(1.0), (1, self.first, 8))
        x = jnp.concatenate([jnp.broadcast_to(first, (x.shape[0], self.first, 8)), x], 1)
        x = x + self.param("positions", nn.initializers.normal(1.0), (1, x.shape[1], 8))
        x = Block(name="block")(x)
        return nn.Dense(3, name="head")(x[:, 0]) + nn.Dense(3, name="distilled")(x[:, 1])


class Mixer(nn.Module):
    """A perceptron over tokens, then one over features."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (8, 8), 8, padding="VALID", name="patch")(x)
        x = x.reshape(x.shape[0], -1, 8)
        y = nn.LayerNorm()(x).swapaxes(1, 2)
        x = jaxrf.tap(x + nn.Dense(x.shape[1])(nn.gelu(nn.Dense(16)(y))).swapaxes(1, 2), "mixed")
        return jaxrf.tap(x + nn.Dense(8)(nn.gelu(nn.Dense(16)(nn.LayerNorm()(x)))), "block")


def into_windows(x, side):
    """(image · window, token, feature): windows of side by side neighbors."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // side, side, w // side, side, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, side * side, c)


def out_of_windows(x, shape, side):
    """The map again."""
    n, h, w, c = shape
    return x.reshape(n, h // side, w // side, side, side, c).transpose(0, 1, 3, 2, 4, 5).reshape(shape)


class MaxVit(nn.Module):
    """A convolution with a gate, attention in windows, and attention on a grid across them."""

    side: int = 4

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (2, 2), 2, name="stem")(x)
        y = nn.Conv(8, (3, 3), feature_group_count=8, name="depthwise")(x)
        x = jaxrf.tap(x + y * nn.sigmoid(nn.Dense(8)(x.mean((1, 2), keepdims=True))), "gated")
        x = jaxrf.tap(out_of_windows(Block(name="block")(into_windows(x, self.side)), x.shape, self.side), "windows")
        n, h, w, c = x.shape
        across = x.reshape(n, self.side, h // self.side, self.side, w // self.side, c).transpose(0, 2, 4, 1, 3, 5)
        y = Block(name="grid")(across.reshape(-1, self.side**2, c)).reshape(across.shape)
        return jaxrf.tap(y.transpose(0, 3, 1, 4, 2, 5).reshape(x.shape), "across")


class Recurrence(nn.Module):
    """A selective state space of diagonal matrices, with a skip: step by step, or by pairs in parallel."""

    parallel: bool = False

    @nn.compact
    def __call__(self, x):
        decay, new = nn.sigmoid(nn.Dense(8, name="decay")(x)), nn.Dense(8, name="new")(x)
        if self.parallel:
            _, y = jax.lax.associative_scan(lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), (decay, new), axis=1)
        else:

            def step(state, now):
                state = now[0] * state + now[1]
                return state, state

            steps = (decay.swapaxes(0, 1), new.swapaxes(0, 1))
            y = jax.lax.scan(step, jnp.zeros_like(new[:, 0]), steps)[1].swapaxes(0, 1)
        return x + nn.Dense(x.shape[-1], name="out")(jaxrf.tap(y, "state"))


class VisionRecurrence(nn.Module):
    """A state space over patches, in both directions."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (8, 8), 8, padding="VALID", name="patch")(x).reshape(x.shape[0], -1, 8)
        ahead, back = Recurrence(name="ahead"), Recurrence(name="back")
        return jaxrf.tap(ahead(x) + back(x[:, ::-1])[:, ::-1], "both")
