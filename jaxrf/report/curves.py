"""Curves of several results: profiles through their centers, and a measure over depth, steps or anything else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxrf.errors import InputError, unknown
from jaxrf.report.alike import check_alike, named
from jaxrf.report.canvas import new_figure
from jaxrf.report.drawn import MapsOfUnits
from jaxrf.report.scales import DECADES
from jaxrf.report.view import figure_text, view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito (2008): told apart by color-blind readers; line styles tell them apart in gray.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^vPX"


def plot_profiles(
    results: Mapping[str, MapsOfUnits] | Sequence[MapsOfUnits],
    *,
    unit: int = 0,
    axis: int = -1,
    scale: str = "log",
    ax: Axes | None = None,
) -> Axes:
    """Profiles of several maps through their units' centers, each over its peak, with a band of one standard error.

    Args:
        results: by name; a sequence is named by layers.
        unit: number of the unit in each result.
        axis: spatial axis along which the profiles run; the last is x.
        scale: "log" or "linear", of the y axis.
        ax: matplotlib axes to draw on; new ones if None.

    Returns:
        The axes: offset from the center in input positions on x.

    Raises:
        InputError: no results, results that cannot be compared, no such unit or axis.
        UnknownNameError: another scale.
    """
    if scale not in ("log", "linear"):
        raise unknown("scale", scale, ("log", "linear"))
    found = named(results)
    check_alike(found)
    ax = new_figure(6.4, 3.8).subplots() if ax is None else ax
    floor = 10.0**-DECADES / 10 if scale == "log" else -np.inf
    ends: list[float] = []
    for i, (name, result) in enumerate(found.items()):
        shown = view(result, unit)
        dims = shown.values.ndim
        if not -dims <= axis < dims:
            raise InputError(
                f"{name!r} has {dims} spatial axes, and axis={axis} was asked for. Use {-dims} to {dims - 1}."
            )
        value, error = shown.profile(axis % dims)
        at = shown.positions(axis % dims) - shown.center[axis % dims]
        color, style = COLORS[i % len(COLORS)], STYLES[i // len(COLORS) % len(STYLES)]
        ends += (
            at[value > max(floor, 0.0)][[0, -1]].tolist() if (value > max(floor, 0.0)).any() else at[[0, -1]].tolist()
        )
        low, high = np.maximum(value - error, floor), np.maximum(value + error, floor)
        ax.fill_between(at, low, high, color=color, alpha=0.2, linewidth=0)
        ax.plot(at, np.maximum(value, floor), style, color=color, linewidth=1.3, label=figure_text(name))
    if scale == "log":
        ax.set_yscale("log")
        ax.set_ylim(10.0**-DECADES, 2)
    ax.set_xlim(1.05 * min(ends), 1.05 * max(ends))
    ax.set_xlabel("offset from the center (input positions)")
    ax.set_ylabel("mean score / peak")
    _finish(ax)
    return ax


def plot_measure(
    series: Mapping[str, Mapping[str | float, MapsOfUnits]] | Mapping[str | float, MapsOfUnits],
    *,
    measure: str = "sigma",
    unit: int = 0,
    axis: int = -1,
    level: float = 0.95,
    xlabel: str = "",
    ax: Axes | None = None,
) -> Axes:
    """A measure with its intervals over depth, layers, steps of training or whatever the results are called by.

    Args:
        series: results by number (depth, step) or by name (layer); or several such series by name, one curve each.
        measure: registered name of a measure with one number.
        unit: number of the unit in each result.
        axis: spatial axis of a measure that has one number for each, as sigma has; the last is x.
        level: nominal coverage of the bars; results without several samples have none.
        xlabel: what the numbers are, such as "depth".
        ax: matplotlib axes to draw on; new ones if None.

    Returns:
        The axes.

    Raises:
        InputError: no results, results that cannot be compared, or a measure that they do not have.
        UnknownNameError: there is no such measure.

    Example:
        >>> import jaxrf
        >>> from jaxrf import zoo
        >>> call = {"inputs": jaxrf.noise(1), "input_shape": (20, 20, 3), "seeds": 2}
        >>> ax = jaxrf.plot_measure({n: jaxrf.erf(zoo.conv_stack(depth=n, width=4), **call) for n in (1, 2, 4)})
        >>> ax.lines[0].get_xdata().tolist()
        [1.0, 2.0, 4.0]
    """
    nested = series and all(isinstance(one, Mapping) for one in series.values())
    curves: dict[str, dict] = {str(k): dict(v) for k, v in series.items()} if nested else {"": dict(series)}  # type: ignore[arg-type]
    every = [(f"{curve} {key}".strip(), one) for curve, results in curves.items() for key, one in results.items()]
    check_alike(named(dict(every)))
    keys = list(dict.fromkeys(key for results in curves.values() for key in results))
    numbers = all(isinstance(key, int | float | np.number) for key in keys)
    ax = new_figure(6.4, 3.8).subplots() if ax is None else ax
    for i, (name, results) in enumerate(curves.items()):
        at = [float(key) if numbers else keys.index(key) for key in results]
        value, low, high = np.array([_bar(one, measure, unit, axis, level) for one in results.values()]).T
        reach = np.nan_to_num(np.maximum([value - low, high - value], 0))
        color, marker = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]
        ax.errorbar(
            at,
            value,
            reach,
            fmt=f"-{marker}",
            color=color,
            markersize=4,
            capsize=2.5,
            linewidth=1.2,
            label=figure_text(name),
        )
    if not numbers:
        ax.set_xticks(range(len(keys)), [str(key) for key in keys], rotation=30, ha="right")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(f"{measure} ({level:.0%} intervals)")
    _finish(ax)
    return ax


def _bar(result: MapsOfUnits, measure: str, unit: int, axis: int, level: float) -> tuple[float, float, float]:
    """The value with the ends of its interval, NaN where there is none."""
    if not result.groups:
        return _number(result.measure(measure), unit, axis), np.nan, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few samples show as long bars
        found = result.interval(measure, level=level)
    value, low, high = (_number(one, unit, axis) for one in (found.value, found.low, found.high))
    return value, low, high


def _number(values: np.ndarray, unit: int, axis: int) -> float:
    """The number of one unit, along one axis where there is one for each."""
    one = np.asarray(values)[unit]
    return float(one[axis] if one.ndim else one)


def _finish(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    if any(label for label in ax.get_legend_handles_labels()[1]):
        ax.legend(frameon=False, fontsize=8)
