"""Rows whose fields come from index sets, for tests that need a row and no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Continuation, Field, Paths
from jaxrf.geometry.row import Row
from tests.geometry.index_sets import Graph, Step, endless, evaluate, hulls


def bounds(intervals: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Intervals as `lo` and `hi`, the empty ones as a field has them."""
    lo, hi = (np.array(ends, np.int64) for ends in zip(*intervals, strict=True))
    return np.where(lo < hi, lo, EMPTY_LO), np.where(lo < hi, hi, EMPTY_HI)


def along(array: np.ndarray, axis: int, rank: int) -> np.ndarray:
    return array.reshape([-1 if a == axis else 1 for a in range(rank)])


def made_field(
    graph: Graph, size: int, axis: int = 0, rank: int = 1, period: int = 1, step: int = 1, paths: Paths | None = None
) -> Field:
    """The field of a graph on one axis; the continuation repeats `period` units every `step` positions."""
    lo, hi = bounds(hulls(evaluate(graph, size)))
    far = 200 // step + 1
    on_lo, on_hi = bounds(endless(graph, size, range(period), period, step, far))
    endless_field = Continuation(axis, period, step, along(on_lo, axis, rank), along(on_hi, axis, rank))
    return Field(size, along(lo, axis, rank), along(hi, axis, rank), endless_field, paths)


def image_row(
    graph: Graph, sizes: Sequence[int], channels: int = 4, period: int = 1, step: int = 1, **attributes
) -> Row:
    """A row of an image-like layer: the same graph on every axis."""
    rank = len(sizes)
    fields = tuple(made_field(graph, n, a, rank, period, step) for a, n in enumerate(sizes))
    unit_shape = tuple(one.lo.size for one in fields)
    values = {"name": "layer", "kind": "Conv", "parameters": 0} | attributes
    return Row(shape=(*unit_shape, channels), unit_shape=unit_shape, fields=fields, **values)


def whole_field(extent: int, rank: int, cause: str = "mean (reduce_sum)") -> Field:
    """Every unit sees the whole axis."""
    return Field(extent, np.zeros((1,) * rank, np.int64), np.full((1,) * rank, extent, np.int64), global_cause=cause)


def token_row(patch: int, rows: int, columns: int) -> Row:
    """Patches of an image in one list: (rows * columns,) tokens, row by row."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    turn = np.arange(columns)
    fields = (
        Field(
            patch * rows,
            patch * y,
            patch * y + patch,
            Continuation(0, columns, patch, 0 * turn, 0 * turn + patch),
        ),
        Field(
            patch * columns,
            patch * x,
            patch * x + patch,
            Continuation(0, columns, 0, patch * turn, patch * turn + patch),
        ),
    )
    return Row("tokens", "Embed", (rows * columns, 8), (rows * columns,), fields)


STEM: Graph = (
    Step("conv", options={"kernel": 7, "stride": 2, "padding": (3, 3)}),
    Step("conv", options={"kernel": 3, "stride": 2, "padding": (1, 1)}),
)
