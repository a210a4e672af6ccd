"""Where arrays can be other than zero, as boolean arrays: written small, and taken apart into axes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np


def compact(array: np.ndarray) -> np.ndarray:
    """The same array with size 1 along axes on which it does not vary.

    >>> compact(np.array([[1, 0, 1], [1, 0, 1]])).tolist()
    [[1, 0, 1]]
    """
    for axis, size in enumerate(array.shape):
        if size > 1:
            first = array[(slice(None),) * axis + (slice(0, 1),)]
            if array.strides[axis] == 0 or (array == first).all():
                array = first
    return array


def varying(support: np.ndarray) -> list[int]:
    """The axes of a compact array on which it varies."""
    return [axis for axis, size in enumerate(support.shape) if size > 1]


def onto(support: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """True at positions of `axes` where some element is; the other axes have size 1."""
    return np.logical_or.reduce(support, axis=tuple(a for a in range(support.ndim) if a not in axes), keepdims=True)


def ends_only(support: np.ndarray, axis: int) -> bool:
    """Whether a support is the same all along an axis, but for zeros at the ends of it.

    >>> ends_only(np.array([[0, 1, 1], [0, 0, 0]], bool), 1), ends_only(np.array([[1, 0, 1]], bool), 1)
    (True, False)
    """
    inside = onto(support, (axis,))
    along = np.diff(np.flatnonzero(inside)).max(initial=1) == 1
    return bool(along) and np.array_equal(support, inside & support.any(axis=axis, keepdims=True))


def factors(support: np.ndarray, inner: Sequence[int]) -> dict[int, int | None] | None:
    """Find for each of the axes `inner` the one other axis that it goes with, if the support is a product of such pairs.

    None where it is not a product. An axis that goes with no other has the partner None.

    >>> near = abs(np.arange(5)[:, None] - np.arange(5)) < 2
    >>> factors(near[:, None, :, None] & near[None, :, None, :], (2, 3))
    {2: 0, 3: 1}
    """
    outer = [a for a in varying(support) if a not in inner]
    mine = [a for a in varying(support) if a in inner]
    if len(outer) > len(mine):
        return None
    for partners in itertools.permutations([*outer, *[None] * (len(mine) - len(outer))], len(mine)):
        parts = [onto(support, (a, *([] if b is None else [b]))) for a, b in zip(mine, partners)]
        joined = np.ones((), bool)
        for part in parts:
            joined = joined & part
        if np.array_equal(np.broadcast_to(joined, support.shape), support):
            return dict(zip(mine, partners))
    return None


def classes(support: np.ndarray, axes: Sequence[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The different parts of a support along `axes`, each with size 1 along them, and which one is where.

    The numbers have the rank of the support, and size 1 along all other axes.

    >>> numbers, parts = classes(np.array([[True, False], [True, True], [True, False]]), (0,))
    >>> numbers.ravel().tolist(), [part.tolist() for part in parts]
    ([0, 1, 0], [[[True, False]], [[True, True]]])
    """
    order = [*axes, *(a for a in range(support.ndim) if a not in axes)]
    rows = support.transpose(order).reshape(int(np.prod([support.shape[a] for a in axes])), -1)
    known: dict[bytes, int] = {}
    numbers = np.array([known.setdefault(row.tobytes(), len(known)) for row in rows])
    rest = [1 if a in axes else n for a, n in enumerate(support.shape)]
    parts = [np.frombuffer(key, bool).reshape(rest) for key in known]
    shape = [support.shape[a] if a in axes else 1 for a in range(support.ndim)]
    return numbers.reshape([support.shape[a] for a in axes]).transpose(np.argsort(axes)).reshape(shape), parts


def products(support: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """A boolean array as a union of products of index sets, one set per axis.

    >>> products(np.array([[True, True], [True, False]]))
    [(array([0]), array([0, 1])), (array([1]), array([0]))]
    """
    if support.ndim == 0:
        return [()] if support else []
    rows: dict[bytes, list[int]] = {}
    for i, row in enumerate(support):
        rows.setdefault(row.tobytes(), []).append(i)
    return [(np.array(same), *rest) for same in rows.values() for rest in products(support[same[0]])]
