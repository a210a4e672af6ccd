"""Cotangents that keep within range: rescaled by powers of two on the way, the exponent kept beside them.

Forty sigmoid layers shrink a gradient by 2^-90; its square underflows in single precision.
Multiplying by a power of two is exact, so where nothing leaves the range nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

NOTHING = -(2**20)
"""The exponent of a cotangent that is zero, so that it sets no scale where it is added to another."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """A cotangent `array * 2**exponent`, with one exponent per unit.

    Attributes:
        array: (units, *sizes).
        exponent: (units,), int32; None for zeros that are known while tracing.
        drift: powers of two by which its magnitude may have changed since it was last looked at (`Rule.drift`).
    """

    array: jax.Array
    exponent: jax.Array | None = None
    drift: float = 0.0

    def exponents(self) -> jax.Array:
        """(units,), int32."""
        return jnp.zeros(len(self.array), jnp.int32) if self.exponent is None else self.exponent

    def then(self, array: jax.Array, drift: float) -> Scaled:
        """What an equation of that drift made of it."""
        return Scaled(array, self.exponent, self.drift + drift)

    def __add__(self, other: Scaled) -> Scaled:
        return self._with(other, jnp.add)

    def apart(self, other: Scaled) -> Scaled:
        """The root of the sum of squares, for magnitudes whose signs are independent."""
        return self._with(other, lambda a, b: jnp.sqrt(a * a + b * b))

    def _with(self, other: Scaled, join: Callable[[jax.Array, jax.Array], jax.Array]) -> Scaled:
        drift = max(self.drift, other.drift)
        if self.exponent is other.exponent:
            return Scaled(join(self.array, other.array), self.exponent, drift)
        mine, theirs = self.exponents(), other.exponents()
        common = jnp.maximum(mine, theirs)
        return Scaled(join(times(self.array, mine - common), times(other.array, theirs - common)), common, drift)

    def looked_at(self, allowed: float) -> Scaled:
        """Rescaled where its largest magnitude is out of range; as it is if it drifted by less than `allowed`."""
        if self.drift < allowed or not self.array.size:
            return self
        limit = room(self.array.dtype)
        largest = _largest(self.array)
        usual = (largest >= 2.0**-limit) & (largest <= 2.0**limit)
        change = jnp.where(usual | (largest == 0) | ~jnp.isfinite(largest), 0, jnp.frexp(largest)[1])
        exponent = jnp.where(largest == 0, NOTHING, self.exponents() + change)
        return Scaled(times(self.array, -change), exponent, 0.0)


def patience(dtype: np.dtype) -> float:
    """By how many powers of two a cotangent of any unit may drift, from within its range, and be far from the ends."""
    return 2.0 * room(dtype) - 4.0


def _largest(array: jax.Array) -> jax.Array:
    """The largest magnitude of each unit (units,).

    Over the first axis of several elements first, which a CPU does in whole vectors: up to twice as fast as XLA's
    reduction of all axes.
    """
    length = next((n for n in array.shape[1:] if n > 1), 1)
    row = jnp.abs(array).reshape(len(array), length, -1).max(axis=1)
    return lax.optimization_barrier(row).max(axis=1)


def room(dtype: np.dtype) -> int:
    """How many powers of two the largest magnitude may be away from one: 32 in single precision.

    The square of what is as far below the largest as that is above the smallest number then still counts.
    """
    return int(jnp.finfo(dtype).maxexp) // 4


def times(array: jax.Array, exponent: jax.Array) -> jax.Array:
    """`array * 2**exponent`, exactly, one exponent per unit; in two steps, since the power itself may not be a number."""
    half = exponent // 2
    for part in (half, exponent - half):
        array = array * _power(part, array.dtype).reshape(-1, *(1,) * (array.ndim - 1))
    return array


def _power(exponent: jax.Array, dtype: np.dtype) -> jax.Array:
    """`2**exponent` made from its bits; zero or infinity where that is no normal number."""
    info = jnp.finfo(dtype)
    bits = jnp.dtype(f"int{info.bits}")
    biased = jnp.clip(exponent + (1 - info.minexp), 0, 1 - info.minexp + info.maxexp)
    return lax.bitcast_convert_type(biased.astype(bits) << info.nmant, info.dtype)


def alike(maps: jax.Array, exponent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maps (units, *spatial) with the largest of their exponents (units,) for all, and that exponent ()."""
    common = exponent.max()
    return times(maps, exponent - common), common


def unscaled(maps: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """Scores times `2**exponent`, in double precision; as they are where all exponents are zero.

    Args:
        maps: (..., *spatial).
        exponent: (...).
    """
    if not exponent.any():
        return maps
    return np.ldexp(maps.astype(np.float64), exponent.reshape(*exponent.shape, *(1,) * (maps.ndim - exponent.ndim)))
