"""The tangent program as data: variables, equations, layers.

Two lists of equations share one set of variables.
`forward` computes values: the model's outputs and every coefficient of the derivative.
`linear` is the derivative itself, from the input tangent to the output tangents; each of its equations has a tangent operand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

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

    tangent = False


Operand = Variable | Literal


@dataclass(frozen=True, eq=False)
class Equation:
    """`results = primitive(operands)`.

    `evaluate` computes it on values; `place` says where the user wrote it, for errors.
    """

    primitive: str
    params: Mapping[str, Any]
    operands: tuple[Operand, ...]
    results: tuple[Variable, ...]
    evaluate: Callable[..., Sequence[Any]]
    place: Callable[[], str] = field(default=lambda: "")
    layer: str = ""

    @property
    def result(self) -> Variable:
        return self.results[0]

    @property
    def tangents(self) -> list[int]:
        """Positions of the operands that are tangents."""
        return [i for i, operand in enumerate(self.operands) if operand.tangent]

    def where(self) -> str:
        """The layer and the line of the user's code, as errors say it."""
        parts = [f"in layer {self.layer!r}" if self.layer else "", self.place()]
        return ", ".join(p for p in parts if p)


@dataclass(frozen=True)
class Layer:
    """A tapped value: the unit of every table and map.

    `value` is its forward variable; `tangent` its derivative's, None where no derivative reaches it or it reaches no output.
    """

    name: str
    kind: str
    parameters: int | None
    value: Variable | None
    tangent: Variable | None
    note: str = ""


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
    def _free(self) -> set[Variable]:
        """Forward variables that depend on the image, on the model's variables or on chance."""
        free = {self.image, *self.arguments}
        for eqn in self.forward:
            if any(v in free for v in eqn.operands) or eqn.primitive.startswith(("random_", "threefry")):
                free.update(eqn.results)
        return free

    @cached_property
    def image_dependent(self) -> set[Variable]:
        """Forward variables whose value depends on the image."""
        dependent = {self.image}
        for eqn in self.forward:
            if any(v in dependent for v in eqn.operands):
                dependent.update(eqn.results)
        return dependent

    def slice(self, wanted: Iterable[Operand]) -> list[Equation]:
        """The forward equations on which `wanted` depend, in order."""
        needed, kept = {v for v in wanted if isinstance(v, Variable)}, []
        for eqn in reversed(self.forward):
            if any(v in needed for v in eqn.results):
                kept.append(eqn)
                needed.update(v for v in eqn.operands if isinstance(v, Variable))
        return kept[::-1]

    def evaluate(self, wanted: Sequence[Operand], known: Mapping[Variable, Any]) -> list[Any]:
        """Values of `wanted` by running the part of the forward pass that they need."""
        values = {**self.consts, **known}

        def read(operand: Operand) -> Any:
            return operand.value if isinstance(operand, Literal) else values[operand]

        for eqn in self.slice([v for v in wanted if v not in values]):
            values.update(zip(eqn.results, eqn.evaluate(*map(read, eqn.operands))))
        return [read(v) for v in wanted]

    def constant(self, operand: Operand, cap: int = 2**24) -> np.ndarray | None:
        """The value of an operand that depends on neither variables nor image; None where it does, or is over `cap`."""
        if isinstance(operand, Literal):
            return np.asarray(operand.value)
        if operand in self._free or int(np.prod(operand.shape, dtype=np.int64)) > cap:
            return None
        if operand not in self._constants:
            self._constants[operand] = np.asarray(self.evaluate([operand], {})[0])
        return self._constants[operand]

    @cached_property
    def _constants(self) -> dict[Variable, np.ndarray]:
        return {}

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
