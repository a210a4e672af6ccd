"""Relations of all equations of a program, and which axes of its variables hold positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxrf.geometry.counting import Kinds, backward, forward, moved_only
from jaxrf.geometry.relations import Relation
from jaxrf.interpret.fields import relation
from jaxrf.tangent.program import Equation, TangentProgram, Variable


@dataclass(frozen=True, eq=False)
class Link:
    """One operand of one linear equation, and how the result depends on it."""

    equation: Equation
    operand: int
    relation: Relation

    @property
    def source(self) -> Variable:
        return self.equation.operands[self.operand]  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class Positions:
    """The linear equations behind the input as links, and the kinds of all axes.

    An axis holds positions if it comes from a position axis of the input, or is added to, or multiplied with, one that
    does. All others are features: channels, heads, hidden units.
    """

    links: dict[Equation, list[Link]]
    kinds: dict[Variable, Kinds]

    def pointwise(self, link: Link) -> bool:
        """Whether the equation only computes on values at one position, with features of that position.

        Products with kernels and matrices are steps of a path of their own, even where they see one position.
        """
        if link.equation.primitive in ("conv_general_dilated", "dot_general"):
            return False
        return moved_only(link.relation, self.kinds[link.source], self.kinds[link.equation.result])


def positions(program: TangentProgram, spatial: Sequence[int], unknown: str = "raise") -> Positions:
    """Follow the positions of the input through the program.

    Args:
        program: the traced model.
        spatial: axes of the batched input that are positions; the batch axis is one too.
        unknown: as for `boxes`.
    """
    links: dict[Equation, list[Link]] = {}
    kinds: dict[Variable, Kinds] = {
        program.input: tuple(a == 0 or a in spatial for a in range(len(program.input.shape)))
    }
    for equation in program.linear:
        mine = [i for i in equation.tangents if equation.operands[i] in kinds]
        if mine:
            links[equation] = [Link(equation, i, relation(program, equation, i, unknown)[0]) for i in mine]
            kinds[equation.result] = (False,) * len(equation.result.shape)
    while any([_spread(links.values(), kinds), _recede(links.values(), kinds)]):
        pass
    return Positions(links, kinds)


def _spread(links, kinds: dict[Variable, Kinds]) -> bool:
    """From operands to results, in order; whether anything was new."""
    return any([_enter(kinds, one.equation.result, forward(one.relation, kinds[one.source])) for one in _each(links)])


def _recede(links, kinds: dict[Variable, Kinds]) -> bool:
    """From results to operands, in reverse order; whether anything was new."""
    last_first = reversed(list(_each(links)))
    return any([_enter(kinds, one.source, backward(one.relation, kinds[one.equation.result])) for one in last_first])


def _each(links) -> Iterator[Link]:
    return (link for group in links for link in group)


def _enter(kinds: dict[Variable, Kinds], variable: Variable, more: Kinds) -> bool:
    old = kinds[variable]
    kinds[variable] = tuple(a or b for a, b in zip(old, more, strict=True))
    return kinds[variable] != old
