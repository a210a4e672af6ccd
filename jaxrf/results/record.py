"""A result as a record for the store, and in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxrf import store
from jaxrf.statistics import groups

ARRAYS = ("mean", "stderr", "origin", "units")
OPTIONAL = ("between", "within", "effective")
NUMBERS = ("count", "score", "channels", "input_shape", "dead", "nonfinite", "average", "provenance")


def axis_names(d: int) -> tuple[str, ...]:
    """Names of d spatial axes, the last being x."""
    return ("z", "y", "x")[3 - d :] if d <= 3 else tuple(f"axis_{a}" for a in range(d))


def record(result: Any) -> store.Record:
    """All of a result, as arrays with named axes and a header."""
    names = axis_names(len(result.input_shape))
    axes = dict.fromkeys(("mean", "stderr"), ("unit", *names))
    axes |= {"origin": ("unit", "axis"), "units": ("unit", "unit_axis")}
    variables = {name: store.Variable(axes[name], getattr(result, name)) for name in ARRAYS}
    for name in OPTIONAL:
        if (data := getattr(result, name)) is not None:
            variables[name] = store.Variable(("unit", *names)[: data.ndim], data)
    for name, kept in result.groups.items():
        axes = (f"{name}_block", "unit", *names)
        variables[f"{name}_count"] = store.Variable(axes[:2], kept.counts())
        variables[f"{name}_total"] = store.Variable(axes, kept.totals())
    header = {name: getattr(result, name) for name in NUMBERS}
    described = {name: groups.describe(kept) for name, kept in result.groups.items()}
    return store.Record(variables, {**header, "groups": described, "theoretical": result.theoretical.to_dict()})


def describe(result: Any) -> str:
    """Units, samples and sizes, in three lines."""
    n, row = len(result.units), result.theoretical
    shape, size, extent = (" x ".join(map(str, s)) for s in (result.mean.shape[1:], row.size, result.input_shape))
    which = f"unit {tuple(result.units[0].tolist())}" if n == 1 else f"{n} units"
    lost = f", {result.dead} dead" * (result.dead > 0) + f", {result.nonfinite} non-finite" * (result.nonfinite > 0)
    if result.average == "weighted" and result.effective is not None and np.isfinite(result.effective).any():
        lost = f" worth {np.nanmin(result.effective):.3g}" * (result.count > 1) + lost
    physical = "" if row.scale is None else f" ({' x '.join(f'{n:g}' for n in row.physical.size)} {row.scale.unit})"
    return (
        f"Result: {which} of {row.name!r}, map{'s' * (n > 1)} of {shape} positions\n"
        f"  score {result.score!r}, channels {result.channels!r}, {result.count} sample{'s' * (result.count != 1)}{lost}\n"
        f"  theoretical size {size}{physical} on an input of {extent}"
    )
