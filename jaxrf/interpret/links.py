"""The linear equations behind the input as links: one operand of one equation, and how the result depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxrf.equations.program import Equation, TangentProgram, Variable
from jaxrf.geometry.relations import Relation
from jaxrf.interpret.fields import relation


@dataclass(frozen=True, eq=False)
class Link:
    """One operand of one linear equation, and how the result depends on it."""

    equation: Equation
    operand: int
    relation: Relation

    @property
    def source(self) -> Variable:
        return self.equation.operands[self.operand]  # type: ignore[return-value]


Links = dict[Equation, list[Link]]


def links_of(program: TangentProgram, unknown: str = "raise") -> Links:
    """The equations that depend on the input, in order, each with a link for each operand that does.

    Args:
        program: the traced model.
        unknown: as for `boxes`.
    """
    links: Links = {}
    reached = {program.input}
    for equation in program.linear:
        mine = [i for i in equation.tangents if equation.operands[i] in reached]
        if mine:
            links[equation] = [Link(equation, i, relation(program, equation, i, unknown)[0]) for i in mine]
            reached.add(equation.result)
    return links
