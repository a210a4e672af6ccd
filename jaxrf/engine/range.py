"""Cotangents that keep within range: rescaled by powers of two on the way, the exponent kept beside them.

Forty sigmoid layers shrink a gradient by 2^-90; its square underflows in single precision.
Multiplying by a power of two is exact, so where nothing leaves the range nothing changes.

Two things keep a product within range. Weights are brought to a usual magnitude before it (`scales.py`), once for all
images and units. And what it gives is looked at once it may have drifted far: by how much weights of a usual magnitude
let it drift is known beforehand, and behind a coefficient that depends on the image it is looked at in any case.
Law: weights times powers of two give the same bits, times a power of two, as long as no weight leaves the range by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.base.compiler import traced_once
from jaxrf.base.platforms import Traits, traits
from jaxrf.engine.scales import Scales, Taken, exponent_of, greatest, plus, power, room, row_exponents
from jaxrf.errors import InputError

NOTHING = -(2**20)
"""The exponent of a cotangent that is zero, so that it sets no scale where it is added to another."""


@jax.custom_jvp
def square_root(squares: jax.Array) -> jax.Array:
    """The root of sums of squares, which rounding may leave below zero.

    Its derivative at zero counts as zero: what no path reaches stays so, and would make the slope of all others NaN.
    """
    return jnp.sqrt(jnp.maximum(squares, 0))


@square_root.defjvp
def _slope_of_root(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    found = square_root(*primals)
    return found, jnp.where(found > 0, tangents[0] / jnp.where(found > 0, 2 * found, 1), 0)


@dataclass(frozen=True, eq=False)
class Scaled:
    """A cotangent `array * 2**exponent`, times what was `taken`, with one exponent per unit.

    Attributes:
        array: (units, *sizes).
        exponent: (units,), int32; None for zeros that are known while tracing.
        drift: powers of two by which its magnitude may have changed since it was last looked at (`Rule.drift`).
        taken: scales of coefficients that it lost and that are not in its exponent, the same for all units.
    """

    array: jax.Array
    exponent: jax.Array | None = None
    drift: float = 0.0
    taken: Taken = ()

    def exponents(self) -> jax.Array:
        """(units,), int32; without those of what was `taken`."""
        return jnp.zeros(len(self.array), jnp.int32) if self.exponent is None else self.exponent

    def then(self, array: jax.Array, drift: float, taken: Taken = ()) -> Scaled:
        """What an equation of that drift made of it, by coefficients from which scales were taken."""
        return Scaled(array, self.exponent, self.drift + drift, plus(self.taken, taken))

    def met(self, other: Scaled, found: Scales, in_squares: bool = False) -> Scaled:
        """The sum of both; or, `in_squares`, the root of the sum of squares, for magnitudes whose signs are independent."""
        drift, difference = max(self.drift, other.drift), plus(self.taken, other.taken, -1)
        if self.exponent is not other.exponent:
            mine, theirs = self.exponents() + found.exponent(difference), other.exponents()
            exponent = jnp.maximum(mine, theirs)
            a, b = times(self.array, mine - exponent), times(other.array, theirs - exponent)
            taken = other.taken
        elif difference:
            meeting = found.meeting(difference, self.array.dtype)
            a, b = (one * first * then for one, (first, then) in zip((self.array, other.array), meeting))
            exponent, taken = self.exponent, plus(other.taken, ((difference, 1),))
        else:
            a, b, exponent, taken = self.array, other.array, self.exponent, self.taken
        return Scaled(square_root(a * a + b * b) if in_squares else a + b, exponent, drift, taken)

    def complete(self, found: Scales) -> Scaled:
        """The same with what was taken in its exponent."""
        return Scaled(self.array, self.exponents() + found.exponent(self.taken), self.drift) if self.taken else self

    def looked_at(self, allowed: float, limit: int) -> Scaled:
        """Rescaled where its largest magnitude is not within `2**-limit` and `2**limit`.

        As it is if it drifted by less than `allowed`.
        """
        if self.drift < allowed or not self.array.size:
            return self
        return self.rescaled(self.near_one(limit))

    def near_one(self, limit: int) -> jax.Array:
        """Powers of two (units,) that bring its largest magnitude near one, where that is not within `2**-limit` and `2**limit`.

        One where it is; zero where all of it is.
        """
        return _near_one(self.array, limit, traits())

    def rescaled(self, factor: jax.Array) -> Scaled:
        """The same by another exponent, times powers of two that were found by `near_one`."""
        array, exponent = _rescaled(self.array, self.exponents(), factor)
        return Scaled(array, exponent, 0.0, self.taken)


@traced_once("limit", "platform")
def _near_one(array: jax.Array, limit: int, platform: Traits) -> jax.Array:
    """See `Scaled.near_one`. A division is exact here, and XLA does not compute it anew wherever it is read."""
    del platform  # which `row_exponents` reads: another one is another program
    found, plain = row_exponents(array)
    most = greatest(array.dtype)  # beyond it, what is left over is near one
    away = jnp.where(plain & ((found <= -limit) | (found > limit)), jnp.clip(found, -most, most), 0)
    return 1 / jnp.where(~plain & (found < 0), jnp.inf, power(away, array.dtype))


@traced_once()
def _rescaled(array: jax.Array, exponent: jax.Array, factor: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _by(array, factor), jnp.where(factor == 0, NOTHING, exponent - exponent_of(factor))


def patience(dtype: np.dtype) -> float:
    """Say by how many powers of two a cotangent of any unit may drift, from within its range, and be far from the ends."""
    return 2.0 * room(dtype) - 4.0


def times(array: jax.Array, exponent: jax.Array) -> jax.Array:
    """`array * 2**exponent`, exactly, one exponent per unit, or one for all; in two steps, for the power may be none."""
    half = exponent >> 1
    return _by(_by(array, power(half, array.dtype)), power(exponent - half, array.dtype))


def _by(array: jax.Array, factor: jax.Array) -> jax.Array:
    """A product with one number for each unit, or with one for all."""
    return array * factor.reshape(factor.shape + (1,) * (array.ndim - factor.ndim))


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
