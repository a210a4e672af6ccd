"""A Gaussian fitted to each map, with what says how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxrf.errors import InputError
from jaxrf.statistics.measures.arrays import Array, is_traced
from jaxrf.statistics.measures.reading import read
from jaxrf.statistics.measures.registry import measures
from jaxrf.statistics.measures.spread import covariance_of, kurtosis_of, mass_center
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty


class GaussianFit(NamedTuple):
    """`amplitude * exp(-(p - mean)' covariance^-1 (p - mean) / 2)` for each map; arrays over the leading axes.

    Attributes:
        amplitude: in the unit of the map.
        mean: (*lead, d), in positions of the map.
        covariance: (*lead, d, d), in squared input positions.
        residual: root of the squared difference over the squared map, both summed: 0 fits, 1 fits nothing.
        kurtosis: (*lead, d), excess kurtosis of the map along each axis: 0 for a Gaussian, above for heavy tails.
        refined: True where least squares converged; else mean and covariance are the map's moments.
        cut: True where the ellipse of two standard deviations leaves the input: part of the field was not seen.
    """

    amplitude: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    residual: np.ndarray
    kurtosis: np.ndarray
    refined: np.ndarray
    cut: np.ndarray

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation along each axis, (*lead, d), in input positions."""
        return np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1))


NEAR = 5.0
"""Standard deviations beyond which a Gaussian is nothing: 4e-6 of its height, the square of which a fit adds up."""


YES_OR_NO = Uncertainty(missing="it is a yes or a no.")


@measures.register("gaussian")
@uncertainty(
    amplitude=Uncertainty(scale="log"),
    sigma=Uncertainty(scale="log"),
    residual=Uncertainty(missing="noise in the map is residual too, and most of it with few samples."),
    refined=YES_OR_NO,
    cut=YES_OR_NO,
)
def gaussian(
    maps: Array,
    tilted: bool = True,
    *,
    center: Array,
    origin: Array | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> GaussianFit:
    """A Gaussian fitted to each map by least squares over the input, started from the map's moments.

    The map is zero outside its window, and the fit counts these zeros, as far as the input goes:
    the fit of a map does not depend on the window that it comes in.
    The moments weigh the far tails by the square of their distance, least squares weighs the bright middle:
    where the two covariances differ, the map is not Gaussian, and `kurtosis` and `residual` say so.
    The refinement is given up, and the moments are reported, where the map has no extent along some direction
    (a single pixel: covariance 0, residual 0) or the fit grows wider than the input (a flat map).
    A zero map gives NaN.

    Costs some ten evaluations of a few standard deviations about the map, with derivatives: 0.3 s at 224 x 224.
    SciPy fits it, on the host: maps of JAX are read back, and it cannot be part of a program.

    Args:
        maps: (*lead, *spatial), windows of the input.
        tilted: whether its axes may lie across those of the map.
        center: true centers, input positions.
        origin: input position of element [0, ..., 0] of the maps; by default the input's own.
        input_shape: spatial shape of the input; by default the shape of the maps.

    Raises:
        InputError: the maps are traced.

    Example:
        >>> y, x = np.mgrid[-20:21, -20:21]
        >>> fit = gaussian(np.exp(-(y**2 / 18 + x**2 / 50)), center=np.array([20, 20]))
        >>> fit.sigma.round(6).tolist()
        [3.0, 5.0]
    """
    if is_traced(maps, center, origin):
        raise InputError(
            "A Gaussian is fitted by SciPy on the host, step by step, so that 'gaussian' is not possible within jit, vmap, "
            "scan or grad. Call it on the maps that the program returns, or use 'sigma', 'covariance' and 'kurtosis' there."
        )
    seen = read(*(None if a is None else np.asarray(a) for a in (maps, center, origin)))
    shape, d, extent = seen.shape, seen.d, seen.input_shape(input_shape)
    start_mean, start_covariance = mass_center(seen), covariance_of(seen)
    places = [_Place(shape, at, extent) for at in seen.first.astype(int).reshape(-1, d)]
    rows = zip(
        seen.shares.reshape(-1, *shape),
        start_mean.reshape(-1, d),
        start_covariance.reshape(-1, d, d),
        places,
        strict=True,
    )
    fits = [_fit(row, mean, matrix, place, tilted) for row, mean, matrix, place in rows]
    amplitude, mean, matrix, residual, refined = (np.array(part) for part in zip(*fits, strict=True))
    mean, matrix = mean.reshape(*seen.lead, d), matrix.reshape(*seen.lead, d, d)
    return GaussianFit(
        amplitude.reshape(seen.lead) * seen.maps.sum(seen.axes),
        mean,
        matrix,
        residual.reshape(seen.lead),
        kurtosis_of(seen),
        refined.reshape(seen.lead),
        _cut(mean + seen.first, matrix, extent),
    )


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a window of `shape` lies: its element [0, ..., 0] is at the input's `first`, and the input has `extent`."""

    shape: tuple[int, ...]
    first: np.ndarray
    extent: tuple[int, ...]

    def near(self, mean: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part of the input that holds the window and what lies near a Gaussian, in positions of the map."""
        low = np.minimum(0, np.floor(mean - NEAR * sigma))
        high = np.maximum(self.shape, np.ceil(mean + NEAR * sigma) + 1)
        return np.maximum(low, -self.first).astype(int), np.minimum(high, self.extent - self.first).astype(int)

    def laid(self, row: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The map on that part: zero outside its window."""
        whole = np.zeros(high - low)
        shown = [slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, self.shape, strict=True)]
        inside = tuple(slice(s.start - a, s.stop - a) for s, a in zip(shown, low, strict=True))
        whole[inside] = row[tuple(shown)]
        return whole


def _fit(row: np.ndarray, mean: np.ndarray, matrix: np.ndarray, place: _Place, tilted: bool) -> tuple:
    """Amplitude, mean, covariance, residual and whether least squares converged, for one map that sums to one."""
    if np.isnan(row.flat[0]):
        return np.nan, mean, matrix, np.nan, False
    if np.linalg.eigvalsh(matrix)[0] < 1e-9:
        return row.max(), mean, matrix, 0.0 if np.count_nonzero(row) == 1 else np.nan, False
    matrix = matrix if tilted else np.diag(np.diag(matrix))
    low, high = place.near(mean, np.sqrt(np.diag(matrix)))
    while True:
        found = _least_squares(place.laid(row, low, high), low, mean, matrix, np.max(place.extent), tilted)
        wanted = place.near(found[1], np.sqrt(np.diag(found[2])))
        if (wanted[0] >= low).all() and (wanted[1] <= high).all():
            return found
        # The fit is wider than the map's moments: again, on more of the input.
        low, high = np.minimum(low, wanted[0]), np.maximum(high, wanted[1])


def _least_squares(
    laid: np.ndarray, low: np.ndarray, mean: np.ndarray, matrix: np.ndarray, widest: int, tilted: bool
) -> tuple:
    """The fit to a map whose element [0, ..., 0] is at `low`; the start, where it fails or is wider than `widest`."""
    from scipy.optimize import least_squares  # a third of a second to import, which other measures need not wait for

    d, peak, row = laid.ndim, laid.max(), laid.ravel() / laid.max()
    positions = np.stack([axis.ravel() for axis in np.indices(laid.shape)], axis=-1) + low.astype(float)
    free = np.tril_indices(d) if tilted else np.diag_indices(d)

    def parts(parameters):
        """The Gaussian of height one, the offsets from its mean, and the offsets in standard deviations."""
        factor = np.zeros((d, d))
        factor[free] = parameters[1 + d :]
        relative = positions - parameters[1 : 1 + d]
        scaled = relative @ factor
        return np.exp(-np.square(scaled).sum(1) / 2), relative, scaled, factor

    def misfit(parameters):
        return parameters[0] * parts(parameters)[0] - row

    def jacobian(parameters):
        bell, relative, scaled, factor = parts(parameters)
        high = (parameters[0] * bell)[:, None]
        by_factor = -high * relative[:, free[0]] * scaled[:, free[1]]
        return np.hstack([bell[:, None], high * (scaled @ factor.T), by_factor])

    start = np.concatenate([[1.0], mean, np.linalg.cholesky(np.linalg.inv(matrix))[free]])
    start[0] = _height(parts(start)[0], row)
    found = least_squares(misfit, start, jac=jacobian, x_scale="jac", max_nfev=100)  # pyright: ignore[reportArgumentType]
    factor = parts(found.x)[3]
    precision = factor @ factor.T
    resolved = np.linalg.eigvalsh(precision)[0] > 1 / widest**2
    if not (found.success and resolved):
        return start[0] * peak, mean, matrix, _relative(misfit(start), row), False
    return found.x[0] * peak, found.x[1 : 1 + d], np.linalg.inv(precision), _relative(found.fun, row), True


def _height(bell: np.ndarray, row: np.ndarray) -> float:
    """The amplitude that fits best for a given shape."""
    return float(bell @ row / (bell @ bell))


def _relative(misfit: np.ndarray, row: np.ndarray) -> float:
    return float(np.sqrt(misfit @ misfit / (row @ row)))


def _cut(middle: np.ndarray, matrix: np.ndarray, extent: tuple[int, ...]) -> np.ndarray:
    """Whether the ellipse of two standard deviations leaves the input on any side."""
    reach = 2 * np.sqrt(np.diagonal(matrix, axis1=-2, axis2=-1))
    return np.asarray(((middle - reach < -0.5) | (middle + reach > np.array(extent) - 0.5)).any(-1))
