"""Which axes of the input the axes of every variable come from, through transposes, merges, splits and steps of loops.

An axis is kept as its factors, the slowest first: tokens of an image of 14 by 9 are one axis with the factors 14, of the
rows, and 9, of the columns. So an axis that is merged and split again, or stored in the batch as the windows of attention
are, still tells where it comes from.
What the input's features, kernels and matrices make are features, but a matrix that mixes positions alone makes positions,
as the one between the tokens of a mixer does. What else an axis is its use may tell: what it is added to, or a convolution
that slides along it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from jaxrf.equations.program import TangentProgram, Variable
from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.elements import Elements
from jaxrf.geometry.kinds import forward
from jaxrf.geometry.maps import Fixed, Pattern, Scan, Window
from jaxrf.geometry.relations import Masked, Product, Relation, Reshape, Several
from jaxrf.interpret.links import Link, Links
from jaxrf.primitives.rule import contraction, rules

Marks = frozenset[int | str]
"""Numbers of axes of the input, `FEATURES` and `PLACES`; empty for what nothing tells of, such as copies."""
FEATURES: Marks = frozenset({"features"})
PLACES: Marks = frozenset({"places"})
"""Of an axis that a convolution slides along, and that comes from no axis of the input: the map of a decoder."""
Factor = tuple[int, Marks]
Axis = tuple[Factor, ...]
Groups = Sequence[tuple[tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True)
class Origin:
    """Where the axes of a variable come from.

    Attributes:
        axes: the factors of each axis, sizes and marks, the slowest first; their sizes have the product of the axis.
        held: marks of axes of which the variable is a single position, as the step of a loop is.
    """

    axes: tuple[Axis, ...]
    held: Marks = frozenset()

    def marks(self, axis: int) -> Marks:
        """All marks of an axis."""
        return marks(self.axes[axis])


def marks(axis: Axis) -> Marks:
    """All marks of the factors of an axis."""
    return axis[0][1] if len(axis) == 1 else frozenset().union(*(mark for _, mark in axis))


def placed(axis: Axis) -> bool:
    """Whether an axis comes from images or positions, wholly or in part."""
    return not marks(axis) <= FEATURES


def origins(program: TangentProgram, spatial: Sequence[int], links: Links) -> dict[Variable, Origin]:
    """The origins of all variables behind the input.

    Args:
        program: the traced model.
        spatial: axes of the batched input that are positions; axis 0 holds images, all others are features.
        links: the program's.
    """
    shape = program.input.shape
    first = Origin(tuple(((n, frozenset({a}) if a in (0, *spatial) else FEATURES),) for a, n in enumerate(shape)))
    told: dict[Variable, dict[int, Axis]] = {}
    while True:
        found = {program.input: first}
        for equation, mine in links.items():
            telling = [link for link in mine if 0 not in link.source.shape] or mine  # nothing comes out of nothing
            found[equation.result] = _with(_together(telling, found, program), told.get(equation.result))
        if not _tell_by_use(program, links, found, told):
            return found


def _tell_by_use(
    program: TangentProgram, links: Links, found: dict[Variable, Origin], told: dict[Variable, dict[int, Axis]]
) -> bool:
    """Enter in `told` axes without a place whose use tells one; whether there was any."""
    grown = False
    for mine in reversed(links.values()):
        for link in mine:
            here = found[link.source]
            if link.source is program.input or all(map(placed, here.axes)):
                continue
            for a, axis in _use(link, found[link.equation.result]).items():
                if placed(axis) and not marks(axis) >= FEATURES and not placed(here.axes[a]):
                    told.setdefault(link.source, {})[a] = axis
                    grown = True
            found[link.source] = _with(here, told.get(link.source))
    return grown


def _with(origin: Origin, told: dict[int, Axis] | None) -> Origin:
    """An origin with what is told of those of its axes that have no place."""
    if not told:
        return origin
    axes = tuple(axis if placed(axis) else told.get(a, axis) for a, axis in enumerate(origin.axes))
    return Origin(axes, origin.held)


def _together(links: Sequence[Link], found: dict[Variable, Origin], program: TangentProgram) -> Origin:
    """The origin of a result as its operands tell it; of an axis of a product those alone that it is taken from as it is."""
    each = [_follow(link, found[link.source], program) for link in links]
    joined = reduce(_join, each)
    if len(each) == 1 or contraction(links[0].equation) is None:
        return joined
    axes = list(joined.axes)
    for o in range(len(axes)):
        if taken := [one.axes[o] for link, one in zip(links, each) if o in _taken(link)]:
            axes[o] = reduce(_joined, taken)
    return Origin(tuple(axes), joined.held)


def _taken(link: Link) -> set[int | None]:
    """The axes of a result that are axes of the operand, one to one."""
    relation = _unmasked(link.relation)
    axes = relation.axes if isinstance(relation, Product) else ()
    return {out for axis_map, out in axes if _one_to_one(axis_map)} - {None}


def _join(a: Origin, b: Origin) -> Origin:
    """The origin of a result that two operands tell of."""
    if a == b:
        return a
    return Origin(tuple(map(_joined, a.axes, b.axes)), a.held | b.held)


def _joined(a: Axis, b: Axis) -> Axis:
    """One axis of a sum: what has a place tells more than what has none."""
    if a == b:
        return a
    if placed(a) != placed(b):
        return a if placed(a) else b
    if [n for n, _ in a] == [n for n, _ in b]:
        return tuple((n, _common(p, q)) for (n, p), (_, q) in zip(a, b))
    return ((math.prod(n for n, _ in a), _common(marks(a), marks(b))),)


def _common(a: Marks, b: Marks) -> Marks:
    """Marks of both; features only where both hold some, or where there is nothing else."""
    joined = a | b
    return joined if joined <= FEATURES or a & b >= FEATURES else joined - FEATURES


def _follow(link: Link, origin: Origin, program: TangentProgram) -> Origin:
    """The origin of a result, as far as one operand tells it."""
    relation = _unmasked(link.relation)
    if isinstance(relation, Product):
        return origin if relation.plain else _moved(link, relation, origin, _made(link, relation, origin, program))
    if isinstance(relation, Reshape):
        return _reshaped(relation.in_shape, relation.out_shape, relation.groups, origin)
    if isinstance(relation, Elements):
        return _gathered(relation, origin)
    raise NotImplementedError(f"Axes cannot be followed through {type(relation).__name__}.")


def _unmasked(relation: Relation) -> Relation:
    """The relation of the same axes that holds this one."""
    if isinstance(relation, Masked):
        return _unmasked(relation.inner)
    return relation.hull if isinstance(relation, Several) else relation


def _made(link: Link, relation: Product, origin: Origin, program: TangentProgram) -> Marks | None:
    """What the axes are that a product makes: positions where its matrix is fixed and mixes positions and no features.

    Positions behind depth to space count as such, as far as no other axis holds some of the same axis of the input.
    None for what is not a product, such as a broadcast.
    """
    if contraction(link.equation) is None:
        return None
    taken = [out is not None and not _alike(axis_map) for axis_map, out in relation.axes]
    mixed = [axis for axis, own in zip(origin.axes, taken) if not own]
    kept = [axis for axis, own in zip(origin.axes, taken) if own]
    fixed = link.equation.operands[1 - link.operand] not in program.image_dependent
    has_features = any(marks(axis) == FEATURES for axis in kept)
    kept_positions: Marks = frozenset().union(*map(marks, kept)) - FEATURES
    alone = bool(mixed) and all(
        placed(axis) and not (marks(axis) >= FEATURES and marks(axis) & kept_positions) for axis in mixed
    )
    return frozenset().union(*map(marks, mixed)) if fixed and has_features and alone else FEATURES


def _moved(link: Link, relation: Product, origin: Origin, made: Marks | None) -> Origin:
    """Through a relation axis by axis; what a result axis is that no operand axis drives is `made`.

    Those that a convolution makes group by group are features.
    Where an operation that makes none sees an axis whole, as a Fourier transform does, and its result has an axis of the
    same size at the same place, it is that axis.
    """
    shape, out_shape, held = relation.in_shape, relation.out_shape, origin.held
    result: list[Axis | None] = [None] * len(out_shape)
    slid = frozenset() if made is None else rules[link.equation.primitive].slides(link.equation, link.operand)
    for a, (axis, (axis_map, out)) in enumerate(zip(origin.axes, relation.axes)):
        if out is not None and slid and a not in slid and not _one_to_one(axis_map):
            result[out] = ((out_shape[out], FEATURES),)
        elif out is not None and (made is None or a in slid or not _alike(axis_map)):
            moved = _along(axis_map, axis, origin.held, made is not None)
            result[out] = moved if result[out] is None else _joined(result[out], moved)  # type: ignore[arg-type]
        elif isinstance(axis_map, Fixed) and axis_map.hi - axis_map.lo == 1:
            held = held | (marks(axis) - FEATURES)
    for o, n in enumerate(out_shape):
        if result[o] is None:
            there = made is None and len(shape) == len(out_shape) and relation.axes[o][1] is None
            if there and shape[o] == n:
                result[o] = origin.axes[o]
            elif there and shape[o] == 1:  # an element that is repeated where it stood
                result[o] = ((n, origin.marks(o)),)
            else:
                mixed = [axis for axis, m, (_, out) in zip(origin.axes, shape, relation.axes) if out is None and m == n]
                result[o] = mixed[0] if mixed and made == marks(mixed[0]) else ((n, made or frozenset()),)
    return Origin(tuple(result), held)  # type: ignore[arg-type]


def _one_to_one(axis_map: AxisMap) -> bool:
    return isinstance(axis_map, Window) and axis_map.identity


def _stays(axis_map: AxisMap, product: bool) -> bool:
    """Whether position o of the result stands where o stood: there are as many, and none were picked in another order."""
    return axis_map.in_size == axis_map.out_size and (isinstance(axis_map, Window | Scan) or product)


def _alike(axis_map: AxisMap) -> bool:
    """Whether known zeros let the same positions through to all of the result, so that its axis is not an axis of these."""
    return isinstance(axis_map, Pattern) and bool((axis_map.support == axis_map.support[:1]).all())


def _along(axis_map: AxisMap, axis: Axis, held: Marks, product: bool) -> Axis:
    """One axis behind its map; a new axis of one position that is laid into a longer one holds the positions taken before.

    So the steps of a loop, one behind the other, are the axis that the loop ran along.
    """
    if _stays(axis_map, product):
        return axis
    return ((axis_map.out_size, held if axis_map.in_size == 1 and not marks(axis) else marks(axis)),)


def _reshaped(shape: Sequence[int], out_shape: Sequence[int], groups: Groups, origin: Origin) -> Origin:
    """Through a change of axes; axes of one element stay where as many of them stand between the same others.

    Of more than these, those go of which nothing tells: they were made by a broadcast.
    """
    held = origin.held
    result: list[Axis] = [((n, frozenset()),) for n in out_shape]
    for ins, outs in groups:
        factors = [factor for a in ins for factor in origin.axes[a]]
        for o, axis in zip(outs, _split(factors, [out_shape[o] for o in outs])):
            result[o] = axis
    before, behind = _ones(shape), _ones(out_shape)
    for place, ins in before.items():
        outs = behind.get(place, [])
        if len(ins) > len(outs):
            ins = [a for a in ins if marks(origin.axes[a])]
        if len(ins) == len(outs):
            for a, o in zip(ins, outs):
                result[o] = origin.axes[a]
        else:
            held = held.union(*(marks(origin.axes[a]) - FEATURES for a in ins))
    return Origin(tuple(result), held)


def _ones(shape: Sequence[int]) -> dict[int, list[int]]:
    """The axes of one element, by how many elements the axes before them have."""
    found: dict[int, list[int]] = {}
    before = 1
    for a, n in enumerate(shape):
        before *= n
        if n == 1:
            found.setdefault(before, []).append(a)
    return found


def _split(factors: Sequence[Factor], sizes: Sequence[int]) -> list[Axis]:
    """Factors in order, shared out to axes of `sizes` of the same product; a factor may be cut in two.

    >>> rows, columns = frozenset({1}), frozenset({2})
    >>> _split([(6, rows), (4, columns)], [3, 8]) == [((3, rows),), ((2, rows), (4, columns))]
    True
    """
    rest, result = [factor for factor in factors if factor[0] != 1][::-1], []
    for size in sizes:
        axis: list[Factor] = []
        while size > 1 and rest:
            n, mark = rest.pop()
            common = math.gcd(n, size)
            if common < min(n, size) or common == 0:
                return [*result, *_mixed([*axis, (n, mark), *rest], sizes[len(result) :])]
            if common < n:
                rest.append((n // common, mark))
            axis.append((common, mark))
            size //= common
        result.append(tuple(axis))
    return result if all(result) else _mixed(factors, sizes)


def _mixed(factors: Sequence[Factor], sizes: Sequence[int]) -> list[Axis]:
    """Axes that do not end where factors end: each may hold any of them."""
    return [((size, frozenset().union(*(mark for _, mark in factors))),) for size in sizes]


def _gathered(relation: Elements, origin: Origin) -> Origin:
    """Element by element: a result axis comes from the operand axes whose index changes along it."""
    marked: list[Marks] = [frozenset()] * len(relation.out_shape)
    for a, axis in enumerate(origin.axes):
        alone = tuple(b == a for b in range(len(origin.axes)))
        for o, moves in enumerate(forward(relation, alone)):
            marked[o] = marked[o] | marks(axis) if moves else marked[o]
    return Origin(tuple(((n, mark),) for n, mark in zip(relation.out_shape, marked)), origin.held)


def _use(link: Link, result: Origin) -> dict[int, Axis]:
    """What the result of an equation, and the equation itself, tell of the axes of an operand."""
    relation = _unmasked(link.relation)
    found: dict[int, Axis] = {}
    if isinstance(relation, Product):
        for a, (axis_map, out) in enumerate(relation.axes):
            if out is not None:
                found[a] = result.axes[out] if _one_to_one(axis_map) else ((axis_map.in_size, result.marks(out)),)
    elif isinstance(relation, Reshape):
        turned = [(outs, ins) for ins, outs in relation.groups]
        found = dict(enumerate(_reshaped(relation.out_shape, relation.in_shape, turned, result).axes))
    name = link.equation.primitive
    for a in rules[name].slides(link.equation, link.operand) if name in rules else ():
        if not placed(found.get(a, ())):
            found[a] = ((link.source.shape[a], PLACES),)
    return found
