"""Moments of a map as a distribution over positions: where it lies, how wide it is, which way it points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxrf.statistics.measures.arrays import Array, quotient, root, rounding
from jaxrf.statistics.measures.reading import Reading, read
from jaxrf.statistics.measures.registry import about_center, measures
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty

OF_A_ROUND_MAP = Uncertainty(missing='a round map has no widest direction. Take the interval of "covariance".')


@measures.register("center_offset")
@about_center()
def center_offset(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "..."]:
    """Center of mass minus the true center of the unit, (*lead, d), in input positions.

    A flat map gives its middle minus the center, a single pixel its own offset, a zero map NaN.

    Example:
        >>> center_offset(np.array([0.0, 1.0, 1.0]), center=np.array([1.0])).tolist()
        [0.5]
    """
    seen = read(maps, center, origin)
    return seen.xp.stack([seen.sum(seen.shares * r) for r in seen.offsets(seen.center)], axis=-1)


@measures.register("covariance")
def covariance(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "..."]:
    """Covariance of the position about the center of mass, (*lead, d, d), in squared input positions.

    A flat axis of n positions has the variance `(n^2 - 1) / 12`, a single pixel zero, a zero map NaN.
    Variances add along a chain of layers, which makes them the measure with the clearest theory;
    they also weigh far positions by the square of their distance, so a low flat background counts much.
    """
    return covariance_of(read(maps, center, origin))


@measures.register("sigma")
@uncertainty(Uncertainty(scale="log"))
def sigma(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "..."]:
    """Standard deviation of the position along each axis, (*lead, d), in input positions.

    An n-fold convolution of 3-wide uniform kernels has `sqrt(2 n / 3)`.
    A flat axis of n positions gives `sqrt((n^2 - 1) / 12)`, a single pixel 0, a zero map NaN.

    References:
        Luo et al. (2016), section 2.2: the variance of the n-fold convolution is the sum of the variances.
    """
    return root(_central(read(maps, center, origin), 2))


@measures.register("kurtosis")
def kurtosis(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "..."]:
    """Excess kurtosis of the position along each axis, (*lead, d): 0 for a Gaussian, above for heavy tails; no unit.

    A flat axis of n positions gives `-6 (n^2 + 1) / (5 (n^2 - 1))`; NaN along an axis on which the map has no extent,
    so for a single pixel, and for a zero map.
    """
    return kurtosis_of(read(maps, center, origin))


@measures.register("anisotropy")
@uncertainty(OF_A_ROUND_MAP)
def anisotropy(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "*lead"]:
    """Standard deviation along the widest direction over the one along the narrowest; 1 is round, no unit.

    Infinite for a map on a line, NaN for a single pixel and a zero map; a flat map gives about the ratio of its sides.
    """
    seen = read(maps, center, origin)
    variances = _eigenvalues(seen, covariance_of(seen))
    narrow, wide = variances[..., 0], variances[..., -1]
    return seen.xp.where(wide > 0, root(quotient(wide, narrow, narrow > 0, np.inf)), np.nan)


@measures.register("orientation")
@uncertainty(OF_A_ROUND_MAP)
def orientation(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "..."]:
    """Unit vector of the widest direction, (*lead, d), in the order of the axes; its first non-zero entry is positive.

    NaN where no direction is the widest: a round map, a single pixel, a zero map.
    With one axis it is [1], and in two the angle from the x axis is `arctan2(v[0], v[1])`.
    """
    seen = read(maps, center, origin)
    xp, matrix = seen.xp, covariance_of(seen)
    variances, vectors = xp.linalg.eigh(xp.where(seen.alive[..., None, None], matrix, 0.0))
    direction, near = vectors[..., :, -1], max(1e-9, rounding(matrix))
    first = xp.take_along_axis(direction, xp.argmax(xp.abs(direction) > near, axis=-1)[..., None], axis=-1)
    second = variances[..., -2] if seen.d > 1 else 0.0
    distinct = variances[..., -1] - second > near * variances[..., -1]
    return xp.where((distinct & seen.alive)[..., None], direction * xp.sign(first), np.nan)


def mass_center(seen: Reading) -> Array:
    """The center of mass, (*lead, d), in positions of the map."""
    return seen.middle + seen.xp.stack([seen.sum(seen.shares * r) for r in seen.offsets(seen.middle)], axis=-1)


def covariance_of(seen: Reading) -> Array:
    """The covariance about the center of mass, (*lead, d, d)."""
    relative = seen.offsets(mass_center(seen))
    rows = [seen.xp.stack([seen.sum(seen.shares * (r * s)) for s in relative], axis=-1) for r in relative]
    return seen.xp.stack(rows, axis=-2)


def kurtosis_of(seen: Reading) -> Array:
    """Excess kurtosis along each axis; NaN where the map has no extent along it."""
    second, fourth = _central(seen, 2), _central(seen, 4)
    least = max(1e-12, (8 * float(np.finfo(second.dtype).eps) * max(seen.shape)) ** 2)
    return quotient(fourth, second * second, second > least, np.nan) - 3


def _central(seen: Reading, power: int) -> Array:
    """Moments about the center of mass along each axis, (*lead, d)."""
    relative = seen.offsets(mass_center(seen))
    return seen.xp.stack([seen.sum(seen.shares * (r * r) ** (power // 2)) for r in relative], axis=-1)


def _eigenvalues(seen: Reading, matrix: Array) -> Array:
    """Ascending eigenvalues, at least zero; NaN for maps without a field."""
    xp, alive = seen.xp, seen.alive[..., None]
    values = xp.linalg.eigvalsh(xp.where(alive[..., None], matrix, 0.0))
    values = xp.where(values > rounding(matrix) * values[..., -1:], values, 0.0)
    return xp.where(alive, values, np.nan)
