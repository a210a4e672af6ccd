"""What a rule is: everything that jaxrf knows about one linear primitive.

A rule never sees a model, only one equation. Beside what any `Operation` knows, it says which elements depend on which
(`relation`), how a cotangent is pulled back on windows (`transpose`) and what that reads (`reads`), and what it costs (`flops`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import jax
import numpy as np
from jax.custom_batching import sequential_vmap

from jaxrf.base.registry import Registry
from jaxrf.equations.levels import Known
from jaxrf.equations.program import Equation
from jaxrf.geometry.relations import Relation, dense
from jaxrf.primitives.operation import Kind, Operation, about, operations


@dataclass(frozen=True)
class Span:
    """The window of one axis: `size` positions from a start that moves with the unit, or the whole axis.

    `start` is the row of the table of starts, None for the whole axis.
    A moving window may leave the axis; what lies outside is zero in every cotangent.
    """

    size: int
    extent: int
    start: int | None = None

    @property
    def moving(self) -> bool:
        return self.start is not None


Spans = tuple[Span, ...]
MASKED = "its coefficient is made of masked logits, and not all of its zeros are followed"


def whole_spans(shape: tuple[int, ...]) -> Spans:
    """The whole array as spans."""
    return tuple(Span(size, size) for size in shape)


class View(Protocol):
    """What a rule may know while it pulls one equation back: windows and coefficients, never units or models."""

    @property
    def equation(self) -> Equation: ...

    @property
    def out(self) -> Spans:
        """Windows of the result, one per axis."""
        ...

    @property
    def into(self) -> Spans:
        """Windows of the operand that is pulled back to."""
        ...

    def read(self, operand: int, spans: Spans | None = None, fill: float = 1.0) -> jax.Array:
        """Coefficient `operand` on `spans`: (n, *sizes), n = 1 where it is the same for all units.

        Without `spans`: on the window of the result, its axes being those of the result, of size 1 where broadcast.
        Outside its array, where cotangents are zero, a coefficient is `fill`: one, so that no division is by zero.
        """
        ...

    def window(self, label: str, array: np.ndarray, spans: Spans, fill: float = 0.0) -> jax.Array:
        """A known `array` on `spans`, as `read` gives a coefficient; `label` tells it from others of the equation."""
        ...

    def once(self, label: str, operand: int, make: Callable[[jax.Array], jax.Array]) -> jax.Array:
        """`make(coefficient)`, computed once for all units; `label` tells it from others of the same equation."""
        ...

    def made(
        self, label: str, operand: int, make: Callable[[jax.Array], jax.Array], spans: Spans, fill: float = 0.0
    ) -> jax.Array:
        """`make(coefficient)`, computed `once`, on `spans`, as `read` gives the coefficient itself."""
        ...


class Rule(Operation, ABC):
    """One linear primitive. The defaults treat whole arrays; a family overrides what it can do on windows.

    A member says at least its `kind` and its `relation`.
    """

    linear: ClassVar[tuple[int, ...] | None] = None
    """The operands in which it is linear, by number; None for all. The others are coefficients or indices."""

    windowed: ClassVar[bool] = False
    """Whether it sees a window of positions at a time, and nothing of an array that is smaller."""

    hull_where: ClassVar[str] = ""
    """When `loose` may say something, for the documentation; empty where the relation is always exact."""

    sums_parts: ClassVar[bool] = False
    """Whether `transpose` can yield a part of an axis that is summed over."""

    @abstractmethod
    def relation(self, equation: Equation, operand: int) -> Relation:
        """The dependence of the result on tangent operand `operand`.

        Law: element e of the result depends on element d of the operand, coefficients taken as non-zero,
        exactly if d is in the relation of e (or only if, where the relation is `loose`).
        """

    def loose(self, equation: Equation, operand: int) -> str:
        """Why the relation names more than the true dependence; empty where it is exact."""
        return ""

    def values(self, equation: Equation, operand: int, result: int = 0) -> Relation | None:
        """Do as `relation` does for tangents; everything depends on coefficients and indices, unless a family knows better."""
        if self.linear is None or operand in self.linear:
            return self.relation(equation, operand)
        return dense(equation.operands[operand].shape, equation.result.shape)

    def takes_one(self, equation: Equation, operand: int) -> bool:
        """Whether each element of the result is made of one element of the operand at most, alone or with coefficients.

        Then elements of a cotangent stay apart where it is pulled back, unless the rule `gathers`.
        """
        if self.pointwise:
            return self.kind is not Kind.PART and equation.operands[operand].shape == equation.result.shape
        return self.rearranges or self.gathers

    def reads(self, equation: Equation, operand: int, coefficient: int, out: Spans, into: Spans) -> Spans | None:
        """The windows on which `transpose` reads a coefficient; None where it may read the whole of it.

        Args:
            equation: what is pulled back through.
            operand: what it is pulled back to.
            coefficient: the operand that is read.
            out: the windows of the result.
            into: the windows of `operand`.

        Law: no element outside of them has a part in what is pulled back.
        """
        return None

    def slides(self, equation: Equation, operand: int) -> frozenset[int]:
        """Axes of operand `operand` that the operation itself takes for positions, as a convolution does."""
        return frozenset()

    def needs_whole(self, equation: Equation) -> frozenset[int]:
        """Axes of the result on which the pull-back cannot work on a part."""
        return frozenset(range(len(equation.result.shape)))

    def transpose(self, view: View, operand: int, ct: jax.Array) -> jax.Array:
        """Pull `ct` (n, *out sizes) back to `operand` (n, *into sizes).

        Law: <ct, A t> = <transpose(ct), t> for every tangent t on the window, where A is the equation.
        """
        return linear_transpose(view, operand, ct)

    def powers(self, equation: Equation, operand: int) -> Mapping[int, int]:
        """The coefficients by powers of which the pull-back to `operand` is multiplied, and these powers.

        Law: with 2 c in place of coefficient number j the transpose gives 2**powers[j] times as much.
        So a coefficient of any scale can be brought to about one, and its scale kept beside the cotangent.
        """
        return {}

    def flops(self, equation: Equation) -> int:
        """Multiply-adds of the equation, counted as two each."""
        return 0

    def terms(self, equation: Equation) -> float:
        """How many terms the sums of the equation have, about."""
        return 1 + self.flops(equation) / max(1, 2 * math.prod(equation.result.shape))

    def drift(self, equation: Equation) -> float:
        """Bound by how many powers of two the equation may change the magnitude of a cotangent, about.

        By the number of terms in its sums, whose weights are brought to between one over that number and one.
        """
        sizes = [max(1, math.prod(equation.operands[i].shape)) for i in equation.tangents]
        repeats = max(1, math.prod(equation.result.shape)) / min(sizes)
        return math.log2(self.terms(equation)) + max(0.0, math.log2(repeats))


class Contraction(Rule):
    """Sums of products with a kernel or a matrix, whose results have features of their own.

    On a path such an equation is a step, even where it sees one position; its coefficient may be a random weight.
    Operands 0 and 1 are the factors; either may be the tangent, and the other one is the coefficient.
    """

    kind = Kind.PRODUCT
    linear = (0, 1)

    @abstractmethod
    def summed(self, equation: Equation, coefficient: int) -> tuple[int, ...]:
        """Axes of factor `coefficient` that one element of the result is summed over."""

    @abstractmethod
    def places(self, equation: Equation, coefficient: int) -> tuple[int, ...]:
        """Axes of factor `coefficient` along which it has positions or groups: those of a kernel, those of a batch."""

    def powers(self, equation, operand):
        return {1 - operand: 1}

    def known(self, equation, operands) -> Known | None:
        return Known(blurred=any(x.leveled for x in operands), lost=any(x.masked for x in operands))


def linear_transpose(view: View, operand: int, ct: jax.Array, in_turn: bool = False) -> jax.Array:
    """The transpose that JAX derives, on whole arrays.

    Args:
        view: of the equation.
        operand: which tangent is pulled back to.
        ct: cotangents (n, *out sizes).
        in_turn: one unit and one image after the other, for primitives that JAX cannot vectorize.
    """
    eqn = view.equation
    known = {i: view.read(i, whole_spans(v.shape))[0] for i, v in enumerate(eqn.operands) if not v.tangent}
    specs = [jax.ShapeDtypeStruct(eqn.operands[i].shape, eqn.operands[i].dtype) for i in eqn.tangents]  # type: ignore[union-attr]

    def back(ct: jax.Array, known: dict[int, jax.Array]) -> jax.Array:
        def forward(*tangents: jax.Array) -> jax.Array:
            values = known | dict(zip(eqn.tangents, tangents))
            return eqn.evaluate(*(values[i] for i in range(len(eqn.operands))))[0]

        return jax.linear_transpose(forward, *specs)(ct)[eqn.tangents.index(operand)]

    pulled = jax.vmap(sequential_vmap(back) if in_turn else back, in_axes=(0, None))(ct, known)
    return jax.lax.optimization_barrier(pulled)  # it may be a scatter: see the evaluation of equations


rules: Registry[Rule] = Registry("primitive")
"""The linear ones among `operations`, by the names of their primitives."""
R = TypeVar("R", bound=Rule)


def contraction(equation: Equation) -> Contraction | None:
    """The rule of an equation that multiplies with a kernel or a matrix; None for all others."""
    found = about(equation.primitive)
    return found if isinstance(found, Contraction) else None


def enter(one: Rule, *names: str) -> None:
    """Enters a rule among `rules` and `operations`, under each of `names`."""
    operations.register(*names)(one)
    rules.register(*names)(one)


def rule(*names: str) -> Callable[[type[R]], type[R]]:
    """A class decorator that enters one instance of a rule for each of the primitives `names`."""

    def decorate(cls: type[R]) -> type[R]:
        enter(cls(), *names)
        return cls

    return decorate
