"""Mean and spread of maps per position, gathered in any order and from any split.

`init, update, merge, finalize`: `merge` is associative, and what `init` returns is its identity.
That law is what batches, devices, shards and resumed runs rest on.
What is made here is float64 on the host; the laws themselves, `of_batch` and `merge`, are those of the arrays that
they are given, NumPy's or JAX's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxrf.errors import InputError


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and sum of squared deviations of samples, per position.

    `count` is an array of integers that broadcasts against `mean`:
    one number, or one per unit where samples were left out for some units only.
    """

    count: Any
    mean: Any
    m2: Any

    def __repr__(self) -> str:
        low, high = np.min(self.count), np.max(self.count)
        return f"Moments(count={low if low == high else f'{low}..{high}'}, shape={self.mean.shape})"


def init(shape: Sequence[int]) -> Moments:
    """Moments of no samples, for maps of `shape`."""
    return Moments(np.zeros((), np.int64), np.zeros(shape), np.zeros(shape))


def update(moments: Moments, maps: np.ndarray, keep: np.ndarray | None = None) -> Moments:
    """Moments with the samples `maps` added.

    Args:
        moments: what was gathered so far, of maps of shape `shape`.
        maps: `(sample, *shape)`; any real dtype, summed in float64.
        keep: booleans `(sample, ...)` over leading axes of `maps`, such as `(sample, unit)`; False leaves that map out.

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> m = update(init((2,)), np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> mean, stderr = finalize(m)
        >>> mean.tolist(), stderr.tolist()
        ([2.0, 5.0], [1.0, 0.0])
    """
    maps = np.asarray(maps, np.float64)
    shape = moments.mean.shape
    if maps.shape[1:] != shape:
        raise InputError(
            f"Samples of shape {maps.shape[1:]} cannot be added to moments of shape {shape}. "
            f"Pass maps of shape (sample, {', '.join(map(str, shape))})."
        )
    return merge(moments, _of_all(maps) if keep is None else of_batch(maps, np.asarray(keep, bool)))


def _of_all(maps: np.ndarray) -> Moments:
    """Moments of the samples along the first axis."""
    if len(maps) == 1:
        return Moments(np.ones((), np.int64), maps[0], np.broadcast_to(np.zeros(()), maps.shape[1:]))
    mean = maps.mean(0) if len(maps) else np.zeros(maps.shape[1:])
    m2, drift, deviation = np.zeros_like(mean), np.zeros_like(mean), np.empty_like(mean)
    for sample in maps:  # one at a time in the same place: new memory for all of them would cost more than the sums
        drift += np.subtract(sample, mean, out=deviation)
        m2 += np.square(deviation, out=deviation)
    return Moments(np.asarray(len(maps), np.int64), mean, corrected(m2, drift, max(len(maps), 1)))


def of_batch(maps: Any, keep: Any) -> Moments:
    """Moments of the samples along the first axis that are kept; of NumPy's or of JAX's arrays.

    Args:
        maps: `(sample, *shape)`.
        keep: booleans `(sample, ...)` over leading axes of `maps`.
    """
    xp = maps.__array_namespace__()
    if keep.shape != maps.shape[: keep.ndim]:
        raise InputError(
            f"keep has shape {keep.shape}, but the samples have shape {maps.shape}. "
            "keep needs the leading axes of the samples, such as (sample, unit)."
        )
    trailing = (1,) * (maps.ndim - keep.ndim)
    count = xp.asarray(keep.sum(0))
    if keep.ndim > 1:
        count = count.reshape(count.shape + trailing)
    weight = keep.reshape(keep.shape + trailing)
    maps = xp.where(weight, maps, 0.0)
    size = xp.maximum(count, 1)
    mean = maps.sum(0) / size
    deviations = xp.where(weight, maps - mean, 0.0)
    return Moments(count, mean, corrected(xp.square(deviations).sum(0), deviations.sum(0), size))


def corrected(squares: Any, drift: Any, size: Any) -> Any:
    """Squared deviations from the mean, without what the rounding of the mean adds: the corrected two-pass algorithm."""
    return (squares - drift * drift / size).clip(0.0)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the samples of `a` and of `b` together; of NumPy's or of JAX's arrays.

    References:
        Chan, Golub, LeVeque (1979), Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, eq. 2.1.
    """
    if a.mean.shape != b.mean.shape:
        raise InputError(
            f"Moments of shapes {a.mean.shape} and {b.mean.shape} cannot be merged. "
            "Merge moments of the same units and input size."
        )
    xp = a.mean.__array_namespace__()
    if xp is np and not (a.count.any() and b.count.any()):
        return b if b.count.any() else a
    count = xp.asarray(a.count + b.count)
    size = xp.maximum(count, 1)
    # Written from the larger side, so that an empty one changes no bit of the other; in place, for maps may be large.
    small, large = xp.minimum(a.count, b.count), xp.maximum(a.count, b.count)
    toward = b.mean - a.mean
    toward *= xp.where(a.count >= b.count, 1.0, -1.0)
    mean = toward * (small / size)
    mean += xp.where(a.count >= b.count, a.mean, b.mean)
    toward *= toward
    toward *= small * (large / size)
    m2 = a.m2 + b.m2
    m2 += toward
    return Moments(count, mean, m2)


def finalize(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of the mean, per position.

    The standard error is `std / sqrt(n)` with `n - 1` degrees of freedom, for independent samples.
    It is NaN below two samples, and the mean is NaN without any.
    """
    n = moments.count
    if (n == 1).all():
        return moments.mean, nowhere(moments.mean.shape)
    mean = np.where(n > 0, moments.mean, np.nan)
    variance = moments.m2 / np.maximum(n - 1, 1) / np.maximum(n, 1)
    return mean, np.where(n > 1, np.sqrt(variance), np.nan)


def nowhere(shape: Sequence[int]) -> np.ndarray:
    """NaN at every position, read-only and without memory of its own."""
    return np.broadcast_to(np.float64(np.nan), tuple(shape))
