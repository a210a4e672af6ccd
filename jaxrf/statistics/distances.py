"""Maps by distance from their unit: the profile, its mean distance, and whether it falls exponentially or as a power.

Takes profiles and sums of maps; yields a `ByDistance`. It never looks at models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxrf.errors import InputError, unknown
from jaxrf.statistics import jackknife
from jaxrf.statistics.groups import Groups
from jaxrf.statistics.interval import Interval
from jaxrf.statistics.measures.profiles import METRICS, Radial
from jaxrf.statistics.measures.uncertainty import Uncertainty

Profile = Callable[[np.ndarray], Radial]
"""From maps (unit, *spatial) to their rings."""


@dataclass(frozen=True, eq=False, repr=False)
class ByDistance:
    """Mean score by distance from the unit, for each unit.

    Attributes:
        rings: what distance is.
        distance: (ring,), in input positions, or in tokens.
        mean: (unit, ring), with intervals where the result has several samples.
        positions: (unit, ring), how many positions of the input each ring holds.
        average: (unit,), mean distance, weighted by the score: what is called mean attention distance where weights are
            averaged in place of scores.
        length: (unit,), of the fit `exp(-distance / length)`.
        exponent: (unit,), of the fit `distance ** -exponent`.
        advantage: (unit,), log10 of the squared error of the power law over that of the exponential, both of the
            logarithm: above zero the exponential is nearer.
    """

    rings: Rings
    distance: np.ndarray
    mean: Interval
    positions: np.ndarray
    average: Interval
    length: Interval
    exponent: Interval
    advantage: Interval

    @property
    def metric(self) -> str:
        """What distance is, by its name."""
        return self.rings.metric

    @property
    def physical(self) -> ByDistance:
        """The same with `distance`, `average` and `length` in physical units.

        Raises:
            InputError: nobody said how far apart positions are, or tokens are not equally far apart along all axes.
        """
        step = self.rings.known_step
        return replace(
            self, rings=replace(self.rings, step=1.0), distance=self.distance * step,
            average=self.average.times(step), length=self.length.times(step),
        )  # fmt: skip

    @property
    def law(self) -> tuple[str, ...]:
        """For each unit "exponential", "power law", or "undecided" where the interval of the advantage holds zero.

        Without an interval, "undecided" too.
        """
        pairs = zip(np.ravel(self.advantage.low), np.ravel(self.advantage.high))
        return tuple("exponential" if low > 0 else "power law" if high < 0 else "undecided" for low, high in pairs)

    def __repr__(self) -> str:
        numbers: dict[str, Any] = {"mean distance": self.average, "length": self.length, "exponent": self.exponent}
        if self.rings.step is not None and self.rings.step != 1:
            far = self.physical
            numbers |= {
                f"{name} in {self.rings.unit or 'units'}": getattr(far, attribute)
                for name, attribute in (("mean distance", "average"), ("length", "length"))
            }
        return "\n".join(
            [
                f"Score over {self.metric} distance: {len(self.distance)} rings, {len(self.positions)} unit{'s' * (len(self.positions) != 1)}",
                *(f"  {name}: {number}" for name, number in numbers.items()),
                f"  law: {', '.join(self.law[:4])}{' ...' * (len(self.law) > 4)}",
            ]
        )


@dataclass(frozen=True)
class Rings:
    """What distance is.

    Attributes:
        metric: "euclidean", "chebyshev" or "token".
        options: of the measure `radial`.
        step: of one ring, in `unit`; None where nobody said how far apart positions are, or where there is no one number.
        unit: its name.
    """

    metric: str
    options: dict[str, Any]
    step: float | None = None
    unit: str = ""

    @classmethod
    def of(cls, metric: str, row: Any) -> Rings:
        """The rings of a metric about units of a row: tokens are squares of the pitch of the units.

        Where positions are farther apart along one axis than along another, rings are one position of the finest wide.

        Raises:
            InputError: tokens of a layer whose units lie on no grid.
        """
        spacing, unit = (row.scale.spacing, row.scale.unit) if row.scale else (None, "")
        if metric == "token":
            pitch = tuple(row.pitch)
            if any(one is None for one in pitch):
                raise InputError(
                    f'metric="token" needs units on a grid, and those of layer {row.name!r} have the pitch {pitch}. '
                    'Use "euclidean" or "chebyshev".'
                )
            steps = {one * d for one, d in zip(pitch, spacing or ())}
            return cls(
                metric, {"metric": "chebyshev", "spacing": pitch}, steps.pop() if len(steps) == 1 else None, unit
            )
        if spacing is None:
            return cls(metric, {"metric": metric})
        finest = min(spacing)
        return cls(metric, {"metric": metric, "spacing": tuple(finest / d for d in spacing)}, finest, unit)

    @property
    def known_step(self) -> float:
        """`step`.

        Raises:
            InputError: it is not known.
        """
        if self.step is None:
            raise InputError(
                "These distances have no physical unit: nobody said how far apart positions are, as in "
                'result.scaled(0.5, "µm").by_distance(), or tokens are not equally far apart along all axes.'
            )
        return self.step


def by_distance(
    profile: Profile, maps: np.ndarray, rings: Rings, groups: Groups | None, over: str,
    level: float = 0.95, first: int = 1, last: int | None = None,
) -> ByDistance:  # fmt: skip
    """The profile of maps (unit, *spatial) and its fits, with jackknife intervals where `groups` has several blocks.

    Args:
        profile: from maps to rings.
        maps: the mean maps.
        rings: what distance is.
        groups: sums of the maps by the levels of the factor `over`, or None.
        over: name of the factor.
        level: nominal coverage.
        first, last: distances that fits use, the last one included.

    Raises:
        InputError: fits that begin at the unit itself.
    """
    radial = profile(maps)
    if first < 1:
        raise InputError(f"first={first!r}: a power law has no value at distance 0. Let fits begin at 1 or farther.")
    chosen = slice(first, None if last is None else last + 1)

    def fitted(part: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda some: fits(radial.radius[chosen], profile(some).mean[..., chosen])[part]

    def measured(function: Callable[[np.ndarray], np.ndarray], scale: str = "plain") -> Interval:
        if groups is not None and len(groups.blocks) > 1:
            return jackknife.interval(groups, function, maps, level=level, over=over, known=Uncertainty(scale))
        value = function(maps)
        none = np.full(value.shape, np.nan)
        return Interval(value, none, none, none, none, level, over, 1, none, "there is one sample.")

    return ByDistance(
        rings=rings,
        distance=radial.radius,
        mean=measured(lambda some: profile(some).mean, "log"),
        positions=radial.positions,
        average=measured(lambda some: mean_distance(profile(some)), "log"),
        length=measured(fitted(0), "log"),
        exponent=measured(fitted(1)),
        advantage=measured(fitted(2)),
    )


def attention_distance(weights: Any, row: Any, metric: str = "euclidean") -> np.ndarray:
    """Mean attention distance: how far apart query and key are, averaged by attention weights, in input positions.

    What vision transformers are described with, for comparison with `Result.by_distance`: it leaves out what values,
    skips and earlier layers carry. Tokens without a place, such as class tokens, are left out, and the weights of the
    others on each other are made to sum to one. In the unit of the row, where it has one.

    Args:
        weights: (*lead, query, key), such as (image, head, query, key).
        row: of a layer whose units are these tokens, from `jaxrf.trf`.
        metric: "euclidean" or "chebyshev".

    Returns:
        (*lead,), the mean over queries.

    Raises:
        InputError: other tokens than those of the row, or none with a place.
        UnknownNameError: another metric.

    Example:
        >>> import jaxrf, numpy as np
        >>> row = jaxrf.trf(lambda x: x * 1.0, (3, 2))[-1]
        >>> float(jaxrf.attention_distance(np.full((3, 3), 1 / 3), row).round(3))
        0.889

    References:
        Dosovitskiy et al. (2020), arXiv:2010.11929, figure 7.
    """
    given = np.asarray(weights, np.float64)
    count = math.prod(row.unit_shape)
    if given.ndim < 2 or given.shape[-2:] != (count, count):
        raise InputError(
            f"The weights have shape {given.shape}; layer {row.name!r} has {count} tokens, and (..., {count}, {count}) is needed."
        )
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    places = np.array([row.center(unit) for unit in np.ndindex(row.unit_shape)])
    some = np.isfinite(places).all(-1)
    if not some.any():
        raise InputError(
            f"No token of layer {row.name!r} has a place. Take the row of a layer with skips, or before mixing."
        )
    places = places[some] * (np.array(row.scale.spacing) if row.scale else 1.0)
    steps = [np.abs(axis[:, None] - axis) for axis in places.T]
    given = given[..., some, :][..., some]
    far = np.sqrt(METRICS[metric](steps))
    with np.errstate(invalid="ignore"):
        return ((given * far).sum(-1) / given.sum(-1)).mean(-1)


def mean_distance(rings: Radial) -> np.ndarray:
    """Mean distance, weighted by the score, (*lead,)."""
    sums = np.where(rings.positions > 0, rings.mean, 0) * rings.positions
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums * rings.radius).sum(-1) / sums.sum(-1)


def fits(distance: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Length of an exponential, exponent of a power law, and log10 of the ratio of their squared errors.

    Both are straight lines of the logarithm, by least squares over the rings that hold anything, each counting once.

    Args:
        distance: (ring,), above zero.
        mean: (unit, ring).

    Returns:
        Three arrays (unit,), NaN for units with fewer than three such rings.
    """
    found = np.full((3, len(mean)), np.nan)
    for unit, row in enumerate(mean):
        some = np.isfinite(row) & (row > 0)
        if some.sum() >= 3:
            logs = np.log(row[some])
            (slope, one), (power, other) = (_line(x, logs) for x in (distance[some], np.log(distance[some])))
            tiny = 1e-24 * max(float(np.square(logs - logs.mean()).sum()), 1.0)  # of lines that are exact
            length = -1 / slope if slope else np.inf
            found[:, unit] = length, -power, np.log10((other + tiny) / (one + tiny))
    return found[0], found[1], found[2]


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the line through points, and the sum of squares that it leaves."""
    steps, rises = x - x.mean(), y - y.mean()
    slope = float((steps * rises).sum() / np.square(steps).sum())
    return slope, float(np.square(rises - slope * steps).sum())
