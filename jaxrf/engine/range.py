"""Cotangents that keep within range: rescaled by powers of two on the way, the exponent kept beside them.

Forty sigmoid layers shrink a gradient by 2^-90; its square underflows in single precision.
Multiplying by a power of two is exact, so where nothing leaves the range nothing changes.

Two things keep a product within range. Weights are brought to a usual magnitude before it (`scales`), once for all
images and units. And what it gives is looked at once it may have drifted far: by how much weights of a usual magnitude
let it drift is known beforehand, and behind a coefficient that depends on the image it is looked at in any case.
Law: weights times powers of two give the same bits, times a power of two, as long as no weight leaves the range by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.errors import InputError

SLACK = 8
"""Weights may be away from their usual magnitude by one part in so many of the room: by 2**4 in single precision."""
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

    def times_two_to(self, exponent: jax.Array | int) -> Scaled:
        """`self * 2**exponent`, by its exponent alone."""
        return Scaled(self.array, self.exponents() + exponent, self.drift)

    def looked_at(self, allowed: float, limit: int) -> Scaled:
        """Rescaled where its largest magnitude is not within `2**-limit` and `2**limit`.

        As it is if it drifted by less than `allowed`.
        """
        if self.drift < allowed or not self.array.size:
            return self
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


def scales(coefficients: Sequence[jax.Array], terms: Sequence[float]) -> list[tuple[jax.Array, jax.Array]]:
    """By what coefficients are to be multiplied to suit sums of so many terms, and the exponent that this takes away.

    What suits is one over the root of the number of terms: those that cancel as random ones do leave the magnitude of a
    cotangent as it is. The factor is a power of two, so that nothing is rounded; it is one, and the exponent 0, where the
    largest magnitude is away by less than `SLACK` of the room, or zero, or no number.
    All of them together, since a program of some hundred small computations takes long to compile.

    Returns:
        A factor () of the coefficient's type and an int32 () for each.
    """
    result: list[tuple[jax.Array, jax.Array]] = [(jnp.int8(1), jnp.int32(0))] * len(coefficients)
    alike: dict[np.dtype, list[int]] = {}
    for number, coefficient in enumerate(coefficients):
        if coefficient.size and jnp.issubdtype(coefficient.dtype, jnp.inexact):
            alike.setdefault(coefficient.dtype, []).append(number)
    for dtype, numbers in alike.items():
        largest = jnp.stack([jnp.abs(coefficients[n]).max() for n in numbers])
        usual = np.array([math.ceil(math.log2(terms[n]) / 2) for n in numbers], np.int32)
        away = jnp.frexp(largest)[1] + usual
        tame = (jnp.abs(away) <= room(dtype) // SLACK) | (largest == 0) | ~jnp.isfinite(largest)
        most = int(jnp.finfo(dtype).maxexp) - 2  # beyond it the power is no number; what is left over is still in range
        away = jnp.where(tame, 0, jnp.clip(away, -most, most))
        factors = _power(-away, largest.dtype).astype(dtype)
        for place, n in enumerate(numbers):
            result[n] = factors[place], away[place]
    return result


def times(array: jax.Array, exponent: jax.Array) -> jax.Array:
    """`array * 2**exponent`, exactly, one exponent per unit, or one for all; in two steps, for the power may be none."""
    half = exponent // 2
    for part in (half, exponent - half):
        array = array * _power(part, array.dtype).reshape(exponent.shape + (1,) * (array.ndim - exponent.ndim))
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

    Raises:
        InputError: double precision does not hold the largest score of a map.
    """
    if not exponent.any():
        return maps
    wide = maps.astype(np.float64)
    with np.errstate(over="ignore"):
        scaled = np.ldexp(wide, exponent.reshape(*exponent.shape, *(1,) * (maps.ndim - exponent.ndim)))
    axes = tuple(range(exponent.ndim, maps.ndim))
    before, after = np.abs(wide).max(axes, initial=0), np.abs(scaled).max(axes, initial=0)
    beyond = np.isfinite(before) & (before > 0) & ~((after >= np.finfo(np.float64).tiny) & np.isfinite(after))
    if beyond.any():
        power = int(exponent[beyond].flat[0])
        raise InputError(
            f"{int(beyond.sum())} of {beyond.size} maps hold scores of about 2**{power}, which double precision does not. "
            'Use score="abs", which takes half as many powers of two as "square", or weights of a more usual scale.'
        )
    return scaled
