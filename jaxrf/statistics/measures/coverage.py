"""The map against what bounds it: the theoretical box, and the border of the input."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxrf.errors import InputError
from jaxrf.statistics.measures.luo import COUNTS_NOISE, THRESHOLD
from jaxrf.statistics.measures.registry import measures, offsets, read, spatial_axes, spatial_shape
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty


@measures.register("coverage")
@uncertainty(COUNTS_NOISE)
def coverage(
    maps: np.ndarray, threshold: float = THRESHOLD, *, center: np.ndarray, box: np.ndarray
) -> Float[np.ndarray, "*lead"]:
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
    if not 0 <= threshold < 1:
        raise InputError(f"A threshold of {threshold!r} was asked for. It is a fraction of the peak, in [0, 1).")
    shares, center = read(maps, center)
    axes = spatial_axes(center.shape[-1])
    box = np.broadcast_to(box, (*center.shape, 2))
    area = np.prod(box[..., 1] - box[..., 0], axis=-1)
    inside = _inside(spatial_shape(shares, center), box)
    peak = shares.max(axes, keepdims=True)
    reached = (inside & (shares > threshold * peak)).sum(axes)
    alive = np.isfinite(peak.reshape(reached.shape)) & (area > 0)
    return np.where(alive, reached / np.where(alive, area, 1), np.nan)


@measures.register("border_power")
@uncertainty(Uncertainty(scale="log"))
def border_power(
    maps: np.ndarray,
    width: int = 1,
    *,
    center: np.ndarray,
    origin: np.ndarray | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Float[np.ndarray, "*lead"]:
    """Share of the map within `width` positions of the border of the input; no unit.

    What is near 0 says that the border does not cut the field; a flat map gives the share of the border's positions.
    A single pixel gives 1 on the border and 0 inside, a zero map NaN.

    Raises:
        InputError: `width` is not positive.

    Example:
        >>> float(border_power(np.array([1.0, 2.0, 1.0]), center=np.array([1.0])))
        0.5
    """
    if width < 1:
        raise InputError(f"A border of {width!r} positions was asked for. Use a width of at least 1.")
    shares, center = read(maps, center)
    shape = spatial_shape(shares, center)
    extent = np.asarray(shape if input_shape is None else input_shape)
    first = np.zeros_like(center) if origin is None else np.broadcast_to(origin, center.shape)
    interior = np.stack([width - first, extent - width - first], axis=-1)
    axes = spatial_axes(center.shape[-1])
    return np.where(_inside(shape, interior), 0.0, shares).sum(axes) + 0 * shares.sum(axes)


def _inside(shape: tuple[int, ...], box: np.ndarray) -> np.ndarray:
    """Which positions lie in the half-open boxes (*lead, d, 2); broadcasts to (*lead, *shape)."""
    low, high = offsets(shape, box[..., 0]), offsets(shape, box[..., 1])
    result = np.asarray(True)
    for above, below in zip(low, high, strict=True):
        result = result & (above >= 0) & (below < 0)
    return result
