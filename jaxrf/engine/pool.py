"""Maps of many units averaged in unit-centered coordinates, inside the compiled program."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@dataclass(frozen=True, eq=False)
class Pool:
    """A frame around the unit's center, into which every map is laid.

    Attributes:
        shape: of the frame.
        shifts: (unit, axis), where element 0 of a unit's map lies in the frame.
        middle: (axis,), where the unit's center (rounded down) lies in the frame.
    """

    shape: tuple[int, ...]
    shifts: np.ndarray
    middle: np.ndarray

    def add(self, maps: jax.Array, shifts: jax.Array, weights: jax.Array) -> jax.Array:
        """Weighted sums of maps (unit, *map) in the frame: (group, *shape), by weights (unit, group)."""
        config = [(0, 0, 0)]
        begins = []
        for axis, size in enumerate(self.shape):
            high = int(self.shifts[:, axis].max())
            low = int(self.shifts[:, axis].min())
            config.append((high, max(0, size - low - maps.shape[1 + axis]), 0))
            begins.append(high - shifts[:, axis])
        wide = lax.pad(maps, jnp.zeros((), maps.dtype), config)
        framed = jax.vmap(lambda m, b: lax.dynamic_slice(m, b, self.shape))(wide, jnp.stack(begins, axis=1))
        return jnp.tensordot(weights.T, framed, 1, precision=lax.Precision.HIGHEST)


def make_pool(origins: np.ndarray, centers: np.ndarray, map_shape: tuple[int, ...]) -> Pool:
    """The smallest frame that holds the maps of all units about their centers.

    Args:
        origins: (unit, axis), position of element 0 of each map.
        centers: (unit, axis), centers of the units; halves are rounded down, so that all are moved alike.
            NaN for units without a field, whose maps of zeros may lie anywhere.
        map_shape: of one map.
    """
    known = np.isfinite(centers)
    starts = origins - np.floor(np.where(known, centers, 0)).astype(np.int64)
    starts = np.where(known, starts, starts.max(axis=0, where=known, initial=np.iinfo(np.int64).min))
    starts = np.where(known.any(axis=0), starts, 0)
    lowest, highest = starts.min(axis=0), (starts + np.array(map_shape)).max(axis=0)
    return Pool(tuple(int(n) for n in highest - lowest), starts - lowest, -lowest)
