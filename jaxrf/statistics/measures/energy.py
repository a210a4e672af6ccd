"""Regions that hold a share of the map: balls about the true center, and the smallest region of any shape."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxrf.errors import InputError
from jaxrf.statistics.measures.registry import (
    check_share,
    flatten,
    measures,
    offsets,
    read,
    spatial_axes,
    spatial_shape,
    step_function,
)

ROUNDING = 1e-12
"""Of the sum of a map: how closely a share is met."""


@measures.register("energy_radius")
@step_function
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
    shares, center = read(maps, center)
    relative = offsets(spatial_shape(shares, center), center)
    distance = np.sqrt(sum(np.square(r) for r in relative))
    return reach(shares, distance, check_share(share), center.shape[-1])


@measures.register("energy_within")
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


@measures.register("smallest_area")
@step_function
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
    flat = _descending(maps, center)
    reached = np.cumsum(flat, axis=-1) >= check_share(share) - ROUNDING
    return np.where(np.isnan(flat[..., 0]), np.nan, np.argmax(reached, axis=-1) + 1.0)


def contour_level(maps: np.ndarray, share: float, *, center: np.ndarray) -> Float[np.ndarray, "*lead"]:
    """The value of the maps on the edge of the smallest region that holds `share`: its entries are at least that."""
    size = smallest_area(maps, share, center=center)
    values = np.sort(flatten(np.asarray(maps, np.float64), np.shape(center)[-1]), axis=-1)[..., ::-1]
    index = np.where(np.isnan(size), 1, size).astype(int) - 1
    return np.where(np.isnan(size), np.nan, np.take_along_axis(values, index[..., None], -1)[..., 0])


def reach(shares: np.ndarray, distance: np.ndarray, share: float, d: int) -> Float[np.ndarray, "*lead"]:
    """Smallest distance within which `share` of each map lies.

    `shares` are maps that sum to one, (*lead, *spatial), as `read` returns them; `distance` broadcasts to them.
    """
    flat = flatten(shares, d)
    far = flatten(np.broadcast_to(distance, shares.shape), d)
    order = np.argsort(far, axis=-1)
    inside = np.cumsum(np.take_along_axis(flat, order, -1), axis=-1)
    last = np.take_along_axis(order, np.argmax(inside >= share - ROUNDING, axis=-1)[..., None], -1)
    return np.where(np.isnan(flat[..., 0]), np.nan, np.take_along_axis(far, last, -1)[..., 0])


def _descending(maps: np.ndarray, center: np.ndarray) -> np.ndarray:
    shares, center = read(maps, center)
    return np.sort(flatten(shares, center.shape[-1]), axis=-1)[..., ::-1]
