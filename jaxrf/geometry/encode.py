"""Rows as JSON-able values, and back without loss.

Derived numbers are written for readers in other languages and ignored when read back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.geometry.field import Aside, Continuation, Field, Paths
from jaxrf.geometry.layer_field import LayerField


def encoded(row: LayerField) -> dict[str, Any]:
    """All of the row's attributes, and its summary; its density where that has been asked for."""
    return {
        "name": row.name,
        "kind": row.kind,
        "shape": list(row.shape),
        "unit_shape": list(row.unit_shape),
        "parameters": row.parameters,
        "flops": row.flops,
        "flops_so_far": row.flops_so_far,
        "exact": row.exact,
        "notes": list(row.notes),
        "global_axes": list(row.global_axes),
        "global_cause": dict(row.global_cause),
        "density": row.__getstate__()["counted"],
        **{name: number(value) for name, value in summary(row).items()},
        "fields": [_encode_field(one) for one in row.fields],
    }


def summary(row: LayerField) -> dict[str, Any]:
    """The derived numbers of a row; those of the center unit are None where the layer has no units."""
    some = 0 not in row.unit_shape
    return {
        "input_shape": row.input_shape,
        "size": row.size,
        "sizes": row.sizes,
        "min_size": row.min_size,
        "stride": row.stride,
        "padding": row.padding,
        "period": row.period,
        "center_unit": row.center_unit if some else None,
        "center": row.center(row.center_unit) if some else None,
        "share": row.share if some else None,
        "halo": row.halo(),
        "halo_unaligned": row.halo(aligned=False),
        "smallest_input": row.smallest_input,
        "aligned": row.aligned,
        "unproductive": row.unproductive,
    }


def number(value: Any) -> Any:
    """Fractions as "numerator/denominator", nan as None, tuples as lists."""
    if isinstance(value, tuple):
        return [number(v) for v in value]
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def decoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the row that `encoded` wrote.

    Raises:
        InputError: an entry is missing or of the wrong kind.
    """
    try:
        return {
            "name": values["name"],
            "kind": values["kind"],
            "shape": tuple(values["shape"]),
            "unit_shape": tuple(values["unit_shape"]),
            "fields": tuple(_decode_field(one) for one in values["fields"]),
            "parameters": values["parameters"],
            # Before there were two, the one number was of all that leads to the layer.
            "flops": values["flops"] if "flops_so_far" in values else None,
            "flops_so_far": values.get("flops_so_far", values["flops"]),
            "exact": values["exact"],
            "notes": tuple(values["notes"]),
            "global_axes": tuple(values["global_axes"]),
            "global_cause": dict(values["global_cause"]),
            "counted": values.get("density"),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"These values are not a row of a table: {type(error).__name__}: {error}. "
            "Pass what Row.to_dict() or Table.to_json() gave."
        ) from error


def _encode_field(one: Field) -> dict[str, Any]:
    p = one.paths
    return {
        "extent": one.extent,
        "lo": _encode_array(one.lo),
        "hi": _encode_array(one.hi),
        "continuation": _encode_continuation(one.continuation),
        "paths": None
        if p is None
        else {
            "stride": str(p.stride),
            "center_lo": str(p.center_lo),
            "center_hi": str(p.center_hi),
            "min_size": str(p.min_size),
            "aligned": p.aligned,
        },
        "global_cause": one.global_cause,
        "local": None if one.local is None else [_encode_field(part) for part in one.local],
        "aside": None if one.aside is None else {"endless": _encode_continuation(one.aside.endless)},
    }


def _encode_continuation(c: Continuation | None) -> dict[str, Any] | None:
    if c is None:
        return None
    return {"axis": c.axis, "period": c.period, "step": c.step, "lo": _encode_array(c.lo), "hi": _encode_array(c.hi)}


def _decode_field(values: Mapping[str, Any]) -> Field:
    p, aside = values["paths"], values.get("aside")
    return Field(
        extent=values["extent"],
        lo=_decode_array(values["lo"]),
        hi=_decode_array(values["hi"]),
        continuation=_decode_continuation(values["continuation"]),
        paths=None
        if p is None
        else Paths(
            Fraction(p["stride"]),
            Fraction(p["center_lo"]),
            Fraction(p["center_hi"]),
            Fraction(p["min_size"]),
            p["aligned"],
        ),
        global_cause=values["global_cause"],
        local=_decode_local(values),
        aside=None if aside is None else Aside(_decode_continuation(aside["endless"])),
    )


def _decode_continuation(c: Mapping[str, Any] | None) -> Continuation | None:
    if c is None:
        return None
    return Continuation(c["axis"], c["period"], c["step"], _decode_array(c["lo"]), _decode_array(c["hi"]))


def _decode_local(values: Mapping[str, Any]) -> tuple[Field, ...] | None:
    """The local parts; what was written before there were any knows none for a field that is global."""
    if "local" in values:
        return None if values["local"] is None else tuple(map(_decode_field, values["local"]))
    return () if values["continuation"] is None and values["global_cause"] is not None else None


def _encode_array(array: np.ndarray) -> dict[str, Any]:
    array = np.asarray(array, np.int64)
    return {"shape": list(array.shape), "values": array.ravel().tolist()}


def _decode_array(values: Mapping[str, Any]) -> np.ndarray:
    return np.array(values["values"], np.int64).reshape(values["shape"])
