"""Resizing of the last axes: a matrix for each axis, known while tracing, so that its zeros are seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrf.adapters.aten.graph import rules

Array = Any


def along(x: Array, matrix: np.ndarray, axis: int) -> Array:
    """A matrix (outputs, inputs) times one axis."""
    letters = list(range(x.ndim))
    result = [x.ndim if letter == axis else letter for letter in letters]
    return jnp.einsum(x, letters, matrix.astype(x.dtype), [x.ndim, axis], result)


def _sizes(x: Array, output_size: Any, factors: Sequence[Any]) -> list[tuple[int, int, float | None]]:
    """For each of the last axes: axis, size of the output, how far apart outputs are in inputs, if that was said."""
    axes = len(output_size) if output_size else len(factors)
    by_axis: list[Any] = list(factors) or [None] * axes
    found = []
    for i, axis in enumerate(range(x.ndim - axes, x.ndim)):
        size = output_size[i] if output_size else int(np.floor(x.shape[axis] * by_axis[i]))
        found.append((axis, size, 1 / by_axis[i] if by_axis[i] else None))
    return found


def _said(args: tuple[Any, ...]) -> Sequence[Any]:
    """Factors, which come as one list or as several numbers; none or None if they were not said."""
    flat = [one for arg in args for one in (arg if isinstance(arg, list | tuple) else [arg])]
    return [] if all(one is None for one in flat) else flat


def _step(length: int, size: int, apart: float | None, align: bool) -> float:
    if align:
        return (length - 1) / (size - 1) if size > 1 else 0.0
    return length / size if apart is None else apart


def _matrix(
    length: int, size: int, step: float, align: bool, weights: Any, taps: Sequence[int], clip: bool
) -> np.ndarray:
    """Rows of an interpolation: `weights` of the fraction at the positions `taps` from its floor, held at the ends."""
    at = np.arange(size) * step if align else (np.arange(size) + 0.5) * step - 0.5
    at = np.maximum(at, 0) if clip else at
    floor = np.floor(at).astype(int)
    matrix = np.zeros((size, length))
    for tap, weight in zip(taps, weights(at - floor)):
        np.add.at(matrix, (np.arange(size), np.clip(floor + tap, 0, length - 1)), weight)
    return matrix


def _linear(t: np.ndarray) -> list[np.ndarray]:
    return [1 - t, t]


def _cubic(t: np.ndarray, a: float = -0.75) -> list[np.ndarray]:
    """Keys' kernel at the four positions around."""
    return [_keys(np.abs(t - tap), a) for tap in (-1, 0, 1, 2)]


def _keys(d: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


@rules.register("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
def upsample_linear(x: Array, output_size: Any, align_corners: bool, *factors: Any) -> Array:
    """Linear interpolation along each axis."""
    for axis, size, apart in _sizes(x, output_size, _said(factors)):
        step = _step(x.shape[axis], size, apart, align_corners)
        x = along(x, _matrix(x.shape[axis], size, step, align_corners, _linear, (0, 1), True), axis)
    return x


@rules.register("upsample_bicubic2d")
def upsample_bicubic(x: Array, output_size: Any, align_corners: bool, *factors: Any) -> Array:
    """Cubic interpolation along each axis."""
    for axis, size, apart in _sizes(x, output_size, _said(factors)):
        step = _step(x.shape[axis], size, apart, align_corners)
        x = along(x, _matrix(x.shape[axis], size, step, align_corners, _cubic, (-1, 0, 1, 2), False), axis)
    return x


def _smooth(x: Array, output_size: Any, align: bool, factors: Any, reach: float, kernel: Any) -> Array:
    """Interpolation whose kernel grows with the step, so that nothing is passed over."""
    for axis, size, apart in _sizes(x, output_size, _said(factors)):
        length = x.shape[axis]
        step = _step(length, size, apart, align)
        wide = max(step, 1.0)
        centers = step * (np.arange(size) + 0.5)
        distance = (np.arange(length)[None] - centers[:, None] + 0.5) / wide
        lo = np.maximum((centers - reach * wide + 0.5).astype(int), 0)
        hi = np.minimum((centers + reach * wide + 0.5).astype(int), length)
        inside = (np.arange(length) >= lo[:, None]) & (np.arange(length) < hi[:, None])
        matrix = np.where(inside, kernel(np.abs(distance)), 0.0)
        x = along(x, matrix / matrix.sum(1, keepdims=True), axis)
    return x


@rules.register("_upsample_bilinear2d_aa")
def upsample_bilinear_smooth(x: Array, output_size: Any, align_corners: bool, *factors: Any) -> Array:
    """Linear interpolation without aliasing."""
    return _smooth(x, output_size, align_corners, factors, 1.0, lambda d: np.maximum(1 - d, 0))


@rules.register("_upsample_bicubic2d_aa")
def upsample_bicubic_smooth(x: Array, output_size: Any, align_corners: bool, *factors: Any) -> Array:
    """Cubic interpolation without aliasing."""
    return _smooth(x, output_size, align_corners, factors, 2.0, lambda d: _keys(d, -0.5))


def _nearest(x: Array, output_size: Any, factors: Any, offset: float) -> Array:
    for axis, size, apart in _sizes(x, output_size, _said(factors)):
        step = _step(x.shape[axis], size, apart, False)
        at = np.minimum(((np.arange(size) + offset) * np.float32(step)).astype(int), x.shape[axis] - 1)
        x = jnp.take(x, at, axis=axis)
    return x


@rules.register("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def upsample_nearest(x: Array, output_size: Any, *factors: Any) -> Array:
    """The position at or before each one."""
    return _nearest(x, output_size, factors, 0.0)


@rules.register("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d")
def upsample_nearest_exact(x: Array, output_size: Any, *factors: Any) -> Array:
    """The nearest position to the middle of each one."""
    return _nearest(x, output_size, factors, 0.5)
