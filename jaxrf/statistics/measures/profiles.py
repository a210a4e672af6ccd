"""Maps as curves: along an axis, over the distance from the center, and the width at half of the maximum.

The curves keep the map's own scale, so a zero map has a zero curve.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxrf.errors import InputError, unknown
from jaxrf.statistics.measures.arrays import Array, binned, is_traced, known, namespace, quotient
from jaxrf.statistics.measures.reading import offsets, read
from jaxrf.statistics.measures.registry import about_center, measures
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty


class Radial(NamedTuple):
    """Mean of the map over rings about the true center.

    `radius` (ring,) in input positions, or in units of `spacing`; `mean` (*lead, ring), NaN where a ring holds no position;
    `positions` (*lead, ring), how many it averages.
    """

    radius: Array
    mean: Array
    positions: Array

    def __repr__(self) -> str:
        return f"Radial({len(self.radius)} rings, mean of shape {self.mean.shape})"


class Axial(NamedTuple):
    """Profiles along one axis: `offset` (*lead, n) from the true center in input positions, `value` (*lead, n)."""

    offset: Array
    value: Array

    def __repr__(self) -> str:
        return f"Axial(value of shape {self.value.shape})"


METRICS = {
    "euclidean": lambda steps: functools.reduce(lambda a, b: a + b, [step * step for step in steps]),
    "chebyshev": lambda steps: functools.reduce(namespace(*steps).maximum, [step * step for step in steps]),
}
"""Squared distances from steps along the axes."""


@measures.register("radial")
@about_center()
@uncertainty(mean=Uncertainty(scale="log"))
def radial(
    maps: Array,
    rings: int | None = None,
    metric: str = "euclidean",
    spacing: float | tuple[float, ...] = 1.0,
    *,
    center: Array,
    origin: Array | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Radial:
    """Mean of the map over rings one position wide about the true center.

    Ring k holds the positions of the input at a distance in [k - 1/2, k + 1/2), inside the window of the map or not.
    A flat map gives its value, a single pixel 1 over the positions of its ring, a zero map zeros.

    Args:
        maps: (*lead, *spatial), windows of the input.
        rings: how many; as many as the farthest window reaches if None.
        metric: "euclidean", or "chebyshev", whose rings are squares.
        spacing: what counts as a distance of one, in input positions, per axis or for all: the patch of a token.
        center: true centers, input positions.
        origin: input position of element [0, ..., 0] of the maps; by default the input's own.
        input_shape: spatial shape of the input; by default the shape of the maps.

    Raises:
        InputError: the place of the unit is traced, and no number of rings was given; a spacing not above zero.
        UnknownNameError: another metric.

    Example:
        >>> radial(np.array([[1.0, 2.0, 1.0]]), center=np.array([0.0, 1.0])).mean.tolist()
        [2.0, 1.0]
    """
    seen = read(maps, center, origin)
    if rings is None and is_traced(seen.place, seen.first):
        raise InputError(
            "radial does not know how far its rings go, as center or origin came as a traced array. Say how many there "
            "are, as in rings=20, or close over center and origin."
        )
    distance = _Distance.of(metric, spacing, seen.d)
    in_map, extent = seen.place - seen.first, seen.input_shape(input_shape)
    n = distance.reach(seen.shape, in_map) if rings is None else rings
    sums = binned(lambda center: distance.rings(seen.shape, center), in_map, seen.flat(seen.maps), n)
    ones = np.broadcast_to(1.0, (*seen.lead, math.prod(extent)))
    positions = binned(lambda center: distance.rings(extent, center), seen.place, ones, n)
    return Radial(np.arange(n, dtype=float), quotient(sums, seen.array(positions), positions > 0, np.nan), positions)


@dataclass(frozen=True)
class _Distance:
    """How far positions are from a center: a name of `METRICS`, and what counts as one along each axis."""

    metric: str
    spacing: tuple[float, ...]

    @classmethod
    def of(cls, metric: str, spacing: float | tuple[float, ...], d: int) -> _Distance:
        known(metric=metric, spacing=spacing)
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        each = tuple(spacing) if isinstance(spacing, tuple | list) else (spacing,) * d
        if len(each) != d or not all(one > 0 for one in each):
            raise InputError(f"spacing={spacing!r} is not a number above zero for each of the {d} axes.")
        return cls(metric, tuple(map(float, each)))

    def reach(self, shape: tuple[int, ...], center: Array) -> int:
        """How many rings about the centers (*lead, d) hold positions of maps of `shape`."""
        farthest = np.maximum(np.abs(center), np.abs(np.array(shape) - 1 - center)) / np.array(self.spacing)
        return 1 + int(np.floor(np.sqrt(METRICS[self.metric](list(np.moveaxis(farthest, -1, 0)))) + 0.5).max())

    def rings(self, shape: tuple[int, ...], center: Array) -> Array:
        """The ring of every position of an array of `shape` about centers (..., d), flat, (..., position)."""
        xp = namespace(center)
        steps = [r / one for r, one in zip(offsets(shape, center), self.spacing)]
        squares = METRICS[self.metric](steps)
        return xp.floor(xp.sqrt(squares) + 0.5).astype(int).reshape(*center.shape[:-1], math.prod(shape))


@measures.register("axial")
@about_center()
@uncertainty(value=Uncertainty(scale="log"))
def axial(maps: Array, axis: int = -1, kind: str = "slice", *, center: Array, origin: Array | None = None) -> Axial:
    """The map along one spatial axis, against the offset from the true center.

    Args:
        maps: (*lead, *spatial).
        axis: which spatial axis, counted as in the map: -1 is the last.
        kind: "slice" goes through the true center, interpolating linearly where that is between positions,
            "marginal" sums over the other axes.
        center: true centers, input positions.
        origin: input position of element [0, ..., 0] of the maps; by default the input's own.

    Raises:
        UnknownNameError: `kind` is neither.

    Example:
        >>> axial(np.array([[1.0, 3.0], [2.0, 5.0]]), kind="marginal", center=np.array([0.5, 0.0])).value.tolist()
        [3.0, 8.0]
    """
    if kind not in ("slice", "marginal"):
        raise unknown("kind of profile", kind, ("slice", "marginal"))
    known(axis=axis)
    seen = read(maps, center, origin)
    axis, values = range(seen.d)[axis], seen.maps
    relative = seen.offsets(seen.center)
    others = tuple(a for a in range(seen.d) if a != axis)
    if kind == "slice":
        # A hat of half width one about the center picks its position, or mixes its two neighbors.
        for other in others:
            values = values * seen.xp.clip(1 - seen.xp.abs(relative[other]), 0, 1)
    offset = relative[axis].reshape(*seen.lead, seen.shape[axis])
    return Axial(offset, values.sum(tuple(a - seen.d for a in others)))


@measures.register("size_half_width")
@about_center(kind="slice")
@uncertainty(Uncertainty(scale="log"))
def size_half_width(
    maps: Array, kind: str = "marginal", *, center: Array, origin: Array | None = None
) -> Float[Array, "..."]:
    """Full width at half maximum of the profile along each axis, (*lead, d), in input positions.

    From the peak of the profile outward to the first crossing of its half on each side, interpolated linearly;
    beyond the map it is zero. A Gaussian has 2.355 sigma.
    The default profile sums over the other axes, which averages speckle out;
    `kind="slice"` goes through the true center only, and is NaN where the map is zero there.
    A flat axis of n positions gives n, a single pixel 1, a zero map NaN.

    Raises:
        UnknownNameError: `kind` is neither "slice" nor "marginal".

    Example:
        >>> size_half_width(np.array([0.0, 1.0, 2.0, 1.0, 0.0]), center=np.array([2.0])).tolist()
        [2.0]
    """
    xp = namespace(maps, center, origin)
    profiles = [axial(maps, axis, kind, center=center, origin=origin).value for axis in range(np.shape(center)[-1])]
    return xp.stack([_width(profile) for profile in profiles], axis=-1)


def _width(profile: Array) -> Array:
    """Width at half maximum of profiles (*lead, n)."""
    xp = namespace(profile)
    peak = profile.max(-1)
    alive = xp.isfinite(peak) & (peak > 0)
    scaled = xp.where(alive[..., None], profile, 0.0) / xp.where(alive, peak, 1.0)[..., None]
    padded = xp.pad(scaled, [(0, 0)] * (scaled.ndim - 1) + [(1, 1)])
    top = xp.argmax(padded, axis=-1)
    right = _crossing(padded, top)
    left = _crossing(padded[..., ::-1], padded.shape[-1] - 1 - top)
    return xp.where(alive, left + right, np.nan)


def _crossing(profile: Array, top: Array) -> Array:
    """Distance from `top` to where the profile first falls below one half, to the right."""
    xp = namespace(profile)
    below = (profile < 0.5) & (xp.arange(profile.shape[-1]) > top[..., None])
    after = xp.argmax(below, axis=-1)
    low = xp.take_along_axis(profile, after[..., None], axis=-1)[..., 0]
    high = xp.take_along_axis(profile, xp.maximum(after - 1, 0)[..., None], axis=-1)[..., 0]
    return after - 1 + quotient(high - 0.5, high - low, high > low, 0.0) - top
