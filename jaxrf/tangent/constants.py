"""What is known of coefficients before any weight or image is: values, zeros, masks.

Takes the forward equations and evaluates small slices of them, each when it is asked for and once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from jaxrf.equations.levels import NOTHING, Known, constant, lost
from jaxrf.equations.program import Equation, Literal, Operand, Variable, evaluate
from jaxrf.primitives.operation import Kind, Operation, about
from jaxrf.tangent.rounding import significant


class Constants:
    """Answers what rules ask about coefficients.

    Args:
        forward: the forward equations, in order.
        consts: values of the variables that the model closed over.
        parameters: the model's variables, as arguments of the program.
        image: the input's value.
        cap: larger slices, in elements, count as unknown.
    """

    def __init__(
        self, forward: Sequence[Equation], consts: Mapping[Variable, Any], parameters: Iterable[Variable], image: Variable,
        cap: int = 2**24,
    ):  # fmt: skip
        self.forward, self.consts, self.cap = forward, consts, cap
        self.parameters = set(parameters)
        drawn = {v for eqn in forward if about(eqn.primitive).kind is Kind.DRAW for v in eqn.results}
        self.changing = self._dependent({image} | drawn)
        self.free = self.changing | self._dependent(self.parameters)
        self._values: dict[Variable, np.ndarray] = {}
        self._supports: dict[Variable, np.ndarray | None] = {}

    def value(self, operand: Operand) -> np.ndarray | None:
        """The value of an operand that depends on neither variables, image nor chance; None for any other."""
        if isinstance(operand, Literal):
            return np.asarray(operand.value)
        if operand.tangent or operand in self.free or math.prod(operand.shape) > self.cap:
            return None
        if operand not in self._values:
            self._values[operand] = np.asarray(evaluate(self.slice([operand]), [operand], self.consts)[0])
        return self._values[operand]

    def support(self, operand: Operand) -> np.ndarray | None:
        """Where an operand can be other than zero; None where nothing is known.

        The zeros of an operand that depends on variables or the image follow from constants: those that it is multiplied
        with, put in place of it, filled up with, and masks below an exponential (see `levels`). What random variables
        would come out as is never looked at, since that can be zero by chance.
        """
        if isinstance(operand, Literal):
            return np.asarray(np.asarray(operand.value) != 0)
        if operand.tangent or operand in self.parameters:
            return None
        if operand not in self.free:
            return self._fixed_support(operand)
        found = self._knowledge.get(operand, NOTHING).support
        return None if found is None else np.broadcast_to(found, operand.shape)

    def _fixed_support(self, operand: Variable) -> np.ndarray | None:
        """The support of a constant; None if it is too large to be evaluated."""
        if operand not in self._supports:
            value = self.value(operand)
            known = self.slice([operand]), operand, self.consts
            self._supports[operand] = None if value is None else significant(value, *known)
        return self._supports[operand]

    def columns(self, operand: Operand) -> list[np.ndarray | None]:
        """Values of the last axis one by one, None for those that are not known; indices are put together from such."""
        value = self.value(operand)
        if value is not None:
            return list(np.moveaxis(value, -1, 0))
        place = self._producers.get(operand) if isinstance(operand, Variable) else None
        eqn = None if place is None else self.forward[place]
        if eqn is not None and about(eqn.primitive).joined_along(eqn) == len(operand.shape) - 1:
            return [column for part in eqn.operands for column in self.columns(part)]
        return [None] * operand.shape[-1]

    def masked(self, operand: Operand) -> bool:
        """Whether an operand may hold zeros of masked logits, as attention weights do, that were not followed."""
        return operand in self.free and self._knowledge.get(operand, NOTHING).lost

    def slice(self, wanted: Iterable[Operand], through: Any = None) -> list[Equation]:
        """The forward equations that `wanted` are made by, in order; only those that `through` accepts, if given."""
        waiting, found = [v for v in wanted if isinstance(v, Variable)], {}
        while waiting:
            place = self._producers.get(waiting.pop())
            if place is None or place in found or (through and not through(self.forward[place])):
                continue
            found[place] = self.forward[place]
            waiting.extend(v for v in found[place].operands if isinstance(v, Variable))
        return [found[place] for place in sorted(found)]

    @cached_property
    def _producers(self) -> dict[Variable, int]:
        return {v: place for place, eqn in enumerate(self.forward) for v in eqn.results}

    def _dependent(self, start: set[Variable]) -> set[Variable]:
        """`start`, and what is made from it."""
        found = set(start)
        for eqn in self.forward:
            if any(v in found for v in eqn.operands):
                found.update(eqn.results)
        return found

    @cached_property
    def _knowledge(self) -> dict[Operand, Known]:
        """Zeros and levels of all that depends on variables, image or chance, as far as there are any."""
        found: dict[Operand, Known] = {}
        for eqn in self.forward:
            if eqn.results[0] not in self.free:
                continue
            one = about(eqn.primitive)
            if not one.tells_levels and not any(v in found for v in eqn.operands):
                continue
            operands = [self._known(v, found) for v in eqn.operands]
            found |= {v: known for v, known in zip(eqn.results, _after(one, eqn, operands)) if not known.plain}
        return found

    def _known(self, operand: Operand, found: Mapping[Operand, Known]) -> Known:
        """What is known of an operand: a constant, or among those `found`."""
        if operand in self.free:
            return found.get(operand, NOTHING)
        if (number := self.number(operand)) is not None:
            return constant(np.full([1] * len(operand.shape), number))
        value = self.value(operand)
        return NOTHING if value is None else replace(constant(value), support=self.support(operand))

    def number(self, operand: Operand) -> Any:
        """The number that a constant repeats, where that is seen without computing it."""
        while isinstance(operand, Variable):
            place = self._producers.get(operand)
            eqn = None if place is None else self.forward[place]
            if eqn is None or len(eqn.operands) != 1:
                return None
            if not about(eqn.primitive).rearranges and about(eqn.primitive).kind is not Kind.PASS:
                return None
            operand = eqn.operands[0]
        return operand.value if operand.shape == () else None


def _after(one: Operation, equation: Equation, operands: Sequence[Known]) -> list[Known]:
    """What is known of the results of an equation; what its operation does not follow is lost, and that is kept in mind."""
    if one.kind is Kind.PASS and len(equation.results) > 1:
        return list(operands)
    if equation.result.dtype.kind == "b":
        return [NOTHING] * len(equation.results)
    found = one.known(equation, operands)
    found = lost(operands) if found is None else found
    support, level = (_of_rank(a, len(equation.result.shape)) for a in (found.support, found.level))
    return [replace(found, support=support, level=level)] * len(equation.results)


def _of_rank(array: np.ndarray | None, rank: int) -> np.ndarray | None:
    """A number, as of an operand that is broadcast, with the axes of the result."""
    return array.reshape([1] * rank) if array is not None and not array.ndim else array
