"""Which numbers of a known coefficient are nothing but rounding.

The tails of a Lanczos kernel are zero where it is sampled at whole distances, and come out as 1e-8 or 1e-5: what is left
of a difference of larger numbers. A decay such as 0.5^40 is as small, and right in all of its digits.
What tells them apart is whether they stay when all that they are computed from is shaken in its last digit.

References:
    Vignes (1993), "A stochastic arithmetic for reliable scientific computation", Mathematics and Computers in Simulation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrf.equations.program import Equation, Operand, Variable, evaluate

SHAKES = 6
LEAST = 0.5
"""A number that moves by more than this share of itself has no binary digit that is right."""


def significant(
    value: np.ndarray, equations: Sequence[Equation], operand: Operand, known: Mapping[Variable, Any]
) -> np.ndarray:
    """Where the `value` of `operand`, computed by `equations` from what is `known`, is not zero but for rounding.

    Only numbers below the root of the rounding unit, beside the largest of them, are in doubt.
    Those that are given, written into the model or closed over, are right as they are.

    Example:
        0.3 + 0.3 - 0.6 is -2e-8 in single precision, and shaken by 6e-8: it is none. 0.5^40 = 9e-13 is shaken by 4e-18.
    """
    found = value != 0
    if value.size == 0 or not jnp.issubdtype(value.dtype, jnp.floating):
        return found
    sizes = np.abs(value.astype(np.float64))
    doubtful = found & (sizes < float(jnp.finfo(value.dtype).eps) ** 0.5 * sizes.max())
    if not doubtful.any():
        return found
    draw = np.random.default_rng(0)
    for _ in range(SHAKES):
        shaken = np.asarray(evaluate(equations, [operand], known, lambda eqn, given: _shaken(eqn, given, draw))[0])
        moved = np.abs(shaken.astype(np.float64) - value.astype(np.float64))
        found &= ~(doubtful & (moved > LEAST * sizes))
    return found


def _shaken(equation: Equation, values: Sequence[Any], draw: np.random.Generator) -> list[Any]:
    """Results of an equation, each number times one plus or minus a rounding unit."""
    results = []
    for result in equation.evaluate(*values):
        if jnp.issubdtype(result.dtype, jnp.floating):
            unit = jnp.finfo(result.dtype).eps
            result = result * np.where(draw.random(result.shape) < 0.5, 1 + unit, 1 - unit).astype(result.dtype)
        results.append(result)
    return results
