"""Where a pull-back may carry magnitudes without signs, because no two elements of one origin meet again.

Behind a product with a random weight the elements of a cotangent have independent signs.
As long as each of them goes its own way until the next random weight, their signs never matter, and need not be drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from jaxrf.equations.program import Equation, Variable
from jaxrf.primitives import rules


class Step(Protocol):
    """One equation of a pull-back, and the places of the operands that it is pulled back to."""

    @property
    def equation(self) -> Equation: ...

    @property
    def into(self) -> Mapping[int, object]: ...


def magnitudes(target: Variable, steps: Collection[Step], averaged: Collection[Equation]) -> frozenset[Variable]:
    """The variables whose cotangents may be magnitudes.

    An origin is the target, or what a random weight pulls back to. Its region is what it reaches before another one.
    A region is fine where each of its variables is reached in one way only, by equations that keep elements apart,
    and where no region that is not fine touches it.

    Args:
        target: where the pull-back begins.
        steps: its equations, from the target to the source.
        averaged: products with random weights that are averaged over.
    """
    origins = {target: None}
    for step in steps:
        if step.equation in averaged:
            origins |= dict.fromkeys(_operands(step).values())
    regions = {origin: _region(origin, steps, averaged) for origin in origins}
    spoiled = set().union(*(region for region, fine in regions.values() if not fine))
    fine = [region for region, is_fine in regions.values() if is_fine]
    while touched := [region for region in fine if region & spoiled]:
        spoiled |= set().union(*touched)
        fine = [region for region in fine if not region & spoiled]
    return frozenset().union(*fine)


def _region(
    origin: Variable, steps: Collection[Step], averaged: Collection[Equation]
) -> tuple[frozenset[Variable], bool]:
    """What an origin reaches before a random weight, and whether its elements stay apart on the way."""
    reached, fine = {origin}, True
    for step in steps:
        if step.equation.result not in reached or step.equation in averaged:
            continue
        for i, operand in _operands(step).items():
            takes_one = rules[step.equation.primitive].takes_one(step.equation, i)
            fine = fine and operand not in reached and takes_one
            reached.add(operand)
    return frozenset(reached), fine


def _operands(step: Step) -> dict[int, Variable]:
    return {i: v for i in step.into if isinstance(v := step.equation.operands[i], Variable)}
