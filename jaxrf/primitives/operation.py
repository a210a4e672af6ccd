"""What is known of an operation, whether it is linear or not: its kind, and the questions that follow from it.

Forward passes are made of all operations, derivatives of those that have a `Rule`, which is an `Operation` that can be
pulled back too. Whoever wants to know something of an equation asks `about(equation.primitive)`, and keeps no list.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from jaxrf.base.registry import Registry
from jaxrf.equations.levels import Known
from jaxrf.equations.program import Equation
from jaxrf.geometry.relations import Relation


class Kind(enum.Enum):
    """What an operation makes its elements of; the value says it as a sentence of the docs."""

    PASS = "each element as it is, up to its type and rounding"
    PART = "complex numbers from their parts, or parts of them"
    ADD = "elements at one place added or subtracted"
    SCALE = "each element times or over another, or with the other sign"
    SELECT = "one of several operands at each place"
    FUNCTION = "another function of the elements at one place"
    MOVE = "each element at another place, and at no second one"
    READ = "elements of the operand as they are, of which some may be read several times"
    CHOICE = "one of several elements, by their values"
    WRITE = "an array with updates written into it, added to it or multiplied with it"
    SUM = "sums of elements"
    PRODUCT = "sums of products with a kernel or a matrix"
    MIX = "all positions of an axis, mixed by a map of the operation itself"
    DRAW = "random numbers"
    OTHER = "anything else"


class Operation:
    """One operation on arrays. The defaults know nothing; a family says what it knows.

    Most of what is asked follows from `kind`. The laws of each answer are tested for every operation that is registered.
    """

    kind: Kind = Kind.OTHER

    indices: ClassVar[tuple[int, ...]] = ()
    """Operands that say where elements come from or go to, by number; the last one stands for all behind it too."""

    tells_levels: bool = False
    """Whether constants beside an operand of which nothing is known tell zeros or levels of the result (`known`)."""

    @property
    def pointwise(self) -> bool:
        """Whether each element of the result is made of those at its own place, broadcast along axes of size 1."""
        return self.kind in (Kind.PASS, Kind.PART, Kind.ADD, Kind.SCALE, Kind.SELECT, Kind.FUNCTION)

    @property
    def rearranges(self) -> bool:
        """Whether the result holds elements of an operand and nothing else, each as it is: at other places, or repeated."""
        return self.kind in (Kind.MOVE, Kind.READ)

    @property
    def gathers(self) -> bool:
        """Whether the result holds single elements of the operand, maybe several times, so that cotangents of one add up."""
        return self.kind in (Kind.READ, Kind.CHOICE)

    @property
    def reduces(self) -> bool:
        """Whether several elements of an operand become one, without weights: sums and maxima."""
        return self.kind in (Kind.SUM, Kind.CHOICE)

    def steers(self, equation: Equation, operand: int) -> bool:
        """Whether an operand says where elements come from or go to, and so depends on the sizes of arrays."""
        return operand in self.indices or (bool(self.indices) and operand > self.indices[-1])

    def letters(self, equation: Equation, operand: int) -> tuple[str, str, str] | None:
        """Axes of an operand, of the other one and of the result as letters, one letter for those that run together.

        None where the operand is not a matrix, or an array of matrices, that is multiplied with the other one.
        """
        return None

    def values(self, equation: Equation, operand: int, result: int = 0) -> Relation | None:
        """Which elements of an operand the *values* of a result depend on; None where that is not known.

        Law: where an element of the operand changes, no element of the result changes but those that are in relation to it.
        """
        return None

    def known(self, equation: Equation, operands: Sequence[Known]) -> Known | None:
        """Zeros and levels of the result, from those of the operands (`equations/levels.py`); None where they are not followed.

        Law: elements of the result outside of the support are zero, wherever those of the operands outside of theirs are.
        """
        return None

    def joined_along(self, equation: Equation) -> int | None:
        """The axis along which the result holds its operands one behind the other; None if it does not."""
        return None


NOTHING_KNOWN = Operation()
operations: Registry[Operation] = Registry("operation")
O = TypeVar("O", bound=Operation)  # noqa: E741


def about(primitive: str) -> Operation:
    """What is known of a primitive, by its name; an `Operation` that knows nothing where it is not registered."""
    return operations.get(primitive, NOTHING_KNOWN)


def operation(*names: str) -> Callable[[type[O]], type[O]]:
    """A class decorator that enters one instance for each of the primitives `names`, which have no linear rule."""
    enter = operations.register(*names)

    def decorate(cls: type[O]) -> type[O]:
        enter(cls())
        return cls

    return decorate
