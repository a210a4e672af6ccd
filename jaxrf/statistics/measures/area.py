"""Area ratios: how much of the input a centered square must cover to hold a share of the map."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from jaxrf.statistics.measures.energy import within
from jaxrf.statistics.measures.registry import (
    about_center,
    check_share,
    flatten,
    measures,
    offsets,
    read,
    spatial_shape,
)
from jaxrf.statistics.measures.uncertainty import ROUNDING, Curve, Uncertainty, uncertainty


def _squares(
    maps: np.ndarray,
    share: float = 0.5,
    *,
    center: np.ndarray,
    origin: np.ndarray | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Curve:
    """The share in each square about the center, read as the area of its part inside the input."""
    shares, center = read(maps, center)
    shape = spatial_shape(shares, center)
    distance = np.max(np.broadcast_arrays(*[np.abs(r) for r in offsets(shape, center)]), axis=0)
    extent = np.asarray(shape if input_shape is None else input_shape)
    middle = center if origin is None else center + np.asarray(origin)

    def area(radius: np.ndarray) -> np.ndarray:
        first = np.maximum(np.ceil(middle - radius[..., None] - 1e-9), 0)
        last = np.minimum(np.floor(middle + radius[..., None] + 1e-9), extent - 1)
        return np.prod((last - first + 1) / extent, axis=-1)

    return within(shares, distance, share, center.shape[-1], area)


@measures.register("area_ratio")
@about_center()
@uncertainty(Uncertainty(curve=_squares))
def area_ratio(
    maps: np.ndarray,
    share: float = 0.5,
    *,
    center: np.ndarray,
    origin: np.ndarray | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Float[np.ndarray, "*lead"]:
    """Share of the input area in the smallest centered square that holds `share` of the map; no unit.

    The square (an interval with one axis, a cube with three) is centered on the true center of the unit.
    It holds a position when it covers it fully, and only its part inside the input counts as area.
    Shares are met up to 1e-12 of the sum, its rounding.

    A single pixel at the center gives `1 / positions`, a flat map about `share`, a zero map NaN.

    Args:
        maps: (*lead, *spatial), windows of the input.
        share: of the sum of the map, in (0, 1].
        center: true centers, in positions of the map.
        origin: input position of element [0, ..., 0] of the maps; by default the input's own.
        input_shape: spatial shape of the input; by default the shape of the maps.

    Raises:
        InputError: `share` is outside (0, 1].

    Example:
        >>> float(area_ratio(np.ones(9), 0.5, center=np.array([4.0])))  # five of nine positions
        0.5555555555555556

    References:
        Ding et al. (2022), Scaling Up Your Kernels to 31x31 (RepLKNet), the high-contribution area ratio.
        They take squares about the middle of the image on `log10(map + 1)`, which depends on the scale of gradients;
        ours works on the map itself.
    """
    return _squares(maps, share, center=center, origin=origin, input_shape=input_shape).read()


def _odd_squares(
    maps: np.ndarray,
    share: float = 0.5,
    *,
    center: np.ndarray,
    origin: np.ndarray | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Curve:
    """The share of `log10(map + 1)` in each square of an odd side from 3 on about the middle of the input."""
    shares, center = read(maps, center)
    d, lead = center.shape[-1], center.shape[:-1]
    shape = spatial_shape(shares, center)
    extent = shape if input_shape is None else tuple(input_shape)
    logarithms = np.log10(np.asarray(maps, np.float64) + 1)
    first = np.broadcast_to(np.zeros(d) if origin is None else np.asarray(origin), center.shape)
    # Distance from the middle in whole positions, the largest over the axes: a square is what lies within one.
    distance = [np.abs(r) for r in offsets(shape, np.array([n // 2 for n in extent]) - first)]
    square = np.max(np.broadcast_arrays(*distance), axis=0).astype(int)
    largest = max(min(extent) // 2 - 1, 0)
    flat = flatten(logarithms, d).reshape(-1, math.prod(shape))
    rings = np.minimum(flatten(np.broadcast_to(square, logarithms.shape), d).reshape(flat.shape), largest + 1)
    sums = np.array([np.bincount(r, weights=row, minlength=largest + 2) for r, row in zip(rings, flat, strict=True)])
    inside = np.cumsum(sums, axis=-1)
    alive = np.isfinite(inside[:, -1:]) & (inside[:, -1:] > 0)
    level = np.divide(
        inside[:, 1 : largest + 1], inside[:, -1:], out=np.full((len(flat), largest), np.nan), where=alive
    )
    area = (2 * np.arange(largest) + 3.0) ** d / math.prod(extent)
    return Curve(level.reshape(*lead, largest), area, check_share(share) + 2 * ROUNDING)  # it is to be exceeded


@measures.register("area_ratio_replknet2022")
@uncertainty(Uncertainty(curve=_odd_squares))
def area_ratio_replknet(
    maps: np.ndarray,
    share: float = 0.5,
    *,
    center: np.ndarray,
    origin: np.ndarray | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Float[np.ndarray, "*lead"]:
    """RepLKNet's high-contribution area ratio: on `log10(map + 1)`, about the middle of the image; no unit.

    Squares have the odd sides 3, 5, 7, ... about position `n // 2` of each axis of the input; the first whose sum
    exceeds `share` of the whole counts, as `(side / n)^2`; NaN where none does, as with `share` 1.
    The maps are the sums of `relu(gradient)` over channels and images of the protocol: another scale, another number.
    `center` gives the number of axes only. On a grid with unequal sides the area is over the product of the sides.

    A single pixel in the middle gives `9 / positions`, a flat map the first odd square above `share`, a zero map NaN.

    Args:
        maps: (*lead, *spatial), windows of the input; outside of them the map is zero.
        share: of the sum of `log10(map + 1)`, in (0, 1].
        center: true centers, in positions of the map.
        origin: input position of element [0, ..., 0] of the maps; by default the input's own.
        input_shape: spatial shape of the input; by default the shape of the maps.

    References:
        Ding et al. (2022), Scaling Up Your Kernels to 31x31, and the authors' erf/analyze_erf.py,
        which also stops before the square that would touch the far side: so does this.
    """
    return _odd_squares(maps, share, center=center, origin=origin, input_shape=input_shape).read()
