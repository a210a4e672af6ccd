"""Regions that hold a share of the map: balls about the true center, and the smallest region of any shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from jaxrf.errors import InputError
from jaxrf.statistics.measures.arrays import Array, is_traced, known, rounding
from jaxrf.statistics.measures.reading import Reading, check_share, read
from jaxrf.statistics.measures.registry import about_center, measures
from jaxrf.statistics.measures.steps import without_derivative
from jaxrf.statistics.measures.uncertainty import Curve, Uncertainty, read_off, uncertainty


@measures.register("energy_radius")
@about_center()
@read_off(instead="energy_within_soft")
def energy_radius(maps: Array, share: float = 0.5, *, center: Array, origin: Array | None = None) -> Curve:
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
    seen = read(maps, center, origin)
    return within(seen, seen.xp.sqrt(_squared_distance(seen, seen.center)), share)


@measures.register("energy_within")
@about_center()
@uncertainty(Uncertainty(scale="log"))
def energy_within(
    maps: Array, radius: float = 20, *, center: Array, origin: Array | None = None
) -> Float[Array, "*lead"]:
    """Share of the map within `radius` input positions of the true center; no unit.

    A position counts when its middle is not farther than the radius.
    A flat map gives the share of its positions, a single pixel 1 or 0, a zero map NaN.
    It has a derivative by the map, and none by the center.

    Raises:
        InputError: a negative radius.

    Example:
        >>> float(energy_within(np.array([0.25, 0.5, 0.25]), 0.5, center=np.array([1.0])))
        0.5

    References:
        OpenERF (Kim et al., 2023) reports this for radii of 5 to 80, about position `n // 2` of the image.
    """
    known(radius=radius)
    if not radius >= 0:
        raise InputError(f"A radius of {radius!r} was asked for. It is a distance in input positions, at least 0.")
    seen = read(maps, center, origin)
    reach = radius**2 + rounding(seen.maps) * max(1.0, radius**2)

    def disk(center: Array) -> Array:
        return _squared_distance(seen, center) <= reach

    inside = without_derivative(disk, "energy_within", "energy_within_soft", of="the center")(seen.center)
    return seen.sum(seen.xp.where(inside, seen.shares, 0.0))


@measures.register("energy_within_soft")
@about_center()
@uncertainty(Uncertainty(scale="log"))
def energy_within_soft(
    maps: Array, radius: float = 20, softness: float = 1, *, center: Array, origin: Array | None = None
) -> Float[Array, "*lead"]:
    """Share of the map within a disk about the true center whose edge is soft; no unit.

    A position at the distance r counts `1 / (1 + exp((r^2 - radius^2) / (2 radius softness)))`: one half at the radius,
    and near it as the logistic function of `(radius - r) / softness`. With little softness it is `energy_within`.
    It has derivatives by the map, the center, the radius and the softness, which may be traced.
    A flat map gives about the share of its positions, a single pixel what it counts, a zero map NaN.

    Raises:
        InputError: a radius or softness that is not positive.

    Example:
        >>> float(energy_within_soft(np.array([0.0, 0.0, 1.0]), 2, center=np.array([0.0])))
        0.5
    """
    for name, value in (("radius", radius), ("softness", softness)):
        if np.ndim(value) or not (is_traced(value) or value > 0):
            raise InputError(f"A {name} of {value!r} was asked for. It is one length in input positions, above 0.")
    seen = read(maps, center, origin, radius, softness)
    beyond = (_squared_distance(seen, seen.center) - radius**2) / (2 * radius * softness)
    return seen.sum(seen.shares * (0.5 - 0.5 * seen.xp.tanh(beyond / 2)))


@measures.register("smallest_area")
@read_off(instead="participation")
def smallest_area(maps: Array, share: float = 0.5, *, center: Array, origin: Array | None = None) -> Curve:
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
    seen = read(maps, center, origin)
    level = seen.xp.cumsum(seen.xp.sort(seen.flat(seen.shares), axis=-1)[..., ::-1], axis=-1)
    return Curve(level, seen.array(np.arange(1, level.shape[-1] + 1)), check_share(share))


def contour_level(maps: Array, share: float, *, center: Array) -> Float[Array, "*lead"]:
    """The value of the maps on the edge of the smallest region that holds `share`: its entries are at least that."""
    seen, size = read(maps, center), smallest_area(maps, share, center=center)
    xp, nothing = seen.xp, seen.xp.isnan(size)
    values = xp.sort(seen.flat(seen.maps), axis=-1)[..., ::-1]
    index = xp.where(nothing, 1, size).astype(int) - 1
    return xp.where(nothing, np.nan, xp.take_along_axis(values, index[..., None], axis=-1)[..., 0])


def within(
    seen: Reading, distance: Array, share: float, scale: Callable[[Array], Array] = lambda value: value
) -> Curve:
    """How much of each map lies within each distance, to be read where that is `share`.

    `distance` broadcasts to the maps; `scale` takes the distance that is read to what is measured.
    """
    xp, far = seen.xp, seen.flat(distance)
    order = xp.argsort(far, axis=-1)
    level = xp.cumsum(xp.take_along_axis(seen.flat(seen.shares), order, axis=-1), axis=-1)
    return Curve(level, xp.take_along_axis(far, order, axis=-1), check_share(share), scale)


def _squared_distance(seen: Reading, center: Array) -> Array:
    """Distances of all positions from the center; broadcast to the maps."""
    return sum(relative * relative for relative in seen.offsets(center))
