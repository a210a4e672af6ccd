"""The registry of measures on ERF maps, and the reading of maps that all of them share.

A measure has the signature `f(maps, *, center, ...)` and works on any leading axes at once:

- `maps` is (*lead, *spatial), not negative; one, two or three spatial axes.
- `center` is (d,) or (*lead, d): the true center of each unit, in positions of its map. It may be a half.
  A measure whose numbers depend on it is marked by `about_center`: it is refused where a unit has no center.
- A measure that names `origin`, `input_shape` or `box` as an argument gets them from the result:
  the input position of element [0, ..., 0] of each map, (d,) or (*lead, d);
  the spatial shape of the input, (d,);
  the theoretical box in positions of the map, (d, 2) or (*lead, d, 2).

Lengths are in input positions.
A map that is zero everywhere, or holds a NaN or an infinity, has no field: every number measured on it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxrf.errors import InputError
from jaxrf.registry import Registry

measures: Registry[Callable[..., Any]] = Registry("measure")


def about_center(**only: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a measure that is about the true center, with `only` where options have these values.

    Others take from the center the number of axes alone.
    """

    def mark(measure: Callable[..., Any]) -> Callable[..., Any]:
        measure.about_center = only  # type: ignore[attr-defined]
        return measure

    return mark


def is_about_center(name: str, options: Mapping[str, Any]) -> bool:
    """Whether the measure of that name, with these options, is about the true center of the unit."""
    only = getattr(measures[name], "about_center", None)
    return only is not None and all(options.get(option) == value for option, value in only.items())


def read(maps: np.ndarray, center: np.ndarray) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """The maps divided by their sum, (*lead, *spatial), and the centers, (*lead, d), in float64.

    Maps without a field (zero or not finite) come back as NaN.

    Raises:
        InputError: too few axes for the center, no positions, or negative entries.
    """
    maps, center = np.asarray(maps, np.float64), np.asarray(center, np.float64)
    if center.ndim == 0 or maps.ndim < center.shape[-1] or center.shape[-1] == 0:
        raise InputError(
            f"Maps of shape {maps.shape} do not fit a center of shape {center.shape}. "
            "The center needs one number per spatial axis, and the maps end in the spatial axes."
        )
    d = center.shape[-1]
    lead = maps.shape[: maps.ndim - d]
    if 0 in maps.shape[maps.ndim - d :]:
        raise InputError(f"Maps of shape {maps.shape} have no positions. Every spatial axis needs at least one.")
    if (maps < 0).any():
        raise InputError(
            f"The maps go down to {np.nanmin(maps):.3g}, but measures need maps that are not negative. "
            "Use the score 'square', 'abs' or 'relu', or measure the positive part."
        )
    spatial = spatial_axes(d)
    peak = maps.max(spatial, keepdims=True)
    alive = np.isfinite(peak) & (peak > 0)
    # Through the peak first: the sum of huge entries could overflow, and the squares of tiny ones vanish.
    scaled = np.where(alive, maps, np.nan) / np.where(alive, peak, 1.0)
    return scaled / scaled.sum(spatial, keepdims=True), np.broadcast_to(center, (*lead, d))


def spatial_axes(d: int) -> tuple[int, ...]:
    """The last `d` axes."""
    return tuple(range(-d, 0))


def offsets(shape: tuple[int, ...], center: np.ndarray) -> list[np.ndarray]:
    """Per spatial axis, the positions relative to the center: arrays that broadcast to (*lead, *shape)."""
    d = len(shape)
    result = []
    for axis, n in enumerate(shape):
        relative = np.arange(n) - center[..., axis, None]
        result.append(relative.reshape(center.shape[:-1] + tuple(n if a == axis else 1 for a in range(d))))
    return result


def spatial_shape(maps: np.ndarray, center: np.ndarray) -> tuple[int, ...]:
    """The shape of the spatial axes of `maps`."""
    return maps.shape[maps.ndim - center.shape[-1] :]


def flatten(maps: np.ndarray, d: int) -> np.ndarray:
    """The `d` spatial axes as one, (*lead, position)."""
    return maps.reshape(*maps.shape[: maps.ndim - d], -1)


def check_share(share: float) -> float:
    """`share` itself, where it is in (0, 1]."""
    if not 0 < share <= 1:
        raise InputError(f"A share of {share!r} was asked for. Shares are fractions in (0, 1], such as 0.5.")
    return share
