"""Pooling of channels-first arrays: windows, and windows that a size of the output asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.adapters.aten.graph import rules
from jaxrf.adapters.aten.resizing import along

Array = Any


def _windows(x: Array, axes: int, window: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> dict[str, Any]:
    """Arguments of `lax.reduce_window` for the last axes.

    With `ceil`, windows that begin inside of the padded array count, even where they end outside.
    """
    window, padding, dilation = (_each(one, axes) for one in (window, padding, dilation))
    stride = _each(stride, axes) if stride not in (None, [], ()) else window
    sides = []
    for size, k, s, p, d in zip(x.shape[-axes:], window, stride, padding, dilation):
        reach = d * (k - 1) + 1
        count = (size + 2 * p - reach) // s + 1
        if ceil and count * s + reach > size + 2 * p and count * s < size + p and (size + 2 * p - reach) % s:
            count += 1
        sides.append((p, max((count - 1) * s + reach - size - p, -size)))
    lead = x.ndim - axes
    return {
        "window_dimensions": (1,) * lead + tuple(window),
        "window_strides": (1,) * lead + tuple(stride),
        "padding": ((0, 0),) * lead + tuple(sides),
        "window_dilation": (1,) * lead + tuple(dilation),
    }


def _each(value: Any, axes: int) -> list[int]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values * axes if len(values) == 1 else values


def _max_pool(axes: int) -> Any:
    def pool(
        x: Array, window: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil: bool = False
    ) -> Array:
        """The largest of each window."""
        how = _windows(x, axes, window, stride, padding, dilation, ceil)
        return lax.reduce_window(x, np.asarray(-np.inf, x.dtype), lax.max, **how)

    return pool


def _avg_pool(axes: int) -> Any:
    def pool(
        x: Array, window: Any, stride: Any = None, padding: Any = 0, ceil: bool = False, include: bool = True,
        divisor: int | None = None,
    ) -> Array:  # fmt: skip
        """The mean of each window; the padding counts, but not what `ceil` adds to it."""
        how = _windows(x, axes, window, stride, padding, 1, ceil)
        total = lax.reduce_window(x, np.zeros((), x.dtype), lax.add, **how)
        if divisor is not None:
            return total / divisor
        for axis, counts in enumerate(_counts(x.shape[-axes:], how, _each(padding, axes), include)):
            shape = (-1, *(1,) * (axes - 1 - axis))
            total = total / (counts[0] if np.ptp(counts) == 0 else counts.reshape(shape).astype(x.dtype))
        return total

    return pool


def _counts(sizes: Sequence[int], how: Any, padding: Sequence[int], include: bool) -> list[np.ndarray]:
    """How many positions of each window count, along each axis."""
    axes = len(sizes)
    found = []
    last = (how[name][-axes:] for name in ("window_dimensions", "window_strides", "padding"))
    for size, k, s, (lo, hi), p in zip(sizes, *last, padding):
        starts = np.arange((lo + size + hi - k) // s + 1) * s - lo
        least, most = (-p, size + p) if include else (0, size)
        found.append(np.minimum(starts + k, most) - np.maximum(starts, least))
    return found


for _axes in (1, 2, 3):
    _pool = _max_pool(_axes)
    rules.register(f"max_pool{_axes}d")(_pool)
    rules.register(f"max_pool{_axes}d_with_indices")(lambda *args, pool=_pool: (pool(*args), None))
    rules.register(f"avg_pool{_axes}d")(_avg_pool(_axes))


@rules.register("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def adaptive_avg_pool(x: Array, output_size: Any) -> Array:
    """Means of as many windows as the output has positions; they may overlap by one."""
    sizes = list(output_size) if isinstance(output_size, list | tuple) else [output_size]
    first = x.ndim - len(sizes)
    whole = tuple(first + i for i, size in enumerate(sizes) if size == 1)
    x = jnp.mean(x, whole, keepdims=True) if whole else x
    for axis, size in enumerate(sizes, start=first):
        if size not in (1, x.shape[axis]):
            x = _means(x, axis, size)
    return x


def _means(x: Array, axis: int, size: int) -> Array:
    length = x.shape[axis]
    if length % size == 0:
        return jnp.mean(x.reshape(*x.shape[:axis], size, length // size, *x.shape[axis + 1 :]), axis + 1)
    matrix = np.zeros((size, length))
    for row in range(size):
        lo, hi = row * length // size, -(-(row + 1) * length // size)
        matrix[row, lo:hi] = 1 / (hi - lo)
    return along(x, matrix, axis)


@rules.register("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(x: Array, output_size: Any) -> tuple[Array, None]:
    """The largest of as many windows as the output has positions; equal ones share the derivative."""
    sizes = list(output_size) if isinstance(output_size, list | tuple) else [output_size]
    for axis, size in enumerate(sizes, start=x.ndim - len(sizes)):
        length = x.shape[axis]
        ends = [(row * length // size, -(-(row + 1) * length // size)) for row in range(size)]
        parts = [jnp.max(lax.slice_in_dim(x, lo, hi, axis=axis), axis, keepdims=True) for lo, hi in ends]
        x = jnp.concatenate(parts, axis)
    return x, None
