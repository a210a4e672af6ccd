"""Maps as curves: along an axis, over the distance from the center, and the width at half of the maximum.

The curves keep the map's own scale, so a zero map has a zero curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jaxrf.errors import unknown
from jaxrf.statistics.measures.registry import about_center, flatten, measures, offsets, read, spatial_shape
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty


@dataclass(frozen=True, eq=False)
class Radial:
    """Mean of the map over rings about the true center.

    `radius` (ring,) in input positions; `mean` (*lead, ring), NaN where a ring holds no position;
    `positions` (*lead, ring), how many it averages.
    """

    radius: np.ndarray
    mean: np.ndarray
    positions: np.ndarray

    def __repr__(self) -> str:
        return f"Radial({len(self.radius)} rings, mean of shape {self.mean.shape})"


@dataclass(frozen=True, eq=False)
class Axial:
    """Profiles along one axis: `offset` (*lead, n) from the true center in input positions, `value` (*lead, n)."""

    offset: np.ndarray
    value: np.ndarray

    def __repr__(self) -> str:
        return f"Axial(value of shape {self.value.shape})"


@measures.register("radial")
@about_center()
@uncertainty(mean=Uncertainty(scale="log"))
def radial(
    maps: np.ndarray,
    *,
    center: np.ndarray,
    origin: np.ndarray | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Radial:
    """Mean of the map over rings one position wide about the true center.

    Ring k holds the positions of the input at a distance in [k - 1/2, k + 1/2), inside the window of the map or not.
    Rings go as far as the farthest window does.
    A flat map gives its value, a single pixel 1 over the positions of its ring, a zero map zeros.

    Example:
        >>> radial(np.array([[1.0, 2.0, 1.0]]), center=np.array([0.0, 1.0])).mean.tolist()
        [2.0, 1.0]
    """
    shares, center = read(maps, center)
    d, lead = center.shape[-1], center.shape[:-1]
    shape = spatial_shape(shares, center)
    flat = flatten(np.asarray(maps, np.float64), d).reshape(-1, np.prod(shape))
    centers = center.reshape(-1, d)
    in_input = centers if origin is None else (center + np.asarray(origin)).reshape(-1, d)
    rings = [_rings(shape, c) for c in centers]
    n = 1 + max(int(ring.max()) for ring in rings)
    sums = np.array([np.bincount(ring, weights=row, minlength=n) for ring, row in zip(rings, flat, strict=True)])
    extent = shape if input_shape is None else tuple(input_shape)
    positions = np.array([np.bincount(_rings(extent, c), minlength=n)[:n] for c in in_input])
    mean = np.divide(sums, positions, out=np.full(sums.shape, np.nan), where=positions > 0)
    return Radial(np.arange(n, dtype=float), mean.reshape(*lead, n), positions.reshape(*lead, n))


def _rings(shape: tuple[int, ...], center: np.ndarray) -> np.ndarray:
    """The ring of every position of an array of `shape`, flat."""
    squares = sum(np.square(r) for r in offsets(shape, center))
    return np.floor(np.sqrt(squares) + 0.5).astype(int).ravel()


@measures.register("axial")
@about_center()
@uncertainty(value=Uncertainty(scale="log"))
def axial(maps: np.ndarray, axis: int = -1, kind: str = "slice", *, center: np.ndarray) -> Axial:
    """The map along one spatial axis, against the offset from the true center.

    Args:
        maps: (*lead, *spatial).
        axis: which spatial axis, counted as in the map: -1 is the last.
        kind: "slice" goes through the true center, interpolating linearly where that is between positions,
            "marginal" sums over the other axes.
        center: true centers, in positions of the map.

    Raises:
        UnknownNameError: `kind` is neither.

    Example:
        >>> axial(np.array([[1.0, 3.0], [2.0, 5.0]]), kind="marginal", center=np.array([0.5, 0.0])).value.tolist()
        [3.0, 8.0]
    """
    if kind not in ("slice", "marginal"):
        raise unknown("kind of profile", kind, ("slice", "marginal"))
    maps, center = np.asarray(maps, np.float64), read(maps, center)[1]
    d = center.shape[-1]
    axis = range(d)[axis]
    shape = spatial_shape(maps, center)
    others = tuple(a - d for a in range(d) if a != axis)
    if kind == "slice":
        # A hat of half width one about the center picks its position, or mixes its two neighbors.
        for other in others:
            maps = maps * np.clip(1 - np.abs(offsets(shape, center)[other]), 0, 1)
    offset = np.arange(shape[axis]) - center[..., axis, None]
    return Axial(offset, maps.sum(others))


@measures.register("size_half_width")
@about_center(kind="slice")
@uncertainty(Uncertainty(scale="log"))
def half_width(maps: np.ndarray, kind: str = "marginal", *, center: np.ndarray) -> Float[np.ndarray, "..."]:
    """Full width at half maximum of the profile along each axis, (*lead, d), in input positions.

    From the peak of the profile outward to the first crossing of its half on each side, interpolated linearly;
    beyond the map it is zero. A Gaussian has 2.355 sigma.
    The default profile sums over the other axes, which averages speckle out;
    `kind="slice"` goes through the true center only, and is NaN where the map is zero there.
    A flat axis of n positions gives n, a single pixel 1, a zero map NaN.

    Raises:
        UnknownNameError: `kind` is neither "slice" nor "marginal".

    Example:
        >>> half_width(np.array([0.0, 1.0, 2.0, 1.0, 0.0]), center=np.array([2.0])).tolist()
        [2.0]
    """
    axes = range(np.shape(center)[-1])
    return np.stack([_width(axial(maps, axis, kind, center=center).value) for axis in axes], axis=-1)


def _width(profile: np.ndarray) -> np.ndarray:
    """Width at half maximum of profiles (*lead, n)."""
    peak = profile.max(-1)
    alive = np.isfinite(peak) & (peak > 0)
    scaled = np.where(alive[..., None], profile, 0.0) / np.where(alive, peak, 1.0)[..., None]
    padded = np.pad(scaled, [(0, 0)] * (scaled.ndim - 1) + [(1, 1)])
    top = np.argmax(padded, axis=-1)
    right = _crossing(padded, top)
    left = _crossing(padded[..., ::-1], padded.shape[-1] - 1 - top)
    return np.where(alive, left + right, np.nan)


def _crossing(profile: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Distance from `top` to where the profile first falls below one half, to the right."""
    index = np.arange(profile.shape[-1])
    below = (profile < 0.5) & (index > top[..., None])
    after = np.argmax(below, axis=-1)
    low = np.take_along_axis(profile, after[..., None], -1)[..., 0]
    high = np.take_along_axis(profile, np.maximum(after - 1, 0)[..., None], -1)[..., 0]
    step = np.divide(high - 0.5, high - low, out=np.zeros(high.shape), where=high > low)
    return after - 1 + step - top
