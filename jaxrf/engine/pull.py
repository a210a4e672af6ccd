"""The pull-back itself: cotangents on windows, from the target to the source.

Invariant: every cotangent is zero outside its array.
Whatever a rule yields there is masked by a select, never by a product, since zero times NaN is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.engine.looks import last_look, look, steady
from jaxrf.engine.range import Scaled
from jaxrf.engine.reading import Lines, windows_of
from jaxrf.engine.scales import Key, Scales, room
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

    wide = shared.once((key, tuple(margins), fill), padded) if any(map(any, margins)) else value()
    return windows_of(wide, spans, table, [lo for lo, _ in margins], shared.lines)


def pull_back(
    windows: Windows,
    shared: Shared,
    table: jax.Array,
    ct: jax.Array,
    others: Mapping[Equation, Transpose] | None = None,
    patient: float = 1.0,
    in_squares: Collection[Variable] = (),
) -> Scaled:
    """Pull cotangents `ct` (units, *unit sizes) of the target back to the source.

    Args:
        windows: windows of all variables.
        shared: coefficients.
        table: starts of the windows (row, unit).
        ct: cotangents.
        others: equations that are pulled back in another way than by their rule.
        patient: by this factor longer than needed between two looks at the range of a cotangent.
        in_squares: variables where cotangents meet whose signs are independent, so that their squares add.

    Returns:
        (units, *sizes of the source's window), with an exponent of two for each unit.
    """
    others = others or {}
    last, late = None if others or patient != 1.0 else last_look(windows), None
    ct = place(ct, windows.unit, windows.regions[windows.target], windows.starts, table)
    pending: dict[Variable, Scaled] = {windows.target: Scaled(ct)}
    for step in windows.steps:
        arriving = pending.get(step.equation.result)
        if arriving is None:
            continue
        if step.equation.result is not windows.source:
            del pending[step.equation.result]
        rule = rules[step.equation.primitive]
        # The product by a power of two costs nothing where it is fused with an elementwise one,
        # and where no other cotangent is on its way all of them share the exponent.
        rescaling_is_free = rule.pointwise and not pending
        allowed, limit = look(step.equation, arriving, step.equation in others, rescaling_is_free)
        if last and step.equation is last.equation:
            away = arriving.away(last.limit)
            arriving, late = (arriving, away) if last.may_wait(arriving) else (arriving.rescaled(away), None)
        else:
            arriving = arriving.looked_at(patient * allowed, limit)
        transpose = others.get(step.equation, rule.transpose)
        for i, into in step.into.items():
            operand: Variable = step.equation.operands[i]  # type: ignore[assignment]
            out, powers = windows.regions[step.equation.result], rule.powers(step.equation, i)
            known = [j for j in powers if steady(step.equation, j, windows)]
            array = transpose(WindowView(step.equation, out, into, shared, table, known), i, arriving.array)
            array = mask(array, into, step.masked[i], windows.starts, table)
            array = place(array, into, windows.regions[operand], windows.starts, table)
            drift = rule.drift(step.equation) if len(known) == len(powers) else math.inf
            pulled = arriving.then(array, drift, tuple((_scale(step.equation, j), powers[j]) for j in known))
            if operand in pending:
                pulled = pending[operand].met(pulled, shared.scales, operand in in_squares)
            pending[operand] = pulled
    if windows.source not in pending:
        region = windows.regions[windows.source]
        return Scaled(jnp.zeros((ct.shape[0], *(span.size for span in region)), windows.source.dtype))
    final = pending[windows.source].complete(shared.scales)
    if late:  # where the product is one with the score
        return final.rescaled(late)
    return final if last else final.looked_at(min(patient, 1.0), room(final.array.dtype))


def _scale(equation: Equation, operand: int) -> Key:
    """What the scale of a coefficient is known by."""
    return equation.operands[operand], rules[equation.primitive].terms(equation)


def mask(ct: jax.Array, spans: Spans, axes: tuple[int, ...], starts: Starts, table: jax.Array) -> jax.Array:
    """Zeros outside the array, along those of `axes` on which some window leaves it."""
    for axis in axes:
        span = spans[axis]
        assert span.start is not None
        lo, hi = starts.bounds(span.start)
        if lo >= 0 and hi + span.size <= span.extent:
            continue
        at = table[span.start][:, None] + jnp.arange(span.size, dtype=table.dtype)
        inside = ((at >= 0) & (at < span.extent)).reshape(
            (-1,) + tuple(span.size if a == axis else 1 for a in range(len(spans)))
        )
        ct = jnp.where(inside, ct, jnp.zeros((), ct.dtype))
    return ct


def place(ct: jax.Array, natural: Spans, region: Spans, starts: Starts, table: jax.Array) -> jax.Array:
    """Lay windows, or whole axes, into windows that hold what is needed of them; what lies outside of those is dropped."""
    moved: list[tuple[int, Span, Span]] = []
    config = [(0, 0, 0)] * ct.ndim
    for axis, (small, large) in enumerate(zip(natural, region)):
        if small.start == large.start and small.size == large.size:
            continue
        low, high = _offsets(small, large, starts)
        if small.size == 1 and low < high:
            ct = _alone(ct, axis + 1, large.size, _start(small, table) - _start(large, table))
        elif low == high:
            config[axis + 1] = (low, large.size - small.size - low, 0)
        else:
            moved.append((axis, small, large))
            config[axis + 1] = (max(high, 0), max(large.size - small.size - low, 0), 0)
    if any(c != (0, 0, 0) for c in config):
        ct = lax.pad(ct, jnp.zeros((), ct.dtype), config)
    if not moved:
        return ct
    sizes = [*ct.shape[1:]]
    begins = [jnp.zeros(table.shape[1], table.dtype)] * len(sizes)
    for axis, small, large in moved:
        sizes[axis] = large.size
        shift = _start(small, table) - _start(large, table)
        begins[axis] = config[axis + 1][0] - shift
    return jax.vmap(lambda a, s: lax.dynamic_slice(a, s, sizes))(ct, jnp.stack(begins, axis=1))


def _alone(ct: jax.Array, axis: int, size: int, places: jax.Array) -> jax.Array:
    """The one position along `axis` at its place (units,) among `size`; nowhere if that is not among them."""
    at = lax.broadcasted_iota(places.dtype, (1,) * axis + (size,) + (1,) * (ct.ndim - 1 - axis), axis)
    return jnp.where(at == places.reshape(-1, *(1,) * (ct.ndim - 1)), ct, jnp.zeros((), ct.dtype))


def _offsets(small: Span, large: Span, starts: Starts) -> tuple[int, int]:
    """Smallest and largest position of the small windows in the large ones, over all units."""
    shift = np.asarray(_start(small, starts.rows) - _start(large, starts.rows))
    return int(shift.min()), int(shift.max())


def _start(span: Span, rows: Any) -> Any:
    """Where the windows begin, one number per unit; 0 for a whole axis."""
    return 0 if span.start is None else rows[span.start]
