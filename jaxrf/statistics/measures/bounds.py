"""The map against what bounds it: the theoretical box, and the border of the input."""

from __future__ import annotations

import functools
import operator

import numpy as np
from jaxtyping import Float

from jaxrf.errors import InputError
from jaxrf.statistics.measures.arrays import Array, known, quotient
from jaxrf.statistics.measures.luo import COUNTS_NOISE, THRESHOLD
from jaxrf.statistics.measures.reading import offsets, read
from jaxrf.statistics.measures.registry import measures
from jaxrf.statistics.measures.steps import in_steps, without_derivative
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty


@measures.register("coverage")
@uncertainty(COUNTS_NOISE)
@in_steps(instead="participation")
def coverage(
    maps: Array, threshold: float = THRESHOLD, *, center: Array, box: Array, origin: Array | None = None
) -> Float[Array, "*lead"]:
    """Share of the positions of the theoretical box whose entry is above `threshold` times the peak; no unit.

    The default threshold is Luo's 4.55 %; with 0 it tells how much of the box is reached at all.
    Positions of the box outside the map count as not reached.
    A flat map over the box gives 1, a single pixel one over the positions of the box;
    a zero map and an empty box give NaN.

    Raises:
        InputError: `threshold` is outside [0, 1).

    Example:
        >>> float(coverage(np.array([0.0, 1.0, 2.0, 0.0]), center=np.array([1.5]), box=np.array([[0, 4]])))
        0.5
    """
    known(threshold=threshold)
    if not 0 <= threshold < 1:
        raise InputError(f"A threshold of {threshold!r} was asked for. It is a fraction of the peak, in [0, 1).")
    seen = read(maps, center, origin, box)
    box = seen.xp.broadcast_to(seen.xp.asarray(box), (*seen.lead, seen.d, 2))
    area = seen.xp.prod(box[..., 1] - box[..., 0], axis=-1)
    peak = seen.shares.max(seen.axes, keepdims=True)
    inside = _inside(seen.shape, seen.array(box - seen.first[..., None]))
    reached = (inside & (seen.shares > threshold * peak)).sum(seen.axes)
    return quotient(seen.array(reached), seen.array(area), seen.alive & (area > 0), np.nan)


@measures.register("border_power")
@uncertainty(Uncertainty(scale="log"))
def border_power(
    maps: Array,
    width: int = 1,
    *,
    center: Array,
    origin: Array | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Float[Array, "*lead"]:
    """Share of the map within `width` positions of the border of the input; no unit.

    What is near 0 says that the border does not cut the field; a flat map gives the share of the border's positions.
    A single pixel gives 1 on the border and 0 inside, a zero map NaN.

    Raises:
        InputError: `width` is not positive.

    Example:
        >>> float(border_power(np.array([1.0, 2.0, 1.0]), center=np.array([1.0])))
        0.5
    """
    known(width=width)
    if width < 1:
        raise InputError(f"A border of {width!r} positions was asked for. Use a width of at least 1.")
    seen = read(maps, center, origin)
    extent = np.array(seen.input_shape(input_shape))

    def interior(first: Array) -> Array:
        return _inside(seen.shape, seen.xp.stack([width - first, extent - width - first], axis=-1))

    inside = without_derivative(interior, "border_power", "center_offset", of="the origin")(seen.array(seen.first))
    return seen.sum(seen.xp.where(inside, 0.0, seen.shares))


def _inside(shape: tuple[int, ...], box: Array) -> Array:
    """Which positions lie in the half-open boxes (*lead, d, 2); broadcasts to (*lead, *shape)."""
    low, high = offsets(shape, box[..., 0]), offsets(shape, box[..., 1])
    return functools.reduce(operator.and_, [(a >= 0) & (b < 0) for a, b in zip(low, high, strict=True)])
