"""What a rule sees of one equation: windows, and coefficients on them, without their scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.engine.looks import steady
from jaxrf.engine.range import Scaled
from jaxrf.engine.reading import Lines, bits_of, windows_of, words_of
from jaxrf.engine.scales import Key, Scales
from jaxrf.engine.windows import Starts, Windows
from jaxrf.equations.program import Equation, Operand, Variable
from jaxrf.primitives.rule import Span, Spans, View, rules

Transpose = Callable[[View, int, jax.Array], jax.Array]
"""How an equation is pulled back, given what it may know: `Rule.transpose`."""


@dataclass
class Shared:
    """What all batches of units use: coefficients, and what is made of them once.

    A first walk, on shapes only, collects what is needed; `prepare` computes it outside of the loop over units.
    """

    coefficients: Mapping[Operand, jax.Array]
    starts: Starts
    lines: Lines | None = None
    makers: dict[Any, Callable[[], jax.Array]] = field(default_factory=dict)
    made: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def scales(self) -> Scales:
        """Scales of the coefficients."""
        return Scales(self.value)

    def once(self, key: Any, make: Callable[[], jax.Array]) -> jax.Array:
        if key in self.made:
            return self.made[key]
        self.makers[key] = make
        return make()

    def prepare(self, walk: Callable[..., Any], *args: Any) -> None:
        """Find what `walk(*args)` needs, on shapes, and compute it."""
        self.scales.walking = True
        jax.eval_shape(walk, *args)
        self.scales.prepare()
        for key, make in list(self.makers.items()):  # a later one may use an earlier one
            self.made[key] = make()

    def value(self, operand: Operand) -> jax.Array:
        return self.coefficients[operand] if isinstance(operand, Variable) else jnp.asarray(operand.value)


@dataclass(frozen=True, eq=False)
class WindowView:
    """What a rule sees of one equation (the protocol `View`): those coefficients that are `tamed` without their scale."""

    equation: Equation
    out: Spans
    into: Spans
    shared: Shared
    table: jax.Array
    tamed: Collection[int]

    def once(self, label: str, operand: int, make: Callable[[jax.Array], jax.Array]) -> jax.Array:
        return self._once(label, operand, make)()

    def made(
        self, label: str, operand: int, make: Callable[[jax.Array], jax.Array], spans: Spans, fill: float = 0.0
    ) -> jax.Array:
        key = label, self.equation.operands[operand], self.equation, "windows"
        return read(self.shared, key, self._once(label, operand, make), spans, self.table, fill)

    def read(self, operand: int, spans: Spans | None = None, fill: float = 1.0) -> jax.Array:
        shared, source = self.shared, self.equation.operands[operand]
        spans = self._aligned(source.shape) if spans is None else spans
        return self._tamed(operand)(read(shared, source, lambda: shared.value(source), spans, self.table, fill))

    def window(self, label: str, array: np.ndarray, spans: Spans, fill: float = 0.0) -> jax.Array:
        return read(self.shared, (label, self.equation), lambda: jnp.asarray(array), spans, self.table, fill)

    def _once(self, label: str, operand: int, make: Callable[[jax.Array], jax.Array]) -> Callable[[], jax.Array]:
        """What makes it; it holds no part of the view, whose table belongs to one trace of a batch."""
        shared, equation, source, tamed = (
            self.shared,
            self.equation,
            self.equation.operands[operand],
            self._tamed(operand),
        )
        return lambda: shared.once((label, source, equation), lambda: make(tamed(shared.value(source))))

    def _tamed(self, operand: int) -> Callable[[jax.Array], jax.Array]:
        """A coefficient without its scale, where that is taken apart."""
        shared, equation = self.shared, self.equation
        if operand not in self.tamed:
            return lambda coefficient: coefficient
        return lambda coefficient: (
            coefficient * shared.scales.factor(_scale(equation, operand)).astype(coefficient.dtype)
        )

    def _aligned(self, shape: tuple[int, ...]) -> Spans:
        """The window of the result, for an operand that is broadcast along axes of size 1 or has none."""
        if not shape:
            return tuple(Span(1, 1) for _ in self.out)
        return tuple(span if n == span.extent else Span(n, n) for n, span in zip(shape, self.out))


def read(
    shared: Shared, key: Any, value: Callable[[], jax.Array], spans: Spans, table: jax.Array, fill: float
) -> jax.Array:
    """An array on windows: (units, *sizes), or (1, *shape) where no window moves."""
    if not any(span.moving for span in spans):
        array = value()
        return array.reshape((1,) * (1 + len(spans))) if not array.ndim else array[None]
    margins = []
    for span in spans:
        lo, hi = shared.starts.bounds(span.start) if span.start is not None else (0, 0)
        margins.append((max(0, -lo), max(0, hi + span.size - span.extent)))

    def padded() -> jax.Array:
        return jnp.pad(value(), margins, constant_values=fill)

    def wide() -> jax.Array:
        return shared.once((key, tuple(margins), fill), padded) if any(map(any, margins)) else value()

    array, lows, way = wide(), [lo for lo, _ in margins], shared.lines
    axis = next((axis for axis, span in enumerate(spans) if span.moving and span.size > 1), None)
    if way is None or axis is None or array.dtype != bool or not way.fit(spans):
        return windows_of(array, spans, table, lows, way)
    words = shared.once((key, tuple(margins), fill, "words"), lambda: words_of(wide(), axis))
    return bits_of(words, axis, spans, table, lows, way)


def view_of(
    equation: Equation, operand: int, out: Spans, into: Spans, windows: Windows, shared: Shared, table: jax.Array
) -> WindowView:
    """The view with which an equation is pulled back to one operand; without the scales of what is steady."""
    known = [j for j in rules[equation.primitive].powers(equation, operand) if steady(equation, j, windows)]
    return WindowView(equation, out, into, shared, table, known)


def pulled_through(arriving: Scaled, view: WindowView, operand: int, transpose: Transpose) -> Scaled:
    """What an equation makes of a cotangent that has come to its result, and how far that may have drifted."""
    rule = rules[view.equation.primitive]
    powers = rule.powers(view.equation, operand)
    drift = rule.drift(view.equation) if len(view.tamed) == len(powers) else math.inf
    taken = tuple((_scale(view.equation, j), powers[j]) for j in view.tamed)
    return arriving.then(transpose(view, operand, arriving.array), drift, taken)


def _scale(equation: Equation, operand: int) -> Key:
    """What the scale of a coefficient is known by."""
    return equation.operands[operand], rules[equation.primitive].terms(equation)
