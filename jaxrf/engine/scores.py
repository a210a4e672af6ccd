"""Scores: what one input position gets from its gradient over the input's channels."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrf.base.registry import Registry
from jaxrf.errors import InputError

Score = Callable[[jax.Array], jax.Array]
scores: Registry[Score] = Registry("score")
"""Each maps gradients (..., channel) to scores (...)."""


@scores.register("square")
def square(gradient: jax.Array) -> jax.Array:
    """Sum of squares over channels: scale-free under averaging, and what random weights have in expectation."""
    return (gradient * gradient).sum(axis=-1)


@scores.register("abs")
def absolute(gradient: jax.Array) -> jax.Array:
    """Sum of absolute values over channels."""
    return jnp.abs(gradient).sum(axis=-1)


@scores.register("relu")
def relu(gradient: jax.Array) -> jax.Array:
    """Sum of positive parts over channels, as in RepLKNet (2022)."""
    return jnp.maximum(gradient, 0).sum(axis=-1)


@scores.register("signed")
def signed(gradient: jax.Array) -> jax.Array:
    """Sum over channels, signs kept."""
    return gradient.sum(axis=-1)


@scores.register("positive_sum")
def positive_sum(gradient: jax.Array) -> jax.Array:
    """Positive part of the sum over channels, as in OpenERF (2023), which takes the mean: a matter of scale."""
    return jnp.maximum(gradient.sum(axis=-1), 0)


def degree(name: str) -> int:
    """The power of a factor by which all gradients are multiplied that comes out in the score.

    Law: score(2 g) = 2**degree * score(g).

    Example:
        >>> degree("square"), degree("signed")
        (2, 1)
    """
    return 2 if name == "square" else 1


def keeps_signs(name: str) -> bool:
    """Whether the score of some gradient is negative, so that a map's sum says nothing of its strength."""
    return name == "signed"


def check_normalizable(name: str, average: str) -> None:
    """Raises an `InputError` where maps of the score cannot be divided by their sums."""
    if average == "normalized" and keeps_signs(name):
        raise InputError(
            f'Maps of score="{name}" have entries of both signs, and their sum can be near zero: average="normalized" '
            'would divide by it. Use average="weighted", or a score without signs: "square" or "abs".'
        )
