"""How strong a map is: its sum and its largest entry, in the unit of the map."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxrf.statistics.measures.arrays import Array
from jaxrf.statistics.measures.reading import read
from jaxrf.statistics.measures.registry import measures
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty


@measures.register("total")
@uncertainty(Uncertainty(scale="log"))
def total(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "*lead"]:
    """Sum of the map, in the unit of the map: with the square score the squared norm of the gradient.

    A flat map gives its value times its positions, a single pixel its value, a zero map NaN.

    Example:
        >>> float(total(np.array([1.0, 2.0]), center=np.array([0.5])))
        3.0
    """
    seen = read(maps, center, origin)
    return seen.sum(seen.maps)


@measures.register("peak")
@uncertainty(Uncertainty(missing="the largest entry of a noisy map lies above the true peak, and beside it."))
def peak(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "*lead"]:
    """Largest entry of the map, in the unit of the map; that of a noisy map is biased upward.

    A flat map and a single pixel give their value, a zero map NaN.

    Example:
        >>> float(peak(np.array([1.0, 2.0]), center=np.array([0.5])))
        2.0
    """
    seen = read(maps, center, origin)
    return seen.xp.where(seen.alive, seen.maps.max(seen.axes), np.nan)
