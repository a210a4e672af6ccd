"""Counts of paths, carried back through the relations of single operations.

A path is a sequence of positions, so the axes of a variable are of two kinds: positions, which paths tell apart,
and features, which they do not. Channels, heads and hidden units count once.
Numbers only: nothing here knows of models or of JAX.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import reduce, singledispatch

import numpy as np

from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.elements import Elements
from jaxrf.geometry.kinds import Kinds
from jaxrf.geometry.maps import Fixed, Window
from jaxrf.geometry.masked_sum import Choice
from jaxrf.geometry.relations import Masked, Product, Relation, Reshape, Union

LIMIT = 2**62
"""Counts that may be larger are kept as Python integers."""


@dataclass(frozen=True, eq=False)
class Counts:
    """How many paths lead from each element of a variable to the unit.

    `values` is the block of elements from `start` on; elsewhere there is no path.
    `kinds` are those of the variable's axes; along a feature axis the block has size 1 and holds for every feature.
    `bound` is at least every count. With `log` the values are natural logarithms, and `bound` is of no use.
    """

    kinds: Kinds
    start: tuple[int, ...]
    values: np.ndarray
    bound: int = 1
    log: bool = False

    @property
    def add(self) -> np.ufunc:
        return np.logaddexp if self.log else np.add

    @property
    def none(self) -> float:
        """The count of an element without a path."""
        return -np.inf if self.log else 0

    @property
    def empty(self) -> bool:
        return 0 in self.values.shape

    def roomy(self, factor: int) -> np.ndarray:
        """The values, in a type in which sums of `factor` of them do not overflow."""
        small = self.log or self.values.dtype == object or self.bound * max(factor, 1) < LIMIT
        return self.values if small else self.values.astype(object)

    def join(self, other: Counts) -> Counts:
        """The sum of two counts of the same variable.

        Law: associative and commutative.
        """
        start = tuple(map(min, self.start, other.start))
        stop = tuple(map(max, self._stop, other._stop))
        factor = -(-(self.bound + other.bound) // self.bound)
        values = np.full([b - a for a, b in zip(start, stop)], self.none, self.roomy(factor).dtype)
        for one in (self, other):
            place = tuple(slice(a - b, a - b + n) for a, b, n in zip(one.start, start, one.values.shape))
            values[place] = self.add(values[place], one.values)
        return replace(self, start=start, values=values, bound=self.bound + other.bound)

    @property
    def _stop(self) -> tuple[int, ...]:
        return tuple(a + n for a, n in zip(self.start, self.values.shape))

    def laid_out(self, shape: tuple[int, ...], kinds: Kinds, new_shape: tuple[int, ...]) -> Counts:
        """Counts of a variable of `shape` as those of one of `new_shape` with the same positions, in order.

        Axes of size 1 hold one position, and are not looked at.
        """
        pairs = zip(self.start, self.values.shape, self.kinds, shape, strict=True)
        known = iter([(start, size) for start, size, position, n in pairs if position and n != 1])
        placed = [next(known) if position and n != 1 else (0, 1) for position, n in zip(kinds, new_shape, strict=True)]
        values = self.values.reshape([size for _, size in placed])
        return replace(self, kinds=kinds, start=tuple(start for start, _ in placed), values=values)

    def at(self, shape: tuple[int, ...], passed: np.ndarray) -> Counts:
        """The counts of a variable of `shape` at those of its positions that `passed` is true for; see `let_through`."""
        if passed.all():
            return self
        pairs = zip(self.start, self.values.shape, self.kinds, shape, strict=True)
        block = [(start, size) for start, size, position, n in pairs if position and n != 1]
        around = [
            slice(None) if n == 1 else slice(start, start + size) for (start, size), n in zip(block, passed.shape)
        ]
        sizes = [n for n, position, m in zip(self.values.shape, self.kinds, shape) if position and m != 1]
        here = np.broadcast_to(passed[tuple(around)], sizes)
        return replace(self, values=np.where(here.reshape(self.values.shape), self.values, self.none))


def unit_counts(kinds: Kinds, at: tuple[int, ...], log: bool) -> Counts:
    """One path, from a single element to itself."""
    values = np.zeros([1] * len(at)) if log else np.ones([1] * len(at), np.int64)
    return Counts(kinds, at, values, 1, log)


@singledispatch
def pull(relation: Relation, counts: Counts, kinds: Kinds) -> Counts:
    """Counts of an operand whose axes are of `kinds`, from counts of the result.

    Law: a position of the operand has as many paths as all positions of the result that depend on it have together.
    """
    raise NotImplementedError(f"Paths cannot be counted through {type(relation).__name__}.")


@pull.register
def _(relation: Product, counts: Counts, kinds: Kinds) -> Counts:
    driven = [o for _, o in relation.axes if o is not None]
    spare = tuple(o for o in range(counts.values.ndim) if o not in driven)
    added = spare + tuple(o for (_, o), mine in zip(relation.axes, kinds) if not mine and o is not None)
    factor = math.prod(counts.values.shape[o] for o in added)
    factor *= math.prod(m.reach for (m, o), position in zip(relation.axes, kinds) if position and o is not None)
    values = counts.add.reduce(counts.roomy(factor), axis=spare) if spare else counts.roomy(factor)
    order = sorted(driven)
    values = values.transpose([order.index(o) for o in driven])
    values = np.expand_dims(values, [a for a, (_, o) in enumerate(relation.axes) if o is None])
    start = [0] * len(relation.axes)
    for a, (axis_map, out) in enumerate(relation.axes):
        first, told_apart = (counts.start[out], counts.kinds[out]) if out is not None else (0, False)
        if not kinds[a]:
            values = _of_features(axis_map, values, a, first, counts, told_apart)
        elif out is None:
            assert isinstance(axis_map, Fixed)
            values, start[a] = np.repeat(values, axis_map.hi - axis_map.lo, axis=a), axis_map.lo
        elif not told_apart:
            values = np.where(_shaped(axis_map.seen, a, values.ndim), values, counts.none)
        elif isinstance(axis_map, Window) and axis_map.identity:
            start[a] = first
        else:
            values, start[a] = axis_map.count(values, a, first, counts.add, counts.none)
    return replace(counts, kinds=kinds, start=tuple(start), values=values, bound=counts.bound * max(factor, 1))


def _of_features(
    axis_map: AxisMap, values: np.ndarray, a: int, start: int, counts: Counts, told_apart: bool
) -> np.ndarray:
    """Counts that hold for every feature along axis `a`: positions that read any of them add up, and features do not."""
    if not told_apart:
        return values if axis_map.seeing.any() else values.take([], axis=a)
    seeing = axis_map.seeing[start : start + values.shape[a]]
    return counts.add.reduce(values.compress(seeing, axis=a), axis=a, keepdims=True)


def _shaped(line: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A line of numbers along one of `rank` axes."""
    return line.reshape([-1 if a == axis else 1 for a in range(rank)])


@pull.register
def _(relation: Reshape, counts: Counts, kinds: Kinds) -> Counts:
    values, start, sizes = counts.roomy(counts.values.size), [0] * len(relation.in_shape), [1] * len(relation.in_shape)
    factor = 1
    for ins, outs in relation.groups:
        if len(outs) == len(ins) == 1:
            sizes[ins[0]], start[ins[0]] = values.shape[outs[0]], counts.start[outs[0]]
        elif not any(kinds[a] for a in ins):  # positions that are read off features, as depth to space does
            several = tuple(o for o in outs if counts.kinds[o])
            factor *= math.prod(values.shape[o] for o in several)
            values = counts.add.reduce(values, axis=several, keepdims=True) if several else values
        elif any(counts.kinds[o] for o in outs):
            for o in outs:
                values = _whole(values, o, counts, relation.out_shape[o])
            for a in ins:
                sizes[a] = relation.in_shape[a]
    moved = replace(counts, start=tuple(start), values=values.reshape(sizes), bound=counts.bound * factor)
    return _per_position(moved, kinds)


def _whole(values: np.ndarray, axis: int, counts: Counts, size: int) -> np.ndarray:
    """A block of `counts` on the whole of one axis."""
    if not counts.kinds[axis]:
        return np.repeat(values, size, axis=axis)
    around = [(0, 0)] * values.ndim
    around[axis] = (counts.start[axis], size - counts.start[axis] - values.shape[axis])
    return np.pad(values, around, constant_values=counts.none)


def _per_position(counts: Counts, kinds: Kinds) -> Counts:
    """Counts of a variable of other `kinds`: features of one position count once, by the one with the most paths."""
    values = counts.values
    for axis, (position, size) in enumerate(zip(kinds, values.shape)):
        if not position and size > 1:
            values = values.max(axis=axis, keepdims=True)
    start = tuple(a if position else 0 for a, position in zip(counts.start, kinds))
    return replace(counts, kinds=kinds, start=start, values=values)


@pull.register
def _(relation: Masked, counts: Counts, kinds: Kinds) -> Counts:
    support: np.ndarray = np.broadcast_to(relation.support, relation.out_shape)
    for axis, position in enumerate(counts.kinds):
        if position:
            block = slice(counts.start[axis], counts.start[axis] + counts.values.shape[axis])
            support = support[(slice(None),) * axis + (block,)]
        else:
            support = np.logical_or.reduce(support, axis=axis, keepdims=True)
    return pull(relation.inner, replace(counts, values=np.where(support, counts.values, counts.none)), kinds)


@pull.register
def _(relation: Union, counts: Counts, kinds: Kinds) -> Counts:
    found = [pull(part, counts, kinds) for part in _single_taps(relation, kinds)]
    if not found:
        return replace(pull(relation.hull, counts, kinds), values=np.zeros((0,) * len(kinds), counts.values.dtype))
    return reduce(Counts.join, found)


@pull.register
def _(relation: Choice, counts: Counts, kinds: Kinds) -> Counts:
    chosen = relation.regardless([a for a, position in enumerate(counts.kinds) if not position])
    if not isinstance(chosen, Choice):
        return pull(chosen, counts, kinds)
    return reduce(Counts.join, (pull(part, counts, kinds) for part in chosen.masked))


def _single_taps(relation: Union, kinds: Kinds) -> list[Product]:
    """The taps over positions, each once: parts for different features may share some."""
    single: dict[tuple, Product] = {}
    for part in relation.parts:
        if not all(m.seeing.any() for m, _ in part.axes):
            continue
        told_apart = [(m, o) for position, (m, o) in zip(kinds, part.axes) if position]
        others = [id(m) for m, o in told_apart if not (o is not None and isinstance(m, Window))]
        moving = [a for a, (m, o) in enumerate(part.axes) if kinds[a] and o is not None and isinstance(m, Window)]
        for taps in itertools.product(*(part.axes[a][0].offsets for a in moving)):  # type: ignore[attr-defined]
            axes = list(part.axes)
            for a, tap in zip(moving, taps):
                axes[a] = (replace(axes[a][0], offsets=(tap,)), axes[a][1])  # type: ignore[call-arg]
            single[*taps, *others] = replace(part, axes=tuple(axes))
    return list(single.values())


@pull.register
def _(relation: Elements, counts: Counts, kinds: Kinds) -> Counts:
    index = relation.index.reshape(-1, math.prod(relation.out_shape))
    values = counts.roomy(index.size)
    for axis, size in enumerate(relation.out_shape):
        values = _whole(values, axis, counts, size)
    result = np.full(math.prod(relation.in_shape), counts.none, values.dtype)
    for row in index:
        counts.add.at(result, row[row >= 0], values.ravel()[row >= 0])
    result = result.reshape(relation.in_shape)
    whole = Counts((True,) * result.ndim, (0,) * result.ndim, result, counts.bound * max(index.size, 1), counts.log)
    return _per_position(whole, kinds)
