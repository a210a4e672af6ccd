"""Which axes a reshape mixes: the groups of consecutive axes with equal products, and axes of size 1 beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence

Shape = tuple[int, ...]
Group = tuple[tuple[int, ...], tuple[int, ...]]
"""Axes of the operand, and the axes of the result that hold the same elements."""


def reshape_groups(in_shape: Shape, out_shape: Shape) -> list[Group]:
    """The finest pairing of consecutive axes with equal products; axes of size 1 stand alone, unpaired.

    >>> reshape_groups((2, 6, 5), (2, 2, 3, 5))
    [((0,), (0,)), ((1,), (1, 2)), ((2,), (3,))]
    """
    if 0 in in_shape:
        return [(tuple(range(len(in_shape))), tuple(range(len(out_shape))))]
    ins = [a for a, size in enumerate(in_shape) if size != 1]
    outs = [a for a, size in enumerate(out_shape) if size != 1]
    groups, i, o = [], 0, 0
    while i < len(ins):
        left, right = [ins[i]], [outs[o]]
        i, o = i + 1, o + 1
        while (a := math.prod(in_shape[x] for x in left)) != (b := math.prod(out_shape[x] for x in right)):
            if a < b:
                left.append(ins[i])
                i += 1
            else:
                right.append(outs[o])
                o += 1
        groups.append((tuple(left), tuple(right)))
    return groups


def single_axes(groups: Sequence[Group], shape: Shape, side: int) -> dict[int, list[int]]:
    """Axes of size 1 by how many groups lie before them, those inside of a group left out; `side` 1 is the result's.

    >>> single_axes([((1,), (0,))], (1, 6, 1), 0)
    {0: [0], 1: [2]}
    """
    found: dict[int, list[int]] = {}
    for axis, size in enumerate(shape):
        inside = any(group[side][0] < axis < group[side][-1] for group in groups)
        if size == 1 and not inside:
            found.setdefault(sum(group[side][-1] < axis for group in groups), []).append(axis)
    return found


def single_pairs(groups: Sequence[Group], in_shape: Shape, out_shape: Shape) -> list[Group]:
    """Axes of size 1 before, between and behind the same groups, in order, where there are as many on both sides.

    >>> single_pairs([((1,), (0,))], (1, 6, 1), (6, 1))
    [((2,), (1,))]
    """
    ins, outs = single_axes(groups, in_shape, 0), single_axes(groups, out_shape, 1)
    alike = (gap for gap in ins if len(ins[gap]) == len(outs.get(gap, ())))
    return [((a,), (b,)) for gap in alike for a, b in zip(ins[gap], outs[gap])]
