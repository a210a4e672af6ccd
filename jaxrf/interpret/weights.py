"""Which coefficients of a derivative are random weights: parameters up to order, cast and scale, each used once.

Takes the equations of a pull-back and yields the products with such weights.
What the average over signs of weights cannot hold for is refused here, with its reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxrf.equations.program import Equation, Operand, TangentProgram, Variable
from jaxrf.errors import InputError
from jaxrf.primitives.operation import Kind, about
from jaxrf.primitives.rule import Contraction, contraction, rules

REPEATING = (Kind.READ, Kind.SCALE)
"""Kinds of operations that may use an element several times."""
REFUSED = "The sign-averaged estimator cannot be used: "
INSTEAD = 'Use estimator="sampled".'


@dataclass(frozen=True, eq=False)
class Weight:
    """A product of the derivative with a random weight.

    Attributes:
        equation: the convolution or matrix product.
        operand: the place of its tangent; the other one is the weight.
        argument: the parameter that the weight is.
        chain: the forward equations from the parameter to the weight, in order.
    """

    equation: Equation
    operand: int
    argument: Variable
    chain: tuple[Equation, ...]

    @property
    def coefficient(self) -> Operand:
        return self.equation.operands[1 - self.operand]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Axes of the weight that one element of the result is summed over."""
        return self._rule.summed(self.equation, 1 - self.operand)

    @property
    def places(self) -> tuple[int, ...]:
        """Axes of the weight along which it has positions or groups: those of a kernel, those of a batch."""
        return self._rule.places(self.equation, 1 - self.operand)

    @property
    def _rule(self) -> Contraction:
        rule = contraction(self.equation)
        assert rule is not None
        return rule

    def elements(self) -> np.ndarray:
        """Which element of the parameter each element of the weight is."""
        index = np.arange(int(np.prod(self.argument.shape))).reshape(self.argument.shape)
        for eqn in self.chain:
            if about(eqn.primitive).rearranges:
                index = np.asarray(eqn.evaluate(index.astype(np.int32))[0])
            index = np.broadcast_to(index, eqn.results[0].shape)
        return index


def random_weights(program: TangentProgram, equations: Sequence[Equation]) -> list[Weight]:
    """The products with random weights among the `equations` of a pull-back.

    Raises:
        InputError: a weight is used twice, or is a function of parameters; or both factors of a product depend on the
            image, as in attention.
    """
    fixed = _Parameters(program)
    found: list[Weight] = []
    for eqn in equations:
        if contraction(eqn) is None:
            continue
        operand = eqn.tangents[0]
        coefficient = eqn.operands[1 - operand]
        if coefficient in program.image_dependent:
            raise InputError(
                f"{REFUSED}{eqn.primitive} {eqn.where()} multiplies two values that both depend on the image, as attention "
                f"does, so its coefficient is not a random weight. {INSTEAD}"
            )
        if not fixed.behind(coefficient):
            continue
        if np.issubdtype(eqn.result.dtype, np.complexfloating):
            raise InputError(
                f"{REFUSED}the weight of {eqn.primitive} {eqn.where()} is complex, and signs are real. {INSTEAD}"
            )
        source = fixed.source(coefficient)
        if source is None:
            raise InputError(
                f"{REFUSED}the weight of {eqn.primitive} {eqn.where()} is a function of a parameter beyond its order, cast "
                f"and scale, so that its entries are not independent. {INSTEAD}"
            )
        found.append(Weight(eqn, operand, *source))
    _check_used_once(found)
    _check_nowhere_else(program, equations, found, fixed)
    return found


class _Parameters:
    """Finds the parameters behind coefficients."""

    def __init__(self, program: TangentProgram):
        self.program, self.arguments = program, set(program.arguments)
        self._behind: dict[Variable, frozenset[Variable]] = {v: frozenset({v}) for v in program.arguments}
        for eqn in program.forward:
            mine = frozenset().union(*(self.behind(v) for v in eqn.operands))
            self._behind |= dict.fromkeys(eqn.results, mine)

    def behind(self, operand: Operand) -> frozenset[Variable]:
        """The parameters that an operand depends on."""
        return self._behind.get(operand, frozenset()) if isinstance(operand, Variable) else frozenset()

    def source(self, operand: Operand) -> tuple[Variable, tuple[Equation, ...]] | None:
        """The one parameter that an operand is up to order, cast and scale, and the equations between; None for others."""
        chain: list[Equation] = []
        while operand not in self.arguments:
            eqn = self.program.producers.get(operand)  # type: ignore[arg-type]
            ways = [v for v in eqn.operands if self.behind(v)] if eqn else []
            if eqn is None or len(ways) != 1 or not _keeps_entries(eqn, eqn.operands.index(ways[0])):
                return None
            chain.append(eqn)
            operand = ways[0]
        assert isinstance(operand, Variable)
        return operand, tuple(chain[::-1])


def _keeps_entries(equation: Equation, operand: int) -> bool:
    """Whether the elements of a result are those of an operand in another order, cast, or times coefficients."""
    found = about(equation.primitive)
    if len(equation.results) > 1:
        return False
    if found.rearranges:
        return len(equation.operands) == 1
    if found.kind is Kind.SCALE:
        linear = rules[equation.primitive].linear
        return linear is None or operand in linear
    return found.kind is Kind.PASS


def _check_used_once(weights: Sequence[Weight]) -> None:
    """Raises an error where two products, or two elements of one weight, share an element of a parameter."""
    uses: Mapping[Variable, list[Weight]] = defaultdict(list)
    for weight in weights:
        uses[weight.argument].append(weight)
    for argument, mine in uses.items():
        seen = np.zeros(int(np.prod(argument.shape)), np.int32)
        for weight in mine:
            if len(mine) > 1 or any(about(eqn.primitive).kind in REPEATING for eqn in weight.chain):
                np.add.at(seen, weight.elements().ravel(), 1)
            if seen.max(initial=0) > 1:
                raise InputError(
                    f"{REFUSED}the weight of {weight.equation.primitive} {weight.equation.where()} is used more than once, as "
                    f"weights that are shared between layers or constant in a scan are, so its signs meet again. {INSTEAD}"
                )


def _check_nowhere_else(
    program: TangentProgram, equations: Sequence[Equation], weights: Sequence[Weight], fixed: _Parameters
) -> None:
    """Raises an error where a random weight is a coefficient of another equation too."""
    random = {weight.argument for weight in weights}
    for eqn in equations:
        if contraction(eqn):
            continue
        coefficients: list[Any] = [v for v in eqn.operands if not v.tangent and v not in program.image_dependent]
        if any(fixed.behind(v) & random for v in coefficients):
            raise InputError(
                f"{REFUSED}a random weight is used more than once: also by {eqn.primitive} {eqn.where()}. {INSTEAD}"
            )
