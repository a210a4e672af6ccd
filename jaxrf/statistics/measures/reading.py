"""What all measures see of maps: shares of one, where they lie, and which maps have a field at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.statistics.measures.arrays import known, namespace


@dataclass(frozen=True, eq=False)
class Reading:
    """Maps as measures see them.

    Attributes:
        maps: (*lead, *spatial), as they were given: those of NumPy in float64, those of JAX in single precision at least,
            and NaN where a map of JAX has negative entries.
        shares: (*lead, *spatial), divided by their sum; NaN for maps without a field.
        alive: (*lead,), which maps have a field: finite and not zero.
        place: (*lead, d), true centers as input positions.
        first: (*lead, d), input positions of element [0, ..., 0].
    """

    maps: Any
    shares: Any
    alive: Any
    place: Any
    first: Any

    @cached_property
    def xp(self) -> Any:
        """The namespace of the arrays: `numpy` or `jax.numpy`."""
        return namespace(self.maps)

    @property
    def d(self) -> int:
        """Number of spatial axes."""
        return self.place.shape[-1]

    @property
    def lead(self) -> tuple[int, ...]:
        """Shape of the leading axes."""
        return self.maps.shape[: self.maps.ndim - self.d]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the spatial axes."""
        return self.maps.shape[self.maps.ndim - self.d :]

    @property
    def axes(self) -> tuple[int, ...]:
        """The spatial axes, counted from the end."""
        return tuple(range(-self.d, 0))

    @property
    def center(self) -> Any:
        """(*lead, d), true centers in positions of the map."""
        return self.array(self.place - self.first)

    @property
    def middle(self) -> Any:
        """(d,), the middle of the map in its positions, from which measures count that need no true center."""
        return self.array((np.array(self.shape) - 1) / 2)

    def array(self, numbers: Any) -> Any:
        """Numbers in the precision of the maps."""
        return self.xp.asarray(numbers, dtype=self.maps.dtype)

    def sum(self, values: Any) -> Any:
        """The sum over the spatial axes, (*lead,); NaN for maps without a field."""
        return self.xp.where(self.alive, values.sum(self.axes), np.nan)

    def flat(self, values: Any) -> Any:
        """The spatial axes as one, (*lead, position), of what broadcasts to the maps."""
        return self.xp.broadcast_to(values, self.maps.shape).reshape(*self.lead, math.prod(self.shape))

    def offsets(self, about: Any) -> list[Any]:
        """Per spatial axis the positions relative to `about`, (..., d) positions of the map; they broadcast to the maps."""
        return offsets(self.shape, self.array(about))

    def input_shape(self, given: tuple[int, ...] | None) -> tuple[int, ...]:
        """The spatial shape of the input: that of the maps if None.

        Raises:
            InputError: one of another number of axes, or one that is traced.
        """
        if given is None:
            return self.shape
        known(input_shape=given)
        if len(given) != self.d:
            raise InputError(f"input_shape {tuple(given)} does not have the {self.d} spatial axes of the center.")
        return tuple(int(n) for n in given)


def read(maps: Any, center: Any, origin: Any = None, *others: Any) -> Reading:
    """Maps and where they lie, checked.

    Args:
        maps: (*lead, *spatial).
        center: (d,) or (*lead, d), input positions.
        origin: (d,) or (*lead, d), input positions of element [0, ..., 0]; zero if None.
        others: arrays that the measure reads beside them; where one array is of JAX, all are.

    Raises:
        InputError: shapes that do not fit, no positions, or negative entries in maps of NumPy.
    """
    xp = namespace(maps, center, origin, *others)
    maps = xp.asarray(maps)
    maps = maps.astype(np.float64 if xp is np else xp.promote_types(maps.dtype, np.float32), copy=False)
    place = center if namespace(center) is not np else np.asarray(center, np.float64)
    first = np.zeros(place.shape[-1:]) if origin is None else origin
    first = first if namespace(first) is not np else np.asarray(first, np.float64)
    _check_shapes(maps.shape, place.shape, first.shape)
    axes = tuple(range(-place.shape[-1], 0))
    if xp is np:
        _check_signs(maps)
    else:  # whose values need not be known
        maps = xp.where(maps.min(axes, keepdims=True) < 0, np.nan, maps)
    peak = maps.max(axes, keepdims=True)
    here = xp.isfinite(peak) & (peak > 0)
    # Through the peak first: the sum of huge entries could overflow, and the squares of tiny ones vanish.
    scaled = xp.where(here, maps, np.nan) / xp.where(here, peak, 1.0)
    lead = maps.shape[: maps.ndim - len(axes)]
    wide = [namespace(a).broadcast_to(a, (*lead, len(axes))) for a in (place, first)]
    return Reading(maps, scaled / scaled.sum(axes, keepdims=True), here.reshape(lead), *wide)


def _check_signs(maps: np.ndarray) -> None:
    if (maps < 0).any():
        raise InputError(
            f"The maps go down to {np.nanmin(maps):.3g}, but measures need maps that are not negative. "
            "Use the score 'square', 'abs' or 'relu', or measure the positive part."
        )


def _check_shapes(maps: tuple[int, ...], center: tuple[int, ...], origin: tuple[int, ...]) -> None:
    if not center or not center[-1] or len(maps) < center[-1]:
        raise InputError(
            f"Maps of shape {maps} do not fit a center of shape {center}. "
            "The center needs one number per spatial axis, and the maps end in the spatial axes."
        )
    d = center[-1]
    lead = maps[: len(maps) - d]
    if 0 in maps[len(maps) - d :]:
        raise InputError(f"Maps of shape {maps} have no positions. Every spatial axis needs at least one.")
    for name, shape in (("center", center), ("origin", origin)):
        fits = len(shape) <= len(lead) + 1 and all(n in (1, m) for n, m in zip(shape[-2::-1], lead[::-1], strict=False))
        if not shape or shape[-1] != d or not fits:
            raise InputError(
                f"Maps of shape {maps} with {d} spatial axes do not fit {name} of shape {shape}. It is ({d},), or has the "
                f"leading axes of the maps: {(*lead, d)}."
            )


def offsets(shape: tuple[int, ...], about: Any) -> list[Any]:
    """Per spatial axis the positions of an array of `shape` relative to `about` (*lead, d); broadcast to (*lead, *shape)."""
    xp, d = namespace(about), len(shape)
    result = []
    for axis, n in enumerate(shape):
        relative = xp.arange(n, dtype=about.dtype) - about[..., axis, None]
        result.append(relative.reshape(about.shape[:-1] + tuple(n if a == axis else 1 for a in range(d))))
    return result


def check_share(share: float) -> float:
    """`share` itself, where it is in (0, 1]."""
    known(share=share)
    if not isinstance(share, Real) or not 0 < share <= 1:
        raise InputError(f"A share of {share!r} was asked for. Shares are fractions in (0, 1], such as 0.5.")
    return share
