"""The tangent program as data: variables, equations, layers.

Two lists of equations share one set of variables.
`forward` computes values: the model's outputs and every coefficient of the derivative.
`linear` is the derivative itself, from the input tangent to the output tangents; each of its equations has a tangent operand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class Variable:
    """An array of the program, known by identity."""

    shape: tuple[int, ...]
    dtype: np.dtype
    tangent: bool = False

    def __repr__(self) -> str:
        return f"{'d' if self.tangent else ''}{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, eq=False)
class Literal:
    """A number written into the program."""

    value: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.value)

    @property
    def dtype(self) -> np.dtype:
        return np.asarray(self.value).dtype

    tangent = False


Operand = Variable | Literal


class Knowledge(Protocol):
    """What an equation may ask about its coefficients; see `Constants`."""

    def value(self, operand: Operand) -> np.ndarray | None: ...

    def support(self, operand: Operand) -> np.ndarray | None: ...

    def columns(self, operand: Operand) -> list[np.ndarray | None]: ...

    def masked(self, operand: Operand) -> bool: ...

    def number(self, operand: Operand) -> Any: ...


@dataclass(frozen=True, eq=False)
class Equation:
    """`results = primitive(operands)`.

    `evaluate` computes it on values; `place` says where the user wrote it, for errors.
    `layers` are those in whose calls it was written, the outermost first; none until they are known.
    `remark` is what its tap says of the layer.
    `knowledge` answers what is known of its coefficients before any weight or image is.
    """

    primitive: str
    params: Mapping[str, Any]
    operands: tuple[Operand, ...]
    results: tuple[Variable, ...]
    evaluate: Callable[..., Sequence[Any]]
    place: Callable[[], str] = field(default=lambda: "")
    layers: tuple[str, ...] = ()
    remark: str = ""
    knowledge: Knowledge | None = None

    def known(self, operand: int) -> np.ndarray | None:
        """The value of a coefficient that is the same for all variables and images; None for any other."""
        return self.knowledge.value(self.operands[operand]) if self.knowledge else None

    def number(self, operand: int) -> Any:
        """The number that a constant coefficient repeats, where that is seen without computing it; None for any other."""
        return self.knowledge.number(self.operands[operand]) if self.knowledge else None

    def support(self, operand: int) -> np.ndarray | None:
        """Where a coefficient that is made of variables and constants can be other than zero; None if nothing is known."""
        return self.knowledge.support(self.operands[operand]) if self.knowledge else None

    def columns(self, operand: int) -> list[np.ndarray | None]:
        """A coefficient's last axis one by one, None for what is not `known`."""
        shape = self.operands[operand].shape
        return self.knowledge.columns(self.operands[operand]) if self.knowledge else [None] * shape[-1]

    def masked(self, operand: int) -> bool:
        """Whether a coefficient depends on the image and has zeros that nobody knows: attention weights behind a mask."""
        return self.knowledge is not None and self.knowledge.masked(self.operands[operand])

    @property
    def layer(self) -> str | None:
        """The layer whose operation it is, the innermost; None until it is known."""
        return self.layers[-1] if self.layers else None

    @property
    def result(self) -> Variable:
        return self.results[0]

    @property
    def tangents(self) -> list[int]:
        """Positions of the operands that are tangents."""
        return [i for i, operand in enumerate(self.operands) if operand.tangent]

    def where(self) -> str:
        """The layer, the line of the user's code and what is remarked of the layer, as errors say it."""
        parts = [f"in layer {self.layer!r}" if self.layer else "", self.place(), self.remark]
        return ", ".join(p for p in parts if p)


Lower = Callable[[Equation, Sequence[Any]], Sequence[Any] | None]


@dataclass(frozen=True)
class Layer:
    """A tapped value: the unit of every table and map.

    `value` is its forward variable; `tangent` its derivative's, None where no derivative reaches it or it reaches no output.
    `module` is what equations know it as among their `layers`, and `call` the number of that call of it.
    """

    name: str
    kind: str
    parameters: int | None
    value: Variable | None
    tangent: Variable | None
    note: str = ""
    module: str = ""
    call: int = 0


@dataclass(frozen=True, eq=False)
class TangentProgram:
    """The derivative of a model's outputs with respect to its image, as equations.

    `arguments` are the flattened variables of the model, `image` its input value, `input` its input tangent.
    `consts` are the arrays that the model closed over.
    """

    arguments: tuple[Variable, ...]
    image: Variable
    input: Variable
    consts: Mapping[Variable, Any]
    forward: tuple[Equation, ...]
    linear: tuple[Equation, ...]
    layers: Mapping[str, Layer]
    outputs: tuple[str, ...]
    derived: dict[Any, Any] = field(default_factory=dict)
    """What interpretations keep of single equations that they derived once."""

    def __repr__(self) -> str:
        return (
            f"TangentProgram({self.image} -> {', '.join(self.outputs)}; {len(self.linear)} linear equations, "
            f"{len(self.forward)} forward equations, {len(self.layers)} layers)"
        )

    @cached_property
    def producers(self) -> dict[Variable, Equation]:
        """The forward equation that computes each variable."""
        return {v: eqn for eqn in self.forward for v in eqn.results}

    @cached_property
    def image_dependent(self) -> set[Variable]:
        """Forward variables whose value depends on the image."""
        dependent = {self.image}
        for eqn in self.forward:
            if any(v in dependent for v in eqn.operands):
                dependent.update(eqn.results)
        return dependent

    def needed(self, wanted: Iterable[Operand]) -> list[Equation]:
        """The forward equations that compute `wanted`, in order."""
        return needed(self.forward, wanted, self.consts)

    def evaluate(
        self, wanted: Sequence[Operand], known: Mapping[Variable, Any], lower: Lower | None = None
    ) -> list[Any]:
        """Values of `wanted` by running the part of the forward pass that they need.

        `lower(equation, values)` may compute an equation in a faster way; it returns None where it has none.
        """
        return evaluate(self.forward, wanted, {**self.consts, **known}, lower)

    def ancestors(self, variable: Variable, stop: Variable | None = None) -> list[Equation]:
        """The linear equations on the paths from the input (or `stop`) to `variable`, in order."""
        reached = {stop or self.input}
        for eqn in self.linear:
            if any(v in reached for v in eqn.operands):
                reached.update(eqn.results)
        needed, kept = {variable}, []
        for eqn in reversed(self.linear):
            if any(v in needed and v in reached and v is not stop for v in eqn.results):
                kept.append(eqn)
                needed.update(eqn.operands[i] for i in eqn.tangents)  # type: ignore[arg-type]
        return kept[::-1]


def needed(forward: Sequence[Equation], wanted: Iterable[Operand], known: Mapping[Variable, Any]) -> list[Equation]:
    """The equations on which `wanted` depend beyond what is `known`, in order."""
    open_ends, kept = {v for v in wanted if isinstance(v, Variable) and v not in known}, []
    for eqn in reversed(forward):
        if any(v in open_ends for v in eqn.results):
            kept.append(eqn)
            open_ends.update(v for v in eqn.operands if isinstance(v, Variable) and v not in known)
    return kept[::-1]


def evaluate(
    forward: Sequence[Equation], wanted: Sequence[Operand], known: Mapping[Variable, Any], lower: Lower | None = None
) -> list[Any]:
    """Values of `wanted`, given values of the variables that no equation computes."""
    values = dict(known)

    def read(operand: Operand) -> Any:
        return operand.value if isinstance(operand, Literal) else values[operand]

    for eqn in needed(forward, wanted, known):
        operands = [read(v) for v in eqn.operands]
        results = lower(eqn, operands) if lower else None
        values.update(zip(eqn.results, eqn.evaluate(*operands) if results is None else results))
    return [read(v) for v in wanted]
