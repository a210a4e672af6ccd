"""Regions that hold a share of the map: balls about the true center, and the smallest region of any shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from jaxrf.errors import InputError
from jaxrf.statistics.measures.registry import (
    about_center,
    check_share,
    flatten,
    measures,
    offsets,
    read,
    spatial_axes,
    spatial_shape,
)
from jaxrf.statistics.measures.uncertainty import ROUNDING, Curve, Uncertainty, uncertainty


def _disks(maps: np.ndarray, share: float = 0.5, *, center: np.ndarray) -> Curve:
    """The share within each distance of the center."""
    shares, center = read(maps, center)
    relative = offsets(spatial_shape(shares, center), center)
    return within(shares, np.sqrt(sum(np.square(r) for r in relative)), share, center.shape[-1])


@measures.register("energy_radius")
@about_center()
@uncertainty(Uncertainty(curve=_disks))
def energy_radius(maps: np.ndarray, share: float = 0.5, *, center: np.ndarray) -> Float[np.ndarray, "*lead"]:
    """Radius of the smallest disk about the true center that holds `share` of the map, in input positions.

    A position belongs to the disk (a ball with three axes) when its middle does.
    A round Gaussian in two dimensions has `sigma * sqrt(2 ln(1 / (1 - share)))`, 1.18 sigma for a half.
    A single pixel gives its distance from the center, a flat map about what the area says, a zero map NaN.

    Raises:
        InputError: `share` is outside (0, 1].

    Example:
        >>> float(energy_radius(np.array([0.25, 0.5, 0.25]), 0.9, center=np.array([1.0])))
        1.0
    """
    return _disks(maps, share, center=center).read()


@measures.register("energy_within")
@about_center()
@uncertainty(Uncertainty(scale="log"))
def energy_within(maps: np.ndarray, radius: float = 20, *, center: np.ndarray) -> Float[np.ndarray, "*lead"]:
    """Share of the map within `radius` input positions of the true center; no unit.

    A position counts when its middle is not farther than the radius.
    A flat map gives the share of its positions, a single pixel 1 or 0, a zero map NaN.

    Raises:
        InputError: a negative radius.

    Example:
        >>> float(energy_within(np.array([0.25, 0.5, 0.25]), 0.5, center=np.array([1.0])))
        0.5

    References:
        OpenERF (Kim et al., 2023) reports this for radii of 5 to 80, about position `n // 2` of the image.
    """
    if not radius >= 0:
        raise InputError(f"A radius of {radius!r} was asked for. It is a distance in input positions, at least 0.")
    shares, center = read(maps, center)
    relative = offsets(spatial_shape(shares, center), center)
    inside = sum(np.square(r) for r in relative) <= radius**2 + ROUNDING
    axes = spatial_axes(center.shape[-1])
    return np.where(inside, shares, 0.0).sum(axes) + 0 * shares.sum(axes)


def _regions(maps: np.ndarray, share: float = 0.5, *, center: np.ndarray) -> Curve:
    """The share in each number of largest entries."""
    shares, center = read(maps, center)
    level = np.cumsum(np.sort(flatten(shares, center.shape[-1]), axis=-1)[..., ::-1], axis=-1)
    return Curve(level, np.arange(1.0, level.shape[-1] + 1), check_share(share))


@measures.register("smallest_area")
@uncertainty(Uncertainty(curve=_regions))
def smallest_area(maps: np.ndarray, share: float = 0.5, *, center: np.ndarray) -> Float[np.ndarray, "*lead"]:
    """Number of positions in the smallest region of any shape that holds `share` of the map.

    The region is made of the largest entries: the highest-density region of statistics.
    A single pixel gives 1, a flat map the next number above `share` of its positions, a zero map NaN.

    Raises:
        InputError: `share` is outside (0, 1].

    Example:
        >>> float(smallest_area(np.array([0.1, 0.7, 0.2]), 0.8, center=np.array([1.0])))
        2.0

    References:
        Hyndman (1996), Computing and Graphing Highest Density Regions.
    """
    return _regions(maps, share, center=center).read()


def contour_level(maps: np.ndarray, share: float, *, center: np.ndarray) -> Float[np.ndarray, "*lead"]:
    """The value of the maps on the edge of the smallest region that holds `share`: its entries are at least that."""
    size = smallest_area(maps, share, center=center)
    values = np.sort(flatten(np.asarray(maps, np.float64), np.shape(center)[-1]), axis=-1)[..., ::-1]
    index = np.where(np.isnan(size), 1, size).astype(int) - 1
    return np.where(np.isnan(size), np.nan, np.take_along_axis(values, index[..., None], -1)[..., 0])


def within(
    shares: np.ndarray,
    distance: np.ndarray,
    share: float,
    d: int,
    scale: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> Curve:
    """How much of each map lies within each distance, to be read where that is `share`.

    `shares` are maps that sum to one, (*lead, *spatial), as `read` returns them; `distance` broadcasts to them.
    `scale` takes the distance that is read to what is measured.
    """
    far = flatten(np.broadcast_to(distance, shares.shape), d)
    order = np.argsort(far, axis=-1)
    level = np.cumsum(np.take_along_axis(flatten(shares, d), order, -1), axis=-1)
    return Curve(level, np.take_along_axis(far, order, -1), check_share(share), scale)
