"""Moments of a map as a distribution over positions: where it lies, how wide it is, which way it points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxrf.statistics.measures.registry import about_center, measures, offsets, read, spatial_axes, spatial_shape
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty

OF_A_ROUND_MAP = Uncertainty(missing='a round map has no widest direction. Take the interval of "covariance".')


@measures.register("center_offset")
@about_center()
def center_offset(maps: np.ndarray, *, center: np.ndarray) -> Float[np.ndarray, "..."]:
    """Center of mass minus the true center of the unit, (*lead, d), in input positions.

    A flat map gives its middle minus the center, a single pixel its own offset, a zero map NaN.

    Example:
        >>> center_offset(np.array([0.0, 1.0, 1.0]), center=np.array([1.0])).tolist()
        [0.5]
    """
    shares, center = read(maps, center)
    axes = spatial_axes(center.shape[-1])
    relative = offsets(spatial_shape(shares, center), center)
    return np.stack([(shares * r).sum(axes) for r in relative], axis=-1)


@measures.register("covariance")
def covariance(maps: np.ndarray, *, center: np.ndarray) -> Float[np.ndarray, "..."]:
    """Covariance of the position about the center of mass, (*lead, d, d), in squared input positions.

    A flat axis of n positions has the variance `(n^2 - 1) / 12`, a single pixel zero, a zero map NaN.
    Variances add along a chain of layers, which makes them the measure with the clearest theory;
    they also weigh far positions by the square of their distance, so a low flat background counts much.
    """
    shares, center = read(maps, center)
    axes = spatial_axes(center.shape[-1])
    about = center + center_offset(maps, center=center)
    relative = offsets(spatial_shape(shares, center), about)
    return np.stack([np.stack([(shares * (r * s)).sum(axes) for s in relative], -1) for r in relative], -2)


@measures.register("sigma")
@uncertainty(Uncertainty(scale="log"))
def sigma(maps: np.ndarray, *, center: np.ndarray) -> Float[np.ndarray, "..."]:
    """Standard deviation of the position along each axis, (*lead, d), in input positions.

    An n-fold convolution of 3-wide uniform kernels has `sqrt(2 n / 3)`.
    A flat axis of n positions gives `sqrt((n^2 - 1) / 12)`, a single pixel 0, a zero map NaN.

    References:
        Luo et al. (2016), section 2.2: the variance of the n-fold convolution is the sum of the variances.
    """
    return np.sqrt(np.diagonal(covariance(maps, center=center), axis1=-2, axis2=-1))


@measures.register("anisotropy")
@uncertainty(OF_A_ROUND_MAP)
def anisotropy(maps: np.ndarray, *, center: np.ndarray) -> Float[np.ndarray, "*lead"]:
    """Standard deviation along the widest direction over the one along the narrowest; 1 is round, no unit.

    Infinite for a map on a line, NaN for a single pixel and a zero map; a flat map gives about the ratio of its sides.
    """
    variances = _eigenvalues(covariance(maps, center=center))
    narrow, wide = variances[..., 0], variances[..., -1]
    ratio = np.divide(wide, narrow, out=np.full(wide.shape, np.inf), where=narrow > 0)
    return np.where(wide > 0, np.sqrt(ratio), np.nan)


@measures.register("orientation")
@uncertainty(OF_A_ROUND_MAP)
def orientation(maps: np.ndarray, *, center: np.ndarray) -> Float[np.ndarray, "..."]:
    """Unit vector of the widest direction, (*lead, d), in the order of the axes; its first non-zero entry is positive.

    NaN where no direction is the widest: a round map, a single pixel, a zero map.
    With one axis it is [1], and in two the angle from the x axis is `arctan2(v[0], v[1])`.
    """
    matrix = covariance(maps, center=center)
    dead = np.logical_not(np.isfinite(matrix).all((-2, -1)))
    variances, vectors = np.linalg.eigh(np.where(dead[..., None, None], 0.0, matrix))
    direction = vectors[..., :, -1]
    first = np.take_along_axis(direction, np.argmax(np.abs(direction) > 1e-9, axis=-1)[..., None], -1)
    second = variances[..., -2] if variances.shape[-1] > 1 else np.zeros(variances.shape[:-1])
    distinct = variances[..., -1] - second > 1e-9 * variances[..., -1]
    return np.where((distinct & ~dead)[..., None], direction * np.sign(first), np.nan)


def _eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """Ascending eigenvalues, at least zero; NaN for matrices that are not finite."""
    dead = np.logical_not(np.isfinite(matrix).all((-2, -1)))
    values = np.linalg.eigvalsh(np.where(dead[..., None, None], 0.0, matrix))
    return np.where(dead[..., None], np.nan, np.where(values > 1e-12 * values[..., -1:], values, 0.0))
