"""The box interpretation: one pass from the input to all layers, with one field per variable and input axis.

Forward and exact: the hull of a union of hulls is the hull of the union, so no step loses anything
as long as each rule names the positions that an element depends on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import reduce

from jaxrf.equations.program import Equation, TangentProgram, Variable
from jaxrf.errors import UnknownPrimitiveError
from jaxrf.geometry.field import Field
from jaxrf.geometry.merge import merge, source
from jaxrf.geometry.relations import Relation, dense
from jaxrf.interpret.moves import Moved, moved
from jaxrf.primitives import rules

Fields = tuple[Field, ...]


@dataclass(frozen=True)
class Boxes:
    """Fields of the variables that were asked for, one per axis of the source; and where they are not tight hulls."""

    fields: dict[Variable, Fields]
    loose: dict[Variable, tuple[str, ...]] = field(default_factory=dict)


def boxes(
    program: TangentProgram, start: Variable | None = None, unknown: str = "raise", keep: Collection[Variable] = ()
) -> Boxes:
    """Fields of the layers that depend on the input (or on the variable `start`).

    Fields of other variables are dropped behind their last use: scores of n tokens have n² intervals each.

    Args:
        program: the traced model.
        start: where paths begin; the input if None.
        unknown: "raise" for primitives without a rule, or "global": they see everything, and boxes behind them are loose.
        keep: variables whose fields are wanted too.

    Raises:
        UnknownPrimitiveError: with the primitive, the layer and the user's line.
    """
    start = start or program.input
    fields: dict[Variable, Fields] = {start: tuple(source(start.shape, axis) for axis in range(len(start.shape)))}
    loose: dict[Variable, tuple[str, ...]] = {start: ()}
    sums: dict[Variable, Moved] = {}
    wanted = {start, *keep, *(layer.tangent for layer in program.layers.values())}
    last = {v: equation for equation in program.linear for v in equation.operands}
    read: set[Variable] = set()  # by no further equation
    for equation in program.linear:
        result = equation.result
        operands = [i for i in equation.tangents if equation.operands[i] in fields]
        if not operands or result is start:
            continue
        found = [(equation.operands[i], *relation(program, equation, i, unknown)) for i in operands]
        links: list[tuple[Variable, Relation]] = [(v, link) for v, link, _ in found]  # type: ignore[misc]
        whole = _sum_of_reads(result, links, sums)
        pushed = [tuple(push(link, f, equation) for f in fields[v]) for v, link in whole or links]
        fields[result] = reduce(lambda a, b: tuple(map(merge, a, b)), pushed)
        notes = [note for v, _ in links for note in loose[v]] + [note for *_, note in found if note]
        loose[result] = tuple(dict.fromkeys(notes))
        read |= {v for v, _ in links if last[v] is equation}
        for v in _no_bases(read, sums) - wanted:
            del fields[v], loose[v]
    return Boxes(fields, loose)


def _no_bases(read: set[Variable], sums: dict[Variable, Moved]) -> set[Variable]:
    """Takes from the variables `read` to the end those that no sum of reads that goes on is made of."""
    for v in read & sums.keys():
        del sums[v]
    found = read - {one.base for one in sums.values()}
    read -= found
    return found


def _sum_of_reads(
    result: Variable, links: list[tuple[Variable, Relation]], sums: dict[Variable, Moved]
) -> list[tuple[Variable, Relation]] | None:
    """The one link of a result that is a sum of reads of a variable, from that variable; `sums` are those known so far."""
    one = moved(links, sums)
    if one is None:
        return None
    sums[result] = one
    link = one.relation(result.shape) if len(links) > 1 else None
    return [(one.base, link)] if link is not None else None


def push(link: Relation, old: Field, equation: Equation) -> Field:
    """The field behind one equation; a field that has become global says by which equation it did."""
    new = link.carry(old)
    if new.global_cause == old.global_cause:
        return new
    return replace(new, global_cause=f"{equation.primitive} {equation.where()}")


def relation(program: TangentProgram, equation: Equation, operand: int, unknown: str) -> tuple[Relation, str]:
    """The relation of one operand by its rule, and why it is loose, if it is; derived once, and kept by the program."""
    if equation.primitive not in rules and unknown != "global":
        raise UnknownPrimitiveError(
            f"No rule for primitive {equation.primitive!r}, {equation.where()}. "
            'Add one in jaxrf/primitives/, or pass unknown="global" to treat it as seeing the whole input.'
        )
    if (equation, operand) not in program.derived:
        program.derived[equation, operand] = _derived(equation, operand)
    return program.derived[equation, operand]


def _derived(equation: Equation, operand: int) -> tuple[Relation, str]:
    if equation.primitive not in rules:
        note = f"{equation.primitive} {equation.where()} has no rule and counts as seeing everything"
        return dense(equation.operands[operand].shape, equation.result.shape), note
    rule = rules[equation.primitive]
    link = rule.relation(equation, operand)
    note = rule.loose(equation, operand)
    return link, f"{equation.primitive} {equation.where()}: {note}" if note else ""
