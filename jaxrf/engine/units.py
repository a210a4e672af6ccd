"""Which units of a layer are mapped: the center one, all, an even grid, or given positions."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from jaxtyping import Int

from jaxrf.base.typing import Units
from jaxrf.errors import InputError, unknown
from jaxrf.geometry.row import Row


@dataclass(frozen=True)
class Grid:
    """Evenly spaced units, `counts` along each unit axis; made by `jaxrf.grid`."""

    counts: tuple[int, ...]

    def of(self, shape: tuple[int, ...]) -> np.ndarray:
        """Positions (n, axes) in a layer of unit shape `shape`, in the middles of equal parts."""
        if len(self.counts) != len(shape) or any(c > n for c, n in zip(self.counts, shape)):
            raise InputError(
                f"A grid of {'x'.join(map(str, self.counts))} does not fit a layer of units {shape}: one count per axis "
                "is needed, none above the number of units."
            )
        axes = [((np.arange(c) + 0.5) * n / c).astype(np.int64) for c, n in zip(self.counts, shape)]
        return np.array(list(itertools.product(*axes)), np.int64).reshape(-1, len(shape))


def grid(*counts: int) -> Grid:
    """Evenly spaced units: `grid(8, 8)` are 64 of a layer with two unit axes.

    Raises:
        InputError: a count is below 1.

    Example:
        >>> grid(2, 2).of((7, 9)).tolist()
        [[1, 2], [1, 6], [5, 2], [5, 6]]
    """
    if not counts or not all(isinstance(c, Integral) and 1 <= c < 2**31 for c in counts):
        raise InputError(f"grid{counts} needs whole counts of at least 1, one per unit axis, such as grid(8, 8).")
    return Grid(tuple(int(c) for c in counts))


def positions(units: Units | Grid, row: Row) -> Int[np.ndarray, "unit axis"]:
    """Positions of the chosen units of a layer.

    Raises:
        InputError: a unit is outside of the layer, or has the wrong number of axes.
        UnknownNameError: a word that is none of "center", "middle" (`n // 2`, wherever that lies) and "all".
    """
    shape = row.unit_shape
    if isinstance(units, Grid):
        return units.of(shape)
    if isinstance(units, str):
        if units == "center":
            return np.array([row.center_unit], np.int64).reshape(1, len(shape))
        if units == "middle":
            return np.array([[n // 2 for n in shape]], np.int64).reshape(1, len(shape))
        if units == "all":
            return np.array(list(np.ndindex(*shape)), np.int64).reshape(math.prod(shape), len(shape))
        known = ["all", "center", "middle"]
        raise unknown("choice of units", units, known, hint="Or give a grid, or positions (n, axes).")
    given = np.asarray(units)
    if given.ndim != 2 or given.shape[1] != len(shape) or not np.issubdtype(given.dtype, np.integer) or not len(given):
        raise InputError(
            f"Units of shape {given.shape} and dtype {given.dtype} were given; layer {row.name!r} needs whole numbers of "
            f"shape (n, {len(shape)}), positions in {shape}."
        )
    outside = ((given < 0) | (given >= np.array(shape))).any(axis=1)
    if outside.any():
        first = tuple(int(i) for i in given[outside][0])
        raise InputError(
            f"Unit {first} is outside of layer {row.name!r}, whose units are {shape}. Positions start at 0."
        )
    return given.astype(np.int64)
