"""Cotangents that keep within range: rescaled by powers of two on the way, the exponent kept beside them.

Forty sigmoid layers shrink a gradient by 2^-90; its square underflows in single precision.
Multiplying by a power of two is exact, so where nothing leaves the range nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

EVERY = 16
"""Equations between two looks at a cotangent's magnitude: one look reads all of it.

In single precision so many equations may together shrink or grow it by 2**60 without harm.
"""
NOTHING = -(2**20)
"""The exponent of a cotangent that is zero, so that it sets no scale where it is added to another."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """A cotangent `array * 2**exponent`, with one exponent per unit.

    Attributes:
        array: (units, *sizes).
        exponent: (units,), int32; None for zeros that are known while tracing.
        age: equations since its magnitude was last looked at.
    """

    array: jax.Array
    exponent: jax.Array | None = None
    age: int = 0

    def exponents(self) -> jax.Array:
        """(units,), int32."""
        return jnp.zeros(len(self.array), jnp.int32) if self.exponent is None else self.exponent

    def then(self, array: jax.Array) -> Scaled:
        """What one equation made of it."""
        return Scaled(array, self.exponent, self.age + 1)

    def __add__(self, other: Scaled) -> Scaled:
        age = max(self.age, other.age)
        if self.exponent is other.exponent:
            return Scaled(self.array + other.array, self.exponent, age)
        mine, theirs = self.exponents(), other.exponents()
        common = jnp.maximum(mine, theirs)
        return Scaled(times(self.array, mine - common) + times(other.array, theirs - common), common, age)

    def looked_at(self, every: int = EVERY) -> Scaled:
        """Rescaled where its largest magnitude is out of range; as it is if that was done fewer than `every` equations ago."""
        if self.age < every or not self.array.size:
            return self
        limit = room(self.array.dtype)
        largest = jnp.abs(self.array).max(axis=tuple(range(1, self.array.ndim)))
        usual = (largest >= 2.0**-limit) & (largest <= 2.0**limit)
        change = jnp.where(usual | (largest == 0) | ~jnp.isfinite(largest), 0, jnp.frexp(largest)[1])
        exponent = jnp.where(largest == 0, NOTHING, self.exponents() + change)
        return Scaled(times(self.array, -change), exponent, 0)


def room(dtype: np.dtype) -> int:
    """How many powers of two the largest magnitude may be away from one: 32 in single precision.

    The square of what is as far below the largest as that is above the smallest number then still counts.
    """
    return int(jnp.finfo(dtype).maxexp) // 4


def times(array: jax.Array, exponent: jax.Array) -> jax.Array:
    """`array * 2**exponent`, exactly, one exponent per unit; in two steps, since the power itself may not be a number."""
    half = exponent // 2
    one = jnp.ones((), jnp.finfo(array.dtype).dtype)
    for part in (half, exponent - half):
        array = array * jnp.ldexp(one, part).reshape(-1, *(1,) * (array.ndim - 1))
    return array


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
