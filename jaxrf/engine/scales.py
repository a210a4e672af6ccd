"""Powers of two that are taken out of coefficients, and what cotangents that lost different ones are multiplied by.

A coefficient is brought to a usual magnitude once for all images and units, and its scale is kept beside the cotangent,
as a number of the program: which scales a cotangent has lost is known while tracing. Where two cotangents meet that have
lost the same, their sum is a plain one; where they have lost others, by how much they differ is one number for all units.

All of these numbers are found together, before the loop over units: a hundred small computations take long to compile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.base.platforms import traits
from jaxrf.equations.program import Operand

SLACK = 8
"""Weights may be away from their usual magnitude by one part in so many of the room: by 2**4 in single precision."""
SAMPLE = 2**16
"""Elements of a coefficient that tell its magnitude on a TPU."""
TOGETHER = 4
"""How many arrays of one size are looked through at once."""

Key = tuple[Operand, float]
"""A coefficient, and how many terms the sums have that it stands in."""
Taken = tuple[tuple[Hashable, int], ...]
"""Scales that a cotangent has lost, each with its power: of coefficients (`Key`), and of meetings (their difference)."""


def plus(taken: Taken, more: Taken, sign: int = 1) -> Taken:
    """What was taken, and `sign` times more of it.

    >>> plus((("a", 1), ("b", 2)), (("b", 2), ("c", 1)), -1)
    (('a', 1), ('c', -1))
    """
    powers = dict(taken)
    for key, times in more:
        powers[key] = powers.get(key, 0) + sign * times
    return tuple((key, times) for key, times in powers.items() if times)


class Meeting(NamedTuple):
    """What two cotangents are multiplied by that lost different scales: each by both of its factors.

    Attributes:
        first, second: two powers of two whose product is the factor; which may not be a number of the type by itself.
    """

    first: tuple[jax.Array, jax.Array]
    second: tuple[jax.Array, jax.Array]


@dataclass(eq=False)
class Scales:
    """The scales of a pull-back: noted in a first walk on shapes, and found together by `prepare`.

    Attributes:
        value: the value of a coefficient.
        walking: whether the walk on shapes is on, in which numbers stand for any others.
    """

    value: Callable[[Operand], jax.Array]
    walking: bool = False
    _noted: dict[Key, None] = field(default_factory=dict)
    _meetings: dict[tuple[Taken, np.dtype], None] = field(default_factory=dict)
    _factors: dict[Key, jax.Array] = field(default_factory=dict)
    _exponents: dict[Hashable, jax.Array] = field(default_factory=dict)
    _met: dict[tuple[Taken, np.dtype], Meeting] = field(default_factory=dict)

    def factor(self, key: Key) -> jax.Array:
        """The factor () of a coefficient, a power of two of its type."""
        if self.walking:
            self._noted[key] = None
            return jnp.ones((), key[0].dtype)
        if key not in self._factors:
            self._find([key])
        return self._factors[key]

    def exponent(self, taken: Taken) -> jax.Array:
        """The exponent of two, int32 (), of scales that were taken."""
        if self.walking or not taken:
            return jnp.int32(0)
        return sum((times * self._exponent(key) for key, times in taken), jnp.int32(0))

    def meeting(self, difference: Taken, dtype: np.dtype) -> Meeting:
        """The factors of two cotangents of a type, the first of which has lost more, by the `difference`.

        From then on both have lost what the second has, and the scale `difference` itself.
        """
        if self.walking:
            self._meetings[difference, dtype] = None
            one = jnp.ones((), dtype)
            return Meeting((one, one), (one, one))
        if (difference, dtype) not in self._met:
            self._meet([(difference, dtype)])
        return self._met[difference, dtype]

    def prepare(self) -> None:
        """Find all that was noted."""
        self.walking = False
        self._find([key for key in self._noted if key not in self._factors])
        self._meet(list(self._meetings))

    def _exponent(self, key: Hashable) -> jax.Array:
        if key not in self._exponents:
            self._find([key])  # type: ignore[list-item]
        return self._exponents[key]

    def _find(self, keys: Sequence[Key]) -> None:
        """Factors and exponents of coefficients."""
        if not keys:
            return
        found = scales([self.value(source) for source, _ in keys], [terms for _, terms in keys])
        for key, (factor, exponent) in zip(keys, found, strict=True):
            self._factors[key], self._exponents[key] = factor, exponent

    def _meet(self, meetings: Sequence[tuple[Taken, np.dtype]]) -> None:
        """Factors of meetings, in order; the numbers of all stand in one array, so that none is computed at its use."""
        exponents: dict[tuple[Taken, np.dtype], jax.Array] = {}
        for difference, dtype in meetings:
            exponents[difference, dtype] = found = self.exponent(difference)
            self._exponents[difference] = jnp.maximum(found, 0)
        for dtype in dict.fromkeys(dtype for _, dtype in meetings):
            mine = [one for one in meetings if one[1] == dtype]
            found = jnp.stack([exponents[one] for one in mine])
            rise = jnp.maximum(found, 0)
            first, second = inverse(jnp.stack([rise - found, rise]), dtype)
            for place, one in enumerate(mine):
                factors = [(first[side, place], second[side, place]) for side in (0, 1)]
                self._met[one], self._exponents[one[0]] = Meeting(*factors), rise[place]


def scales(coefficients: Sequence[jax.Array], terms: Sequence[float]) -> list[tuple[jax.Array, jax.Array]]:
    """Find by what coefficients are to be multiplied to suit sums of so many terms, and the exponent that this takes away.

    What suits is one over the root of the number of terms: those that cancel as random ones do leave the magnitude of a
    cotangent as it is. The factor is a power of two, so that nothing is rounded; it is one, and the exponent 0, where the
    largest magnitude is away by less than `SLACK` of the room, or zero, or no number.

    Returns:
        A factor () of the coefficient's type and an int32 () for each.
    """
    result = [(jnp.ones((), c.dtype), jnp.int32(0)) for c in coefficients]
    alike: dict[np.dtype, list[int]] = {}
    for number, coefficient in enumerate(coefficients):
        if coefficient.size and jnp.issubdtype(coefficient.dtype, jnp.inexact):
            alike.setdefault(coefficient.dtype, []).append(number)
    for dtype, numbers in alike.items():
        real = np.dtype(jnp.finfo(dtype).dtype)
        largest, plain = largest_exponents([_sample(coefficients[n]) for n in numbers])
        usual = np.array([math.ceil(math.log2(terms[n]) / 2) for n in numbers], np.int32)
        away = largest + usual
        most = greatest(dtype)  # what is left over of a power beyond it is still in range
        tame = (jnp.abs(away) <= room(dtype) // SLACK) | ~plain
        away = jnp.where(tame, 0, jnp.clip(away, -most, most))
        factors = (1 / power(away, real)).astype(dtype)  # not computed anew where it is read: see `inverse`
        for place, n in enumerate(numbers):
            result[n] = factors[place], away[place]
    return result


def _sample(coefficient: jax.Array) -> jax.Array:
    """What tells the magnitude of a coefficient: all of it; or its middle, which holds up to `SAMPLE` elements.

    A look at the range of a cotangent
    catches what other elements do to it.
    """
    if not traits().samples_weights:
        return coefficient
    for axis, n in enumerate(coefficient.shape):
        kept = max(1, min(n, SAMPLE * n // coefficient.size))
        coefficient = lax.slice_in_dim(coefficient, (n - kept) // 2, (n - kept) // 2 + kept, axis=axis)
    return coefficient


def greatest(dtype: np.dtype) -> int:
    """Say up to which power of two a number and its inverse are both normal ones: 126 in single precision."""
    return int(jnp.finfo(dtype).maxexp) - 2


def room(dtype: np.dtype) -> int:
    """How many powers of two the largest magnitude may be away from one: 32 in single precision.

    The square of what is as far below the largest as that is above the smallest number then still counts.
    """
    return int(jnp.finfo(dtype).maxexp) // 4


def largest_exponents(arrays: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The exponent of two of the largest magnitude in each array of one type: 1 for 1.5, as `frexp` has it.

    Read off the bits of numbers, which are in order as the numbers are; and off several arrays of one size at a time.
    A CPU looks through the weights of a ResNet-50 in 6 ms so, and in 80 or more by the maxima of their magnitudes.

    Returns:
        Exponents, int32 (array,); and whether there is such a number, (array,): not where all are zero or any is none.

    Example:
        >>> [a.tolist() for a in largest_exponents([jnp.array([0.25, -6.0]), jnp.array([jnp.inf])])]
        [[3, 129], [True, False]]
    """
    parts = [[a.real, a.imag] if jnp.iscomplexobj(a) else [a] for a in arrays]
    flat = [part for each in parts for part in each]
    look = _largest_apart if traits().reshape_copies else _largest_together
    bits = jnp.stack(look(flat)).reshape(-1, len(parts[0])).max(axis=1)
    return _exponents(bits, flat[0].dtype)


def row_exponents(array: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`largest_exponents` of each entry of an array's first axis."""
    if traits().reshape_copies:
        parts = [array.real, array.imag] if jnp.iscomplexobj(array) else [array]
        bits = reduce(jnp.maximum, (_bits(part).max(axis=range(1, part.ndim), initial=0) for part in parts))
        return _exponents(bits, parts[0].dtype)
    rows = array.reshape(len(array), -1)
    if jnp.iscomplexobj(rows):
        rows = jnp.concatenate([rows.real, rows.imag], axis=1)
    return _exponents(_largest_bits([rows])[0], rows.dtype)


def _largest_apart(arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """The bits of the largest magnitude in each of several real arrays, each as it lies."""
    return [_bits(array).max() for array in arrays]


def _largest_together(arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """Do as `_largest_apart`, for several arrays of one size at a time."""
    largest: list[jax.Array] = [jnp.int32(0)] * len(arrays)
    sizes: dict[int, list[int]] = {}
    for number, array in enumerate(arrays):
        sizes.setdefault(array.size, []).append(number)
    for numbers in sizes.values():
        for some in (numbers[i : i + TOGETHER] for i in range(0, len(numbers), TOGETHER)):
            for n, found in zip(some, _largest_bits([arrays[n].reshape(-1) for n in some])):
                largest[n] = found
    return largest


def _bits(array: jax.Array) -> jax.Array:
    """Magnitudes of a real array as whole numbers, in the order of the magnitudes."""
    return lax.bitcast_convert_type(lax.abs(array), jnp.dtype(f"int{8 * array.dtype.itemsize}"))


def _exponents(bits: jax.Array, dtype: np.dtype) -> tuple[jax.Array, jax.Array]:
    """Exponents of numbers given by their bits, and which of them are numbers other than zero."""
    info = jnp.finfo(dtype)
    digits = info.bits - info.nmant - lax.clz(bits)  # of those below the normal numbers
    exponents = jnp.where(bits >> info.nmant, bits >> info.nmant, digits).astype(jnp.int32) + info.minexp
    return exponents, (bits > 0) & (exponents <= info.maxexp)


def _largest_bits(arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """The largest magnitude along the last axis of each of several real arrays of one shape, as bits.

    Few arrays are cut into several parts, which overlap where they do not fit: XLA makes one loop over all parts, and
    a hundred small ones of a reduction of a single array.
    """
    whole, size = jnp.dtype(f"int{8 * arrays[0].dtype.itemsize}"), arrays[0].shape[-1]
    count = max(1, TOGETHER // len(arrays))
    length = -(-size // count)
    starts = [number * (size - length) // max(1, count - 1) for number in range(count)]
    bits = [_bits(a) for a in arrays]
    parts = tuple(lax.slice_in_dim(b, start, start + length, axis=-1) for b in bits for start in starts)
    none = tuple(np.zeros((), whole) for _ in parts)
    found = lax.reduce(parts, none, lambda a, b: tuple(map(lax.max, a, b)), (bits[0].ndim - 1,))
    return [reduce(lax.max, found[i : i + count]) for i in range(0, len(found), count)]


def inverse(exponent: jax.Array, dtype: np.dtype) -> tuple[jax.Array, jax.Array]:
    """Two factors of a type whose product is `2**-exponent`, which may not be a number of the type itself.

    By a division, which is exact, and which XLA does not compute anew in each place where its result is read.
    """
    half = exponent >> 1
    return 1 / power(half, dtype), 1 / power(exponent - half, dtype)


def power(exponent: jax.Array, dtype: np.dtype) -> jax.Array:
    """`2**exponent` made from its bits; zero or infinity where it is out of the normal range."""
    info = jnp.finfo(dtype)
    bits = jnp.dtype(f"int{info.bits}")
    biased = jnp.clip(exponent + (1 - info.minexp), 0, 1 - info.minexp + info.maxexp)
    return lax.bitcast_convert_type(biased.astype(bits) << info.nmant, info.dtype)


def exponent_of(power: jax.Array) -> jax.Array:
    """The exponents, int32, of powers of two that are normal numbers, also where a division left them next to one."""
    info = jnp.finfo(power.dtype)
    bits = lax.bitcast_convert_type(power, jnp.dtype(f"int{info.bits}"))
    return ((bits + (1 << info.nmant - 1)) >> info.nmant).astype(jnp.int32) + (info.minexp - 1)
