"""Which axes of a program's variables hold positions, for the interpretations that tell them from features."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jaxrf.equations.program import TangentProgram, Variable
from jaxrf.geometry.kinds import Kinds, backward, forward, joined, merged, moved_only, windowed
from jaxrf.interpret.links import Link, Links
from jaxrf.interpret.units import UnitAxes
from jaxrf.primitives.rule import contraction


@dataclass(frozen=True, eq=False)
class Positions:
    """The linear equations behind the input as links, and the kinds of all axes.

    An axis holds positions if it comes from a position axis of the input, if it is added to or multiplied with one that
    does, if it is merged into one (upsampling, depth to space), or if it is made by repetition and a window slides on it.
    All others are features: channels, heads, hidden units.
    `units` says how the axes of each layer are read.
    """

    links: Links
    kinds: dict[Variable, Kinds]
    units: Mapping[str, UnitAxes]

    def pointwise(self, link: Link) -> bool:
        """Whether the equation only computes on values at one position, with features of that position.

        Products with kernels and matrices are steps of a path of their own, even where they see one position.
        """
        if contraction(link.equation):
            return False
        return moved_only(link.relation, self.kinds[link.source], self.kinds[link.equation.result])


def positions(
    program: TangentProgram, spatial: Sequence[int], every: Links, units: Mapping[str, UnitAxes]
) -> Positions:
    """Follow the positions of the input through the program.

    Args:
        program: the traced model.
        spatial: axes of the batched input that are positions; the batch axis is one too.
        every: the program's links.
        units: how the axes of its layers are read.
    """
    links, reached = _with_elements(program, every)
    each = [link for group in links.values() for link in group]
    used, named = _used(program, each, units), _named(program, links, spatial)
    kinds = Marks()
    kinds.enter(program.input, tuple(a == 0 or a in spatial for a in range(len(program.input.shape))))
    for variable in reached:
        kinds.enter(variable, tuple(map(operator.gt, used[variable], named[variable])))

    def ahead(link: Link) -> Kinds:
        mine = kinds[link.source]
        joins = joined(link.relation, mine, used[link.equation.result])
        return tuple(map(operator.or_, forward(link.relation, mine), joins))

    def back(link: Link) -> Kinds:
        theirs = kinds[link.equation.result]
        merges = merged(link.relation, theirs, used[link.equation.result], named[link.source])
        return tuple(map(operator.or_, backward(link.relation, theirs), merges))

    kinds.follow(each, ahead, back)
    return Positions(links, {variable: kinds[variable] for variable in reached}, units)


def _with_elements(program: TangentProgram, links: Links) -> tuple[Links, set[Variable]]:
    """The links that lead on from the input, and the variables there: nothing comes through an array without elements."""
    kept: Links = {}
    reached = {program.input}
    for equation, each in links.items():
        mine = [link for link in each if link.source in reached]
        if mine and 0 not in equation.result.shape:
            kept[equation] = mine
            reached.add(equation.result)
    return kept, reached


class Marks:
    """Some axes of each variable; they grow along the equations until nothing is new."""

    def __init__(self) -> None:
        self._kinds: dict[Variable, Kinds] = {}

    def __getitem__(self, variable: Variable) -> Kinds:
        return self._kinds.get(variable, (False,) * len(variable.shape))

    def enter(self, variable: Variable, more: Kinds) -> bool:
        """Add axes; whether any was new."""
        old = self[variable]
        self._kinds[variable] = tuple(map(operator.or_, old, more))
        return self._kinds[variable] != old

    def follow(
        self, links: Sequence[Link], ahead: Callable[[Link], Kinds] | None, back: Callable[[Link], Kinds] | None
    ) -> None:
        """Carries axes from operands to results by `ahead` and back by `back`, until nothing changes."""
        grown = True
        while grown:
            grown = False
            for link in links if ahead else ():
                grown |= self.enter(link.equation.result, ahead(link))  # type: ignore[misc]
            for link in reversed(links) if back else ():
                grown |= self.enter(link.source, back(link))  # type: ignore[misc]


def _used(program: TangentProgram, links: Sequence[Link], units: Mapping[str, UnitAxes]) -> Marks:
    """Axes along which a window slides further on, or that are the units of a layer: they are not a mere list."""
    used = Marks()
    for name, axes in units.items():
        tangent = program.layers[name].tangent
        assert tangent is not None
        used.enter(tangent, tuple(a in axes.units for a in range(len(tangent.shape))))
    for link in links:
        used.enter(link.source, windowed(link.relation))
    used.follow(links, None, lambda link: backward(link.relation, used[link.equation.result]))
    return used


def _named(program: TangentProgram, links: Links, spatial: Sequence[int]) -> Marks:
    """Axes that hold features: those of the input, of kernels and matrices, and what is joined with them."""
    named = Marks()
    named.enter(program.input, tuple(a != 0 and a not in spatial for a in range(len(program.input.shape))))
    for equation, mine in links.items():
        if contraction(equation):
            driven = [forward(link.relation, (True,) * len(link.source.shape)) for link in mine]
            named.enter(equation.result, tuple(not any(axis) for axis in zip(*driven)))
    each = [link for group in links.values() for link in group]
    named.follow(
        each,
        lambda link: forward(link.relation, named[link.source]),
        lambda link: backward(link.relation, named[link.equation.result]),
    )
    return named
