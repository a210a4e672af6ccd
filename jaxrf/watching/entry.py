"""One recorded step of one layer: a result as arrays of fixed shapes, and back; and its numbers with errors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.geometry.row import Row
from jaxrf.results.result import Result
from jaxrf.statistics.groups import EVERY, Block, Groups
from jaxrf.store import Variable

MEASURES: dict[str, tuple[str, dict[str, Any]]] = {
    "sigma": ("sigma", {}),
    "size": ("size_luo2016", {}),
    "area_ratio": ("area_ratio", {"share": 0.5}),
}
"""What is told of each step, by the name that writers get: a measure and its options."""
STATIC = ("score", "channels", "input_shape", "average")


def numbers(result: Result) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values and standard errors over images, (unit,) or (unit, axis); NaN where they are not defined or not known."""
    found = {}
    for name, (measure, options) in MEASURES.items():
        shape = (len(result.units), len(result.input_shape)) if name == "sigma" else (len(result.units),)
        value = error = np.full(shape, np.nan)
        try:
            value = np.asarray(result.measure(measure, **options), float)
            if result.groups and np.isfinite(value).all():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that there are few images is known to who chose them
                    error = np.asarray(result.interval(measure, **options).stderr, float)
        except InputError:  # signed scores, or units without a center: they have maps, and not this number
            pass
        found[name] = value, error
    return found


def arrays(result: Result, blocks: int, step: int) -> dict[str, Variable]:
    """A result as one entry with the number of its step; `blocks` is how many sums by image there may be."""
    axes = tuple(f"axis_{a}" for a in range(len(result.input_shape)))
    kept = result.groups.get("images", Groups(blocks))
    known = kept.seen == 2**kept.levels - 1 and len(kept.blocks) <= blocks  # those that were counted without gaps
    count, total = np.zeros((blocks, len(result.units)), np.int64), np.zeros((blocks, *result.mean.shape))
    for key, block in kept.blocks.items() if known else ():
        count[key], total[key] = block.count, block.total
    entry = {
        "step": Variable((), np.asarray(step, np.int64)),
        "mean": Variable(("unit", *axes), result.mean),
        "stderr": Variable(("unit", *axes), result.stderr),
        "images_count": Variable(("block", "unit"), count),
        "images_total": Variable(("block", "unit", *axes), total),
    }
    facts = {"count": result.count, "dead": result.dead, "nonfinite": result.nonfinite, "images": known * kept.levels}
    entry |= {name: Variable((), np.asarray(value, np.int64)) for name, value in facts.items()}
    for name, pair in numbers(result).items():
        along = ("unit", "axis")[: pair[0].ndim]
        entry |= {name: Variable(along, pair[0]), f"{name}_error": Variable(along, pair[1])}
    return entry


def header(result: Result) -> dict[str, Any]:
    """What is the same at each step."""
    own = {name: getattr(result, name) for name in STATIC}
    places = {"origin": result.origin, "units": result.units, "theoretical": result.theoretical.to_dict()}
    return {**own, **places, "provenance": result.provenance}


def restored(said: Mapping[str, Any], entry: Mapping[str, np.ndarray]) -> Result:
    """The result of `header` and of the arrays of one entry."""
    levels, limit = int(entry["images"]), len(entry["images_count"])
    groups = {}
    if levels > 1:
        keys = range(min(levels, limit))
        blocks = {key: Block(entry["images_count"][key], entry["images_total"][key]) for key in keys}
        groups["images"] = Groups(limit, 2**levels - 1, EVERY if levels <= limit else limit, blocks)
    return Result(
        mean=entry["mean"],
        stderr=entry["stderr"],
        origin=np.asarray(said["origin"]),
        units=np.asarray(said["units"]),
        theoretical=Row.from_dict(said["theoretical"]),
        provenance=said["provenance"],
        groups=groups,
        **{name: int(entry[name]) for name in ("count", "dead", "nonfinite")},
        **{name: said[name] for name in STATIC},
    )
