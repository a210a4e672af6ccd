"""Windows laid into larger or smaller ones, and zeros outside of their arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.engine.windows import Starts
from jaxrf.primitives.rule import Span, Spans


def mask(ct: jax.Array, spans: Spans, axes: tuple[int, ...], starts: Starts, table: jax.Array) -> jax.Array:
    """Zeros outside the array, along those of `axes` on which some window leaves it."""
    for axis in axes:
        span = spans[axis]
        assert span.start is not None
        lo, hi = starts.bounds(span.start)
        if lo >= 0 and hi + span.size <= span.extent:
            continue
        at = table[span.start][:, None] + jnp.arange(span.size, dtype=table.dtype)
        inside = ((at >= 0) & (at < span.extent)).reshape(
            (-1,) + tuple(span.size if a == axis else 1 for a in range(len(spans)))
        )
        ct = jnp.where(inside, ct, jnp.zeros((), ct.dtype))
    return ct


def place(ct: jax.Array, natural: Spans, region: Spans, starts: Starts, table: jax.Array) -> jax.Array:
    """Lay windows, or whole axes, into windows that hold what is needed of them; what lies outside of those is dropped."""
    moved: list[tuple[int, Span, Span]] = []
    config = [(0, 0, 0)] * ct.ndim
    for axis, (small, large) in enumerate(zip(natural, region)):
        if small.start == large.start and small.size == large.size:
            continue
        low, high = _offsets(small, large, starts)
        if small.size == 1 and low < high:
            ct = _alone(ct, axis + 1, large.size, _start(small, table) - _start(large, table))
        elif low == high:
            config[axis + 1] = (low, large.size - small.size - low, 0)
        else:
            moved.append((axis, small, large))
            config[axis + 1] = (max(high, 0), max(large.size - small.size - low, 0), 0)
    if any(c != (0, 0, 0) for c in config):
        ct = lax.pad(ct, jnp.zeros((), ct.dtype), config)
    if not moved:
        return ct
    sizes = [*ct.shape[1:]]
    begins = [jnp.zeros(table.shape[1], table.dtype)] * len(sizes)
    for axis, small, large in moved:
        sizes[axis] = large.size
        shift = _start(small, table) - _start(large, table)
        begins[axis] = config[axis + 1][0] - shift
    return jax.vmap(lambda a, s: lax.dynamic_slice(a, s, sizes))(ct, jnp.stack(begins, axis=1))


def _alone(ct: jax.Array, axis: int, size: int, places: jax.Array) -> jax.Array:
    """The one position along `axis` at its place (units,) among `size`; nowhere if that is not among them."""
    at = lax.broadcasted_iota(places.dtype, (1,) * axis + (size,) + (1,) * (ct.ndim - 1 - axis), axis)
    return jnp.where(at == places.reshape(-1, *(1,) * (ct.ndim - 1)), ct, jnp.zeros((), ct.dtype))


def _offsets(small: Span, large: Span, starts: Starts) -> tuple[int, int]:
    """Smallest and largest position of the small windows in the large ones, over all units."""
    shift = np.asarray(_start(small, starts.rows) - _start(large, starts.rows))
    return int(shift.min()), int(shift.max())


def _start(span: Span, rows: Any) -> Any:
    """Where the windows begin, one number per unit; 0 for a whole axis."""
    return 0 if span.start is None else rows[span.start]
