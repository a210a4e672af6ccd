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
    `constants` gives the value of an operand that depends on neither variables, image nor chance, else None.
    """

    primitive: str
    params: Mapping[str, Any]
    operands: tuple[Operand, ...]
    results: tuple[Variable, ...]
    evaluate: Callable[..., Sequence[Any]]
    place: Callable[[], str] = field(default=lambda: "")
    layer: str = ""
    constants: Callable[[Operand], np.ndarray | None] = field(default=lambda _: None)

    def known(self, operand: int) -> np.ndarray | None:
        """The value of a coefficient that is the same for all variables and images; None for any other."""
        return self.constants(self.operands[operand])

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
    def image_dependent(self) -> set[Variable]:
        """Forward variables whose value depends on the image."""
        dependent = {self.image}
        for eqn in self.forward:
            if any(v in dependent for v in eqn.operands):
                dependent.update(eqn.results)
        return dependent

    def evaluate(self, wanted: Sequence[Operand], known: Mapping[Variable, Any]) -> list[Any]:
        """Values of `wanted` by running the part of the forward pass that they need."""
        return evaluate(self.forward, wanted, {**self.consts, **known})

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


def evaluate(forward: Sequence[Equation], wanted: Sequence[Operand], known: Mapping[Variable, Any]) -> list[Any]:
    """Values of `wanted`, given values of the variables that no equation computes."""
    values = dict(known)

    def read(operand: Operand) -> Any:
        return operand.value if isinstance(operand, Literal) else values[operand]

    for eqn in needed(forward, wanted, known):
        values.update(zip(eqn.results, eqn.evaluate(*map(read, eqn.operands))))
    return [read(v) for v in wanted]


class Constants:
    """Values of the forward variables that depend on neither variables, image nor chance; evaluated when asked for.

    Arrays of more than `cap` elements count as unknown.
    """

    def __init__(self, forward: Sequence[Equation], consts: Mapping[Variable, Any], free: Iterable[Variable], cap: int = 2**24):
        self.forward, self.consts, self.cap = forward, consts, cap
        self.values: dict[Variable, np.ndarray] = {}
        self.free = set(free)
        for eqn in forward:
            if any(v in self.free for v in eqn.operands) or eqn.primitive.startswith(("random_", "threefry")):
                self.free.update(eqn.results)

    def __call__(self, operand: Operand) -> np.ndarray | None:
        if isinstance(operand, Literal):
            return np.asarray(operand.value)
        if operand.tangent or operand in self.free or int(np.prod(operand.shape, dtype=np.int64)) > self.cap:
            return None
        if operand not in self.values:
            self.values[operand] = np.asarray(evaluate(self.forward, [operand], self.consts)[0])
        return self.values[operand]
