"""The result of an effective receptive field: maps with errors, where they lie, and what was measured how.

Numbers and words only; a result neither holds a model nor runs one.
Measures, files and figures are a call away, each in its own package.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from jaxrf import store
from jaxrf.base.html import facts
from jaxrf.errors import InputError, StoreError, unknown
from jaxrf.geometry.row import Row
from jaxrf.geometry.scale import Scale
from jaxrf.results.physical import PhysicalResult
from jaxrf.results.record import ARRAYS, NUMBERS, OPTIONAL, axis_names, describe, record
from jaxrf.statistics import Groups, Interval, bands, distances, groups, jackknife
from jaxrf.statistics.gathered import TRUSTED
from jaxrf.statistics.measures import measures
from jaxrf.statistics.measures.registry import is_about_center, part_of
from jaxrf.statistics.measures.uncertainty import uncertainty_of

if TYPE_CHECKING:
    import xarray

    from jaxrf.statistics.distances import ByDistance
    from jaxrf.statistics.measures.gaussian import GaussianFit
    from jaxrf.statistics.measures.profiles import Radial


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """ERF maps of some units of a layer, on the spatial axes of the input.

    Attributes:
        mean: mean score over the samples, (unit, *spatial).
        stderr: standard error of the mean over the samples, (unit, *spatial); NaN with one sample.
            Two of them are not an interval of 95 %, which `band` gives: single positions are far from normal.
        count: number of samples that were averaged.
        origin: (unit, d), input position of element [0, ..., 0] of each map; it may be negative.
        units: (unit, k), positions of the units in the layer; one row where units were pooled.
        theoretical: the layer's row of the table.
        score: what one input position got from its gradient: "square", "abs", "relu" or "signed".
        channels: the rule for the channels of a unit.
        input_shape: spatial shape of the input.
        dead: number of pairs of a sample and a unit whose map was zero everywhere.
        nonfinite: number of pairs of a sample and a unit whose map held a NaN or an infinity.
        provenance: how it was made: versions, seeds, plan; JSON-able.
        average: "weighted", the plain mean of the maps, or "normalized", the mean of maps that each sum to one.
        between: variance of the maps between seeds, (unit, *spatial); NaN where it cannot be told apart.
        within: variance of the maps of one seed over images and probes, (unit, *spatial); NaN with one image.
        effective: how many equally strong independent samples a weighted mean is worth, (unit,).
        groups: sums of maps by "seeds" and by "images", where there were several; intervals need them.

    Raises:
        InputError: the arrays do not fit each other or the layer.
    """

    mean: Float[np.ndarray, "unit *spatial"]
    stderr: Float[np.ndarray, "unit *spatial"]
    count: int
    origin: Int[np.ndarray, "unit d"]
    units: Int[np.ndarray, "unit k"]
    theoretical: Row
    score: str
    channels: str | int
    input_shape: tuple[int, ...]
    dead: int = 0
    nonfinite: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    average: str = "weighted"
    between: Float[np.ndarray, "unit *spatial"] | None = None
    within: Float[np.ndarray, "unit *spatial"] | None = None
    effective: Float[np.ndarray, " unit"] | None = None
    groups: Mapping[str, Groups] = field(default_factory=dict)

    def __post_init__(self):
        for name, dtype in zip(ARRAYS, (np.float64, np.float64, np.int64, np.int64), strict=True):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))
        object.__setattr__(self, "input_shape", tuple(int(n) for n in self.input_shape))
        n, d = len(self.units), len(self.input_shape)
        expected = {"stderr": self.mean.shape, "origin": (n, d), "units": (n, len(self.theoretical.unit_shape))}
        wrong = {name: shape for name, shape in expected.items() if getattr(self, name).shape != shape}
        if self.mean.ndim != d + 1 or len(self.mean) != n or wrong:
            found = {name: getattr(self, name).shape for name in ARRAYS}
            raise InputError(
                f"The arrays of a result do not fit each other: {found}, with an input of shape {self.input_shape} and "
                f"units of shape {self.theoretical.unit_shape}. mean and stderr are (unit, *spatial), "
                "origin (unit, spatial axes) and units (unit, unit axes)."
            )

    @cached_property
    def center(self) -> Float[np.ndarray, "unit d"]:
        """True centers of the units as input positions, from the geometry; they may be halves.

        NaN where a unit has none, as behind global pooling: see `Row.center`.
        """
        return np.array([self.theoretical.center(tuple(unit)) for unit in self.units], np.float64)

    @cached_property
    def box(self) -> Int[np.ndarray, "unit d 2"]:
        """Theoretical boxes of the units, half-open intervals of input positions, clipped to the input."""
        return np.array([self.theoretical.box(tuple(unit), clip=True) for unit in self.units], np.int64)

    def measure(self, name: str, **options: Any) -> Any:
        """A measure on the mean maps by its registered name, vectorized over units.

        Centers, boxes and the place in the input are handed to it; `options` are its own, such as `share=0.5`.

        Raises:
            UnknownNameError: there is no such measure.
            InputError: an option it does not have, a map it cannot measure, or a measure about the center of a unit
                that has none.
        """
        return self._placed(measures[name], name, options)(self.mean)

    def interval(
        self,
        measure: str,
        *,
        level: float = 0.95,
        over: str | None = None,
        part: str | None = None,
        **options: Any,
    ) -> Interval:
        """A measure on the mean maps with its jackknife standard error and confidence interval.

        Leaves out one seed (or block of seeds) at a time and measures again, so that it costs as much as
        measuring up to 64 times. Over seeds, the images count as given: the interval is for other networks on the
        same images. Over images it is for other images on the same networks.
        How the interval is made depends on the measure, and [Measures](measures.md) says it of each.
        Some, such as Luo's size, have none: value and reason are there, and NaN in place of the ends.

        Args:
            measure: its registered name.
            level: nominal coverage.
            over: "seeds" or "images"; seeds where there were several if None.
            part: for a measure with several numbers, which: `part="sigma"` of "gaussian".
            options: of the measure.

        Raises:
            UnknownNameError: there is no such measure.
            InputError: an option or part it does not have, or the result does not hold samples to leave out.

        Warns:
            UserWarning: the mean is worth fewer than 30 samples, too few for its errors to be known well.
        """
        kept, factor = self.samples_over(over)
        self.warn_of_few()
        measured, known = self.measuring(measure, part, **options), uncertainty_of(measure, part)
        curve = self._placed(known.curve, measure, options) if known.curve else None
        how = {"level": level, "over": factor, "known": known, "curve": curve}
        return jackknife.interval(kept, measured, self.mean, **how)

    def band(self, level: float = 0.95) -> Interval:
        """The mean maps with an interval for each position, arrays (unit, *spatial), over all seeds and images.

        Wider than two standard errors, and farther above the mean than below it, where few samples make it up;
        NaN where those are worth fewer than two. Each position is for itself: of 100, five lie outside.

        Raises:
            InputError: the result does not hold several seeds or images.
        """
        self.samples_over()
        positive = not (self.mean < 0).any()
        return bands.band(self.mean, self.stderr, self.groups, level=level, positive=positive)

    def samples_over(self, over: str | None = None) -> tuple[Groups, str]:
        """The sums of maps by the levels of a factor, and its name: `over`, or seeds before images if None.

        Raises:
            InputError: the result holds none.
            UnknownNameError: another factor.
        """
        if over not in (None, "seeds", "images"):
            raise unknown("factor", over, ("seeds", "images"))
        found = [name for name in ("seeds", "images") if name in self.groups and over in (None, name)]
        if not found:
            raise InputError(
                f"This result of {self.count} sample{'s' * (self.count != 1)} holds no sums over "
                f"{over or 'seeds or images'}, which intervals need. Run it with several {over or 'seeds or images'}."
            )
        return self.groups[found[0]], found[0]

    def rms(self) -> tuple[Float[np.ndarray, "unit *spatial"], Float[np.ndarray, "unit *spatial"]]:
        """Root-mean-square gradient per position, and its standard error by the delta method: `stderr / (2 rms)`.

        Its map is wider than that of the squares: by the root of two where that is a Gaussian.

        Raises:
            InputError: the score is not "square", or the average is normalized.
        """
        if self.score != "square" or self.average != "weighted":
            raise InputError(
                f"A root mean square needs the score 'square' and the weighted average; "
                f"this result has {self.score!r} and {self.average!r}."
            )
        root = np.sqrt(self.mean)
        zero = (self.mean == 0) & (self.stderr == 0)
        return root, np.divide(self.stderr, 2 * root, out=np.where(zero, 0.0, np.nan), where=self.mean > 0)

    def measuring(self, name: str, part: str | None = None, **options: Any) -> Callable[[np.ndarray], Any]:
        """The measure as a function of maps that lie where this result's do, to one array (unit, ...).

        Raises:
            UnknownNameError: there is no such measure.
            InputError: an option it does not have, or a measure about the center of a unit that has none; when it is
                called, a part that it does not have, or several numbers of which none was chosen.
        """
        measured = self._placed(measures[name], name, options)
        return lambda maps: part_of(measured(maps), part, name)

    def _placed(
        self, function: Callable[..., Any], name: str, options: Mapping[str, Any]
    ) -> Callable[[np.ndarray], Any]:
        """A function of maps and of where they lie, for maps that lie where this result's do."""
        if is_about_center(name, options):
            self._check_centers(name)
        middle = (np.array(self.mean.shape[1:]) - 1) / 2  # stands in where the number does not depend on it
        context = {
            "center": np.where(np.isnan(self.center), self.origin + middle, self.center),
            "origin": self.origin,
            "input_shape": self.input_shape,
            "box": self.box,
        }
        parameters = list(inspect.signature(function).parameters)
        own = [parameter for parameter in parameters[1:] if parameter not in context]
        for option in options:
            if option not in own:
                raise InputError(f"The measure {name!r} has no option {option!r}. It has: {', '.join(own) or 'none'}.")
        given = {key: context[key] for key in parameters if key in context}
        return lambda maps: function(maps, **given, **options)

    def _check_centers(self, name: str) -> None:
        others = [f"{other!r}" for other in ("participation", "sigma", "size_luo2016")]
        self.theoretical.check_centers(
            self.units,
            f"The measure {name!r} is about the center of a unit: it",
            f"Use a measure that is not, such as {', '.join(others)}, or map units that have a center.",
        )

    def warn_of_few(self, stacklevel: int = 3) -> None:
        """Warn where the mean is worth fewer than 30 equally strong samples of the leading factor."""
        if self.effective is None or not (self.effective < TRUSTED).any():
            return
        least = f"{np.nanmin(self.effective):.3g}"
        if self.average == "weighted":
            found = f"The {self.count} samples are worth {least} equally strong ones."
            rather = ', or use average="normalized"'
        else:
            found, rather = f"There are {least} independent samples, the seeds or the images.", ""
        warnings.warn(
            f"{found} Standard errors need some {TRUSTED} to be known to a tenth; with fewer, intervals are wide, and "
            f"hold only where samples are not too uneven: run more seeds or images{rather}.",
            stacklevel=stacklevel,
        )

    def area_ratio(self, share: float = 0.5) -> Float[np.ndarray, " unit"]:
        """Share of the input area in the smallest square about the true center that holds `share` of each map."""
        return self.measure("area_ratio", share=share)

    def size(self, definition: str = "luo2016", **options: Any) -> Float[np.ndarray, "..."]:
        """Size of the effective field in input positions, by a named definition: "luo2016" or "half_width".

        Raises:
            UnknownNameError: there is no such definition.
        """
        known = [name.removeprefix("size_") for name in measures if name.startswith("size_")]
        if definition not in known:
            raise unknown("definition of size", definition, known)
        return self.measure(f"size_{definition}", **options)

    def gaussian(self) -> GaussianFit:
        """A Gaussian fitted to each map; its means are positions of the map, add `origin` for input positions."""
        return self.measure("gaussian")

    def radial(self) -> Radial:
        """Mean of each map over rings about the true center."""
        return self.measure("radial")

    def by_distance(self, metric: str = "euclidean", *, over: str | None = None, **options: Any) -> ByDistance:
        """Mean score by distance from the unit, its mean distance, and an exponential against a power law; with intervals.

        Args:
            metric: "euclidean" or "chebyshev" in input positions, or "token": in tokens, along the axis with most of them.
                In input positions of the finest axis, where positions are not equally far apart along all.
            over: as for `interval`.
            options: `level` of the intervals; `first` and `last`, the distances that the fits use.

        Raises:
            InputError: a unit without a center, or tokens that lie on no grid.
            UnknownNameError: another metric.
        """
        rings = distances.Rings.of(metric, self.theoretical)
        kept, factor = self.samples_over(over) if self.groups or over else (None, "seeds")
        profile = self._placed(measures["radial"], "radial", rings.options)
        return distances.by_distance(profile, self.mean, rings, kept, factor, **options)

    def coverage(self, **options: Any) -> Float[np.ndarray, " unit"]:
        """Share of the clipped theoretical box whose entries are above `threshold` (4.55 %) of the peak."""
        return self.measure("coverage", **options)

    def scaled(
        self, spacing: float | Sequence[float] | None = None, unit: str | None = None, rate: float | None = None
    ) -> Result:
        """The same result with `physical`, and with figures in both: positions are `spacing` apart, or `rate` in a `unit`.

        Raises:
            InputError: both or neither of spacing and rate, or numbers that are not above zero.
        """
        return self.at(Scale.of(spacing, unit, rate, len(self.input_shape)))

    def at(self, scale: Scale | None) -> Result:
        """The same result at a scale."""
        return self if scale is None else replace(self, theoretical=replace(self.theoretical, scale=scale))

    @property
    def physical(self) -> PhysicalResult:
        """The result's numbers in physical units: sizes, stride, centers, boxes.

        Raises:
            InputError: nobody said how far apart positions are.
        """
        return PhysicalResult(self, self.theoretical.known_scale)

    def plot(self, unit: int = 0, photo: Any = None, **options: Any) -> Any:
        """A figure of one unit's map over a photo with its profiles; see `jaxrf.report.figures.plot`.

        With `ax=`, the map alone on these axes, which are returned.
        """
        from jaxrf.report import figures

        return figures.plot(self, unit, photo, **options)

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> Path:
        """Write the result: a folder (Zarr v3), or a file where `path` ends in .npz or .nc. Returns the absolute path.

        Raises:
            StoreError: something else is there, or a result and `overwrite` is False; or the disk refuses.
        """
        return store.save(path, record(self), overwrite)

    def to_xarray(self) -> xarray.Dataset:
        """The result as an xarray dataset, with the centers, the names of the axes and the header as attributes."""
        from jaxrf.store.netcdf_file import dataset

        data = dataset(record(self))
        return data.assign(center=(("unit", "axis"), self.center)).assign_coords(
            axis=list(axis_names(len(self.input_shape)))
        )

    def __repr__(self) -> str:
        return describe(self)

    def _repr_html_(self) -> str:
        lines = map(str.strip, describe(self).removeprefix("Result: ").splitlines())
        return facts("Result", zip(("map", "made with", "field"), lines))


def load(path: str | os.PathLike[str]) -> Result:
    """Read a result that `Result.save` wrote.

    Raises:
        StoreError: nothing is there, or what is there is foreign, damaged or newer than this version of jaxrf.
    """
    found = store.load(path)
    try:
        arrays = {name: found.variables[name].data for name in ARRAYS}
        arrays |= {name: found.variables[name].data for name in OPTIONAL if name in found.variables}
        numbers = {name: found.header[name] for name in NUMBERS}
        kept = {name: _groups(found, name, facts) for name, facts in found.header["groups"].items()}
        return Result(**arrays, **numbers, groups=kept, theoretical=Row.from_dict(found.header["theoretical"]))
    except (KeyError, TypeError, InputError) as error:
        raise StoreError(f"{path} is damaged: {error} is missing or does not fit. Make it again.") from error


def _groups(found: store.Record, name: str, facts: Mapping[str, Any]) -> Groups:
    return groups.restore(facts, found.variables[f"{name}_count"].data, found.variables[f"{name}_total"].data)
