"""How the elements of one result depend on the elements of one operand.

A `Relation` carries fields from operand to result, and boxes from result to operand.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np

from jaxrf.geometry.axis_map import AxisMap, Interval, union
from jaxrf.geometry.continuing import merged_paths, refit, regrouped, shortest
from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Continuation, Field, Part, Paths
from jaxrf.geometry.groups import Group, reshape_groups, single_pairs
from jaxrf.geometry.hull import along_of
from jaxrf.geometry.maps import Fixed, Window, whole
from jaxrf.geometry.merge import merge
from jaxrf.geometry.parts import alone, pushed_parts
from jaxrf.geometry.places import kept, lost
from jaxrf.geometry.singles import Singles, beside
from jaxrf.geometry.supports import ends_only

Shape = tuple[int, ...]


class Relation(ABC):
    """The dependence of a result (`out_shape`) on an operand (`in_shape`)."""

    in_shape: Shape
    out_shape: Shape

    @property
    def empty(self) -> bool:
        """Whether operand or result has no elements: then nothing depends on anything."""
        return 0 in self.in_shape or 0 in self.out_shape

    @abstractmethod
    def push(self, field: Field) -> Field:
        """The field of the result, from the field of the operand; `carry` says where its elements lie too.

        Law: element e of the result has the hull of the fields of the operand's elements that e depends on;
        an `empty` relation gives `nothing`, whose arrays have size 1 along every axis.
        """

    @property
    def place(self) -> Relation:
        """The relation that says where the result's elements lie: itself, unless they see all that is on one side."""
        return self

    def carry(self, field: Field) -> Field:
        """Do as `push`, with the parts that say where the result's elements lie."""
        found = self.push(field)
        if found is field:
            return field
        found, place = beside(self.singles, field, found), self.place
        if field.local is None and place is self:
            return replace(found, local=()) if lost(field, found) else found
        parts = ((part, beside(place.singles, part, place.push(part))) for part in field.parts)
        return replace(found, local=kept(parts))

    @property
    def singles(self) -> Singles:
        """What becomes of axes of one position."""
        return Singles(slid=True)

    @abstractmethod
    def pull(self, box: Sequence[Interval]) -> list[Interval]:
        """A box of the operand that holds all elements on which the box of the result depends, unclipped.

        `box` has one interval per result axis; bounds are arrays over units.
        """


def nothing(extent: int, shape: Shape) -> Field:
    """The field of an array whose elements have no paths."""
    ones = [1] * len(shape)
    return Field(extent, np.full(ones, EMPTY_LO), np.full(ones, EMPTY_HI))


@dataclass(frozen=True, eq=False)
class Product(Relation):
    """Axis by axis: each operand axis is driven by one result axis through an `AxisMap`, or by none.

    `axes[a]` is `(map, result axis)`; a map that no result axis drives is a `Fixed` one with result axis None.
    A result axis that drives no operand axis is a broadcast.
    Axes of one position that drive none are summed over, unless they are `dropped`.
    """

    in_shape: Shape
    out_shape: Shape
    axes: tuple[tuple[AxisMap, int | None], ...]
    dropped: bool = False

    @cached_property
    def plain(self) -> bool:
        """Whether result and operand have the same axes and every element sees its own position only."""
        return self.in_shape == self.out_shape and all(
            o == a and isinstance(m, Window) and m.identity for a, (m, o) in enumerate(self.axes)
        )

    @cached_property
    def singles(self) -> Singles:  # type: ignore[override]
        driven = {out for _, out in self.axes}
        gone = tuple(a for a, (_, out) in enumerate(self.axes) if out is None and self.in_shape[a] == 1)
        new = tuple(o for o, n in enumerate(self.out_shape) if n == 1 and o not in driven)
        one = (m for m, out in self.axes if out is not None and m.in_size == 1)
        return Singles(
            gone, new, self.dropped, any(m.out_size > 1 or not (isinstance(m, Window) and m.identity) for m in one)
        )

    @cached_property
    def place(self) -> Product:  # type: ignore[override]
        places = tuple((axis_map.place, out) for axis_map, out in self.axes)
        same = all(new is old for (new, _), (old, _) in zip(places, self.axes))
        return self if same else replace(self, axes=places)

    def push(self, field):
        if self.plain:
            return field
        if self.empty:
            return nothing(field.extent, self.out_shape)
        lo, hi = self._push(field.lo, field.hi)
        continuation = self.continued(field.continuation)
        cause, paths = field.global_cause, field.paths
        if field.continuation is not None:
            axis_map, out_axis = self.axes[field.continuation.axis]
            if out_axis is None and isinstance(axis_map, Fixed) and axis_map.whole and axis_map.in_size > 1:
                cause = "reduced"
            paths = axis_map.follow(paths) if paths is not None and continuation is not None else None
        parts = pushed_parts(self, field.along)
        continuation = continuation or alone(parts)
        along = parts if continuation is None else ()
        result = Field(field.extent, lo, hi, continuation, paths, cause, along=along)
        return result if continuation is not None or cause else refit(result, self.out_shape)

    def _push(self, lo: np.ndarray, hi: np.ndarray, endless: int | None = None) -> Interval:
        """Hulls over all operand axes, laid out on the result's axes.

        `endless` is the axis of a continuation, which is left as it is; the other axes of one have no ends either.
        """
        for axis, (axis_map, _) in enumerate(self.axes):
            if axis == endless:
                continue
            step = axis_map.push if endless is None or lo.shape[axis] > 1 else axis_map.push_endless
            lo, hi = step(lo, hi, axis)
        return self.laid_out(lo), self.laid_out(hi)

    def replaced(self, axes: tuple[tuple[AxisMap, int | None], ...]) -> Product:
        """The same relation along other axes."""
        return replace(self, axes=axes)

    def laid_out(self, a: np.ndarray) -> np.ndarray:
        """Operand axes moved to the places of their result axes; undriven ones dropped, missing ones of size 1."""
        kept = [axis for axis, (_, out) in enumerate(self.axes) if out is not None]
        a = a.reshape([a.shape[axis] for axis in kept])
        order = sorted(range(len(kept)), key=lambda i: self.axes[kept[i]][1] or 0)
        a = a.transpose(order)
        driven = sorted(out for _, out in self.axes if out is not None)
        return np.expand_dims(a, [o for o in range(len(self.out_shape)) if o not in driven])

    def continued(self, continuation: Continuation | None) -> Continuation | None:
        if continuation is None:
            return None
        axis_map, out_axis = self.axes[continuation.axis]
        if out_axis is None or axis_map.repeat is None:
            return None
        period, shift = axis_map.repeat
        new_period = period * (continuation.period // math.gcd(continuation.period, shift))
        step = continuation.step * (new_period // period * shift) // continuation.period
        index, valid = axis_map.taps(np.arange(new_period))
        lo, hi = continuation.at(index.ravel())
        flat = np.arange(index.size).reshape(index.shape)
        lo, hi = union(lo, hi, flat, valid, continuation.axis)
        lo, hi = self._push(lo, hi, continuation.axis)
        window = isinstance(axis_map, Window)
        marginal, cut = window and axis_map.marginal, continuation.cut or (window and axis_map.cuts)
        return shortest(Continuation(out_axis, new_period, step, lo, hi, marginal, cut))

    def pull(self, box):
        result = []
        for axis_map, out in self.axes:
            lo, hi = box[out] if out is not None else box[0] if box else (np.zeros(1, int), np.ones(1, int))
            result.append(axis_map.pull(lo, hi))
        return result


@dataclass(frozen=True, eq=False)
class Reshape(Relation):
    """The same elements in the same order under other axes.

    Axes fall into groups of equal products; only axes of one group are mixed.
    Example: (2, 6, 5) to (2, 2, 3, 5) has the groups 2 = 2, 6 = 2·3, 5 = 5.
    """

    in_shape: Shape
    out_shape: Shape

    @cached_property
    def groups(self) -> list[Group]:
        """Pairs (operand axes, result axes) of equal product, in order; axes of size 1 are in groups of their own."""
        return reshape_groups(self.in_shape, self.out_shape)

    @cached_property
    def pairs(self) -> list[Group]:
        """The groups, and axes of size 1 that keep their place among them."""
        return [*self.groups, *single_pairs(self.groups, self.in_shape, self.out_shape)]

    def push(self, field):
        if self.empty:
            return nothing(field.extent, self.out_shape)
        lo, hi = self._push(field.lo), self._push(field.hi)
        old = field.continuation
        continuation = None if old is None else regrouped(old, self.pairs, self.in_shape, self.out_shape)
        paths = self._follow(field.paths, old.axis) if old is not None and continuation is not None else None
        parts = tuple(
            Part(moved, None if part.where is None else self._push(part.where))
            for part in field.along
            if (moved := regrouped(part.continuation, self.pairs, self.in_shape, self.out_shape)) is not None
        )
        parts = parts if len(parts) == len(field.along) else ()
        result = Field(field.extent, lo, hi, continuation, paths, field.global_cause, along=parts)
        if (
            continuation is not None and continuation.step == 0
        ):  # it may say nothing of the axis that the field moves along
            lo, hi = squeezed(lo, hi)
            moves = lo.shape[continuation.axis] == hi.shape[continuation.axis] == 1
            return refit(replace(result, lo=lo, hi=hi, continuation=None), self.out_shape) if moves else result
        return result if continuation is not None or field.global_cause else refit(result, self.out_shape)

    @cached_property
    def singles(self) -> Singles:  # type: ignore[override]
        paired = self.pairs
        ins, outs = ({a for pair in paired for a in pair[side]} for side in (0, 1))
        gone = tuple(a for a, n in enumerate(self.in_shape) if n == 1 and a not in ins)
        new = tuple(o for o, n in enumerate(self.out_shape) if n == 1 and o not in outs)
        return Singles(gone, new, taken=True)

    def _follow(self, paths: Paths | None, axis: int) -> Paths | None:
        """What paths agree on where `axis` stays, or is the slowest of those that are merged into one."""
        ins, outs = next(group for group in self.pairs if axis in group[0])
        if paths is None or len(outs) > 1 or ins[0] != axis:
            return None
        return merged_paths(paths, math.prod(self.in_shape[a] for a in ins[1:]))

    def _push(self, a: np.ndarray) -> np.ndarray:
        wide, new = [*a.shape], [1] * len(self.out_shape)
        for ins, outs in self.groups:
            if any(a.shape[i] > 1 for i in ins):
                for i in ins:
                    wide[i] = self.in_shape[i]
                for o in outs:
                    new[o] = self.out_shape[o]
        return np.broadcast_to(a, wide).reshape(new)

    def pull(self, box):
        units = len(box[0][0]) if box else 1
        zero = np.zeros(units, np.int64)
        result: list[Interval] = [(zero, zero + size) for size in self.in_shape]
        for ins, outs in self.groups:
            if len(ins) == len(outs) == 1:
                result[ins[0]] = box[outs[0]]
        return result


class Framed(Relation):
    """A relation between the elements that another one is between, its `frame`, which holds all of it."""

    @property
    @abstractmethod
    def frame(self) -> Relation: ...

    @property
    def in_shape(self):  # type: ignore[override]
        return self.frame.in_shape

    @property
    def out_shape(self):  # type: ignore[override]
        return self.frame.out_shape

    @property
    def singles(self) -> Singles:
        return self.frame.singles

    def pull(self, box):
        return self.frame.pull(box)


@dataclass(frozen=True, eq=False)
class Masked(Framed):
    """Another relation, at result elements where `support` (broadcastable to the result) is true; nothing elsewhere."""

    inner: Relation
    support: np.ndarray

    @property
    def frame(self):
        return self.inner

    @property
    def place(self) -> Relation:
        """Known zeros everywhere leave each element where it stands."""
        inner = self.inner.place
        if not self.support.any():
            return inner
        return self if inner is self.inner else replace(self, inner=inner)

    def push(self, field):
        if self.empty:
            return nothing(field.extent, self.out_shape)
        field = self.inner.push(field)
        support = self.support.reshape([1] * (len(self.out_shape) - self.support.ndim) + [*self.support.shape])
        if (
            support | (field.lo >= field.hi)
        ).all():  # known zeros where nothing is seen, as in a padding, are not a mask
            return field
        lo, hi = np.where(support, field.lo, EMPTY_LO), np.where(support, field.hi, EMPTY_HI)
        old = field.continuation
        if old is not None and ends_only(support, old.axis):  # an endless input has none of these zeros
            beside = support.any(axis=old.axis, keepdims=True)
            ends = {"lo": np.where(beside, old.lo, EMPTY_LO), "hi": np.where(beside, old.hi, EMPTY_HI)}
            return replace(field, lo=lo, hi=hi, continuation=replace(old, **ends))
        parts = tuple(Part(p.continuation, support if p.where is None else p.where & support) for p in along_of(field))
        return refit(Field(field.extent, lo, hi, None, None, field.global_cause, along=parts), self.out_shape)


class Several(Framed):
    """Made of several parts; `hull` is one product of axes that holds all."""

    hull: Product

    @property
    def frame(self):
        return self.hull


@dataclass(frozen=True, eq=False)
class Union(Several):
    """An element of the result depends on what it depends on by any of the `parts`.

    For windows whose taps are not a product of axes, as those of causal kernels in two dimensions.
    """

    parts: tuple[Product, ...]
    hull: Product

    def push(self, field):
        if self.empty or not self.parts:
            return nothing(field.extent, self.out_shape)
        around = self.hull.push(field)
        joined = reduce(merge, (part.push(field) for part in self.parts))
        lo, hi = squeezed(joined.lo, joined.hi)
        old = joined.continuation
        if old is not None:
            ends = squeezed(old.lo, old.hi, keep=old.axis)
            old = replace(old, lo=ends[0], hi=ends[1])
        return replace(joined, lo=lo, hi=hi, continuation=old, paths=around.paths)


def squeezed(lo: np.ndarray, hi: np.ndarray, keep: int | None = None) -> Interval:
    """The same intervals with size 1 along every axis, but `keep`, along which neither end varies."""
    for axis, size in enumerate(lo.shape):
        if size <= 1 or axis == keep:
            continue
        first = [np.take(a, [0], axis=axis) for a in (lo, hi)]
        if (lo == first[0]).all() and (hi == first[1]).all():
            lo, hi = first
    return lo, hi


def dense(in_shape: Shape, out_shape: Shape) -> Product:
    """Every element of the result depends on every element of the operand."""
    return Product(in_shape, out_shape, tuple((whole(size), None) for size in in_shape))
