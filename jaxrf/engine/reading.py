"""Windows of arrays for a batch of units: slice by slice, or by rows and columns.

A slice for each unit is a pass of a loop on a TPU. Where a batch is a product, the windows of all its rows are read
along one axis, and then those of all its columns along the other. Of a mask, 32 rows are bits of one number: a window of
so many rows is one row of numbers, which are taken apart where the mask is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import lax

from jaxrf.engine.batches import Batches
from jaxrf.engine.windows import Starts
from jaxrf.primitives.rule import Spans

WORD = 32
"""Rows of a mask in one number: 17x17 positions of 256 features, and the product behind, cost a fifth so on a TPU."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Batches of units that are products, as a reader of windows sees them.

    Attributes:
        shape: of a batch.
        along: rows of the table of starts, and the axis of a batch that they depend on; None for no axis.
    """

    shape: tuple[int, ...]
    along: Mapping[int, int | None]

    def starts(self, table: jax.Array, row: int) -> jax.Array:
        """One start for each place on the axis that a row depends on, or one for all."""
        axis = self.along[row]
        at = tuple(slice(None) if k == axis else 0 for k in range(len(self.shape)))
        return table[row].reshape(self.shape)[at]

    def fit(self, spans: Spans) -> bool:
        """Whether the windows are cut along one axis at a time: no two of their axes move with the same one."""
        moving = [span.start for span in spans if span.start is not None]
        axes = [self.along[row] for row in moving if row in self.along]
        driven = [axis for axis in axes if axis is not None]
        return len(axes) == len(moving) and len(set(driven)) == len(driven)


def lines(batches: Batches, starts: Starts) -> Lines:
    """What the units of each batch have in common: rows whose starts depend on two axes of it are left out."""
    along: dict[int, int | None] = {}
    for number, row in enumerate(starts.rows):
        found = row[batches.numbers].reshape(-1, *batches.shape)
        varying = [k for k in range(len(batches.shape)) if (found != found.take([0], axis=k + 1)).any()]
        if len(varying) < 2:
            along[number] = varying[0] if varying else None
    return Lines(batches.shape, along)


def windows_of(array: jax.Array, spans: Spans, table: jax.Array, margins: list[int], way: Lines | None) -> jax.Array:
    """Windows (unit, *sizes) of an array (*shape) at their starts, which `margins` were put before.

    Args:
        array: what is read.
        spans: of the windows.
        table: of starts (row, unit).
        margins: how many positions were put before each axis.
        way: how a batch is a product; None where it is not, or where slices are quicker.
    """
    if way is None or not way.fit(spans):
        return slices(array, spans, table, margins)
    axes: list[int] = []  # of the batch, in the order in which they were read
    places: list[int] = []  # of these axes in what was read; those of the array are the others
    for axis, (span, margin) in enumerate(zip(spans, margins)):
        if span.start is None:
            continue
        starts, at, along = way.starts(table, span.start) + margin, axis + len(axes), way.along[span.start]
        if along is None:
            array = lax.dynamic_slice_in_dim(array, starts, span.size, axis=at)
        else:
            index = starts[:, None] + jnp.arange(span.size, dtype=starts.dtype)
            array = array.at[(slice(None),) * at + (index,)].get(mode="promise_in_bounds")
            axes.append(along)
            places.append(at)
    others = [a for a in range(array.ndim) if a not in places]
    array = array.transpose(*(places[axes.index(k)] for k in sorted(axes)), *others)
    sizes = array.shape[len(axes) :]
    array = array.reshape(*(n if k in axes else 1 for k, n in enumerate(way.shape)), *sizes)
    return jnp.broadcast_to(array, (*way.shape, *sizes)).reshape(-1, *sizes)


def bits_of(words: jax.Array, axis: int, spans: Spans, table: jax.Array, margins: list[int], way: Lines) -> jax.Array:
    """Windows (unit, *sizes) of a mask whose `words` along `axis` are given; the rest as in `windows_of`."""
    size, parts = spans[axis].size, []
    rows = tuple(replace(span, size=1) if a == axis else span for a, span in enumerate(spans))
    for first in range(0, size, WORD):
        begin = [m + first if a == axis else m for a, m in enumerate(margins)]
        bit = jnp.arange(min(WORD, size - first), dtype=words.dtype).reshape(-1, *(1,) * (len(spans) - 1 - axis))
        parts.append((windows_of(words, rows, table, begin, way) >> bit) & 1 == 1)
    return jnp.concatenate(parts, axis=axis + 1)


def words_of(mask: jax.Array, axis: int) -> jax.Array:
    """Numbers whose bit b at position p says whether the mask is set at position p + b along `axis`; none behind its end.

    >>> words_of(jnp.array([True, False, True]), 0).tolist()
    [5, 2, 1]
    """
    words, width = mask.astype(jnp.uint32), 1
    while width < WORD:
        amounts = [(-width, width, 0) if a == axis else (0, 0, 0) for a in range(mask.ndim)]
        words, width = words | (lax.pad(words, jnp.uint32(0), amounts) << width), 2 * width
    return words


def slices(array: jax.Array, spans: Spans, table: jax.Array, margins: list[int]) -> jax.Array:
    """Windows of `array` (*shape), a slice for each unit."""
    zero = jnp.zeros(table.shape[1], table.dtype)
    starts = [zero if span.start is None else table[span.start] + m for span, m in zip(spans, margins)]
    sizes = tuple(span.size for span in spans)
    return jax.vmap(lambda s: lax.dynamic_slice(array, s, sizes))(jnp.stack(starts, axis=1))
