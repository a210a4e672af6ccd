"""The two kinds of axes, positions and features, followed through the relations of single operations.

Numbers only: nothing here knows of models or of JAX.
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from jaxrf.geometry.elements import Elements
from jaxrf.geometry.groups import single_axes
from jaxrf.geometry.maps import Blocks, Fixed, Window
from jaxrf.geometry.relations import Masked, Product, Relation, Reshape, Several

Kinds = tuple[bool, ...]
"""For each axis of a variable, whether it holds positions."""


@singledispatch
def forward(relation: Relation, kinds: Kinds) -> Kinds:
    """Which axes of the result hold positions because those of the operand do."""
    raise NotImplementedError(f"Positions cannot be followed through {type(relation).__name__}.")


@singledispatch
def backward(relation: Relation, kinds: Kinds) -> Kinds:
    """Which axes of the operand hold positions because those of the result do."""
    return (False,) * len(relation.in_shape)


def merged(relation: Relation, result: Kinds, used: Kinds, named: Kinds) -> Kinds:
    """Operand axes that a reshape merges into positions, and that hold positions too.

    Merged with others into an axis of positions, an axis holds positions where the merged one is `used` as such
    (depth to space), and where it holds no `named` features (the copies of a nearest upsampling).
    A feature map that is flattened for a dense layer keeps its features.
    """
    found = [False] * len(relation.in_shape)
    for ins, outs in relation.groups if isinstance(relation, Reshape) else ():
        if len(ins) > 1 and all(result[o] for o in outs):
            for a in ins:
                found[a] = all(used[o] for o in outs) or not named[a]
    return tuple(found)


def joined(relation: Relation, operand: Kinds, used: Kinds) -> Kinds:
    """Result axes of a reshape that a single position goes into, where they are `used` as positions: depth to space of one.

    An axis of size 1 that is left out belongs to the axes behind it, or to the last ones.
    """
    found = [False] * len(relation.out_shape)
    if not isinstance(relation, Reshape) or not relation.groups:
        return tuple(found)
    ins, outs = (single_axes(relation.groups, *at) for at in ((relation.in_shape, 0), (relation.out_shape, 1)))
    for gap, axes in ins.items():
        if sum(operand[a] for a in axes) > len(outs.get(gap, ())):
            for o in relation.groups[min(gap, len(relation.groups) - 1)][1]:
                found[o] = used[o]
    return tuple(found)


def windowed(relation: Relation) -> Kinds:
    """Operand axes that are read through a window or another pattern of positions, not one to one and not whole."""
    if isinstance(relation, Masked):
        return windowed(relation.inner)
    product = relation.hull if isinstance(relation, Several) else relation
    if not isinstance(product, Product):
        return (False,) * len(relation.in_shape)
    return tuple(
        o is not None and not isinstance(m, Blocks | Fixed) and not (isinstance(m, Window) and m.identity)
        for m, o in product.axes
    )


def moved_only(relation: Relation, operand: Kinds, result: Kinds) -> bool:
    """Whether every position of the result is that of the operand, or none: no window, no sum, no repetition."""
    if isinstance(relation, Masked):
        return moved_only(relation.inner, operand, result)
    pairs = _one_to_one(relation)
    if pairs is None:
        return False
    mine = [a for a, position in enumerate(operand) if position and relation.in_shape[a] != 1]
    theirs = [o for o, position in enumerate(result) if position and relation.out_shape[o] != 1]
    return [pairs.get(a) for a in mine] == theirs


def let_through(relation: Relation, result: Kinds) -> np.ndarray:
    """Where any feature of a position comes through, with an axis for each position axis of more than one position.

    A relation that has no mask lets everything through: then all axes have size 1.
    """
    passed = np.ones([1] * len(result), bool)
    if isinstance(relation, Masked):
        support = np.broadcast_to(relation.support, relation.out_shape)
        features = tuple(o for o, position in enumerate(result) if not position)
        passed = np.logical_or.reduce(support, axis=features, keepdims=True)
    kept = [position and n != 1 for position, n in zip(result, relation.out_shape)]
    return passed.reshape([n for n, keep in zip(passed.shape, kept) if keep])


def _one_to_one(relation: Relation) -> dict[int, int] | None:
    """Operand axes that are read position by position, and their result axes; None where the relation has no axes."""
    if isinstance(relation, Reshape):
        return {ins[0]: outs[0] for ins, outs in relation.groups if len(ins) == len(outs) == 1}
    if isinstance(relation, Product):
        return {
            a: o for a, (m, o) in enumerate(relation.axes) if o is not None and isinstance(m, Window) and m.identity
        }
    return None


@forward.register
def _(relation: Product, kinds: Kinds) -> Kinds:
    driven = {o for position, (_, o) in zip(kinds, relation.axes) if position}
    return tuple(o in driven for o in range(len(relation.out_shape)))


@backward.register
def _(relation: Product, kinds: Kinds) -> Kinds:
    return tuple(o is not None and kinds[o] for _, o in relation.axes)


@forward.register
def _(relation: Reshape, kinds: Kinds) -> Kinds:
    result = [False] * len(relation.out_shape)
    for ins, outs in relation.pairs:
        for o in outs:
            result[o] = any(kinds[a] for a in ins)
    singles, new = (single_axes(relation.groups, *at) for at in ((relation.in_shape, 0), (relation.out_shape, 1)))
    for gap, axes in new.items():  # which of them are new, and split from what, is not told
        before = singles.get(gap, ())
        if len(axes) > len(before):
            beside = [a for ins, _ in relation.groups[max(0, gap - 1) : gap + 1] for a in ins]
            for o in axes:
                result[o] = any(kinds[a] for a in (*before, *beside))
    return tuple(result)


@backward.register
def _(relation: Reshape, kinds: Kinds) -> Kinds:
    pairs = _one_to_one(relation) or {}
    return tuple(a in pairs and kinds[pairs[a]] for a in range(len(relation.in_shape)))


@forward.register
def _(relation: Masked | Several, kinds: Kinds) -> Kinds:
    return forward(_plain(relation), kinds)


@backward.register
def _(relation: Masked | Several, kinds: Kinds) -> Kinds:
    return backward(_plain(relation), kinds)


def _plain(relation: Masked | Several) -> Relation:
    """The relation of the same axes that holds this one."""
    return relation.inner if isinstance(relation, Masked) else relation.hull


@forward.register
def _(relation: Elements, kinds: Kinds) -> Kinds:
    index = relation.index.reshape(-1, *relation.out_shape)
    places = np.unravel_index(np.maximum(index, 0), relation.in_shape)
    moving = [place for place, position in zip(places, kinds) if position]
    axes = range(1, index.ndim)
    return tuple(any((place != np.take(place, [0], axis=o)).any() for place in moving) for o in axes)
