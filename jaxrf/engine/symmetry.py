"""Whether drawn weights have zero mean, as an average over their signs needs: a look at several draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxrf.equations.program import TangentProgram
from jaxrf.errors import InputError
from jaxrf.interpret.weights import REFUSED, Weight

SEEDS = 8
"""Draws that are looked at."""
LIMIT = 0.05
"""Of `fan_in * mean^2 / variance`: what a mean adds to the power of a layer, relative to what the signs give."""
CONFIDENCE = 16.0
"""The logarithm of one over the chance that weights of zero mean are refused, per weight."""


def check_symmetric(program: TangentProgram, weights: Sequence[Weight], draw: Callable[[int], Sequence[Any]]) -> None:
    """Raises an error where the mean of a random weight is not small.

    Args:
        program: the traced model.
        weights: its random weights.
        draw: the model's variables, flattened, from a seed.

    Raises:
        InputError: kernels that are positive, constant, the same in each draw, or have a mean at some position.
    """
    entries: list[Any] = [0.0] * len(weights)
    squares = np.zeros(len(weights))
    for seed in range(SEEDS):
        known = dict(zip(program.arguments, draw(seed), strict=True))
        values = program.evaluate([weight.coefficient for weight in weights], known)
        for number, value in enumerate(values):
            value = np.asarray(value)
            entries[number] = entries[number] + value / SEEDS
            squares[number] += np.square(value, dtype=np.float64).mean() / SEEDS
    for weight, mean, square in zip(weights, entries, squares):
        ratio = excess_of_mean(mean, square, weight.inputs, weight.places)
        if ratio > LIMIT:
            name = weight.equation.layer
            raise InputError(
                f"{REFUSED}the weights of layer {name!r} do not have zero mean: fan_in * mean^2 / variance is {ratio:.3g} "
                f"over {SEEDS} draws, and at most {LIMIT} is allowed. Use another initializer, or "
                'estimator="sampled".'
            )


def excess_of_mean(mean: np.ndarray, square: float, inputs: Sequence[int], places: Sequence[int]) -> float:
    """`fan_in * mean^2 / variance` of a weight beyond what chance explains, at each of its positions and elements.

    Args:
        mean: of each element over the draws.
        square: mean of all squares.
        inputs: axes that one element of the result is summed over.
        places: axes that are positions.

    Returns:
        The larger of the ratio of means over draws and channels, and that of means over draws; 0 where chance explains it.

    References:
        Laurent, Massart (2000), Adaptive estimation of a quadratic functional, lemma 1: the tail of a chi-square.

    Example:
        >>> excess_of_mean(np.full((3, 2), 0.5), 0.25, (0,), ()) > 1
        True
    """
    if square == 0:
        return 0.0
    fan_in = int(np.prod([mean.shape[axis] for axis in inputs]))
    channels = tuple(axis for axis in range(mean.ndim) if axis not in places)
    found = 0.0
    for means in (mean.mean(axis=channels, dtype=np.float64), mean.astype(np.float64)):
        groups = means.size
        samples = SEEDS * mean.size / groups
        beyond = float(np.square(means).mean()) - square / samples
        chance = square / samples * (2 * np.sqrt(CONFIDENCE / groups) + 2 * CONFIDENCE / groups)
        if beyond > chance:
            found = max(found, fan_in * beyond / max(square - beyond, np.finfo(np.float64).tiny))
    return found
