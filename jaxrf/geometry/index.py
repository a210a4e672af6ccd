"""Positions as users write them: units of a layer, positions of an input."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np

from jaxrf.errors import InputError

Unit = int | Sequence[int]


def checked_index(index: Unit, shape: tuple[int, ...], what: str, owner: str) -> tuple[int, ...]:
    """`index` as a tuple of ints within `shape`.

    Raises:
        InputError: it is not one, in words about `what` of which `owner`.
    """
    try:
        given = tuple(operator.index(i) for i in ((index,) if np.ndim(index) == 0 else index))  # type: ignore[union-attr]
    except TypeError:
        raise InputError(
            f"{what} {index!r} is not a position: {len(shape)} whole numbers are needed for {owner}."
        ) from None
    if len(given) != len(shape):
        raise InputError(
            f"{what} {given} has {len(given)} numbers, but {owner} has {len(shape)} axes, of shape {shape}. "
            "Give one number per axis."
        )
    if any(not 0 <= i < n for i, n in zip(given, shape, strict=True)):
        ranges = ", ".join(f"0..{n - 1}" for n in shape)
        raise InputError(f"{what} {given} is outside of {owner}, of shape {shape}. Use numbers in {ranges}.")
    return given
