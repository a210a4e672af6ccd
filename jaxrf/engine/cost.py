"""What a pull-back costs before it runs: operations, bytes, memory. Counted on windows, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from jaxrf.engine.windows import Step, Windows
from jaxrf.equations.program import TangentProgram, Variable
from jaxrf.primitives.rule import Spans, rules


@dataclass(frozen=True)
class Cost:
    """What one unit costs on one image.

    Attributes:
        flops: multiply-adds, counted as two, inside the unit's cone.
        full_flops: of a pull-back of whole arrays.
        bytes: that the cone reads and writes at least: windows of cotangents and coefficients.
        live: bytes of cotangents, coefficients and what is made of them at the worst moment.
    """

    flops: int
    full_flops: int
    bytes: int
    live: int


@dataclass(frozen=True)
class Fixed:
    """What one image takes, whatever the number of units, in bytes.

    Attributes:
        forward: the coefficients that the pull-back reads, and the largest values on the way to them.
        padded: the same coefficients with margins, for windows that leave the array.
    """

    forward: int
    padded: int


def unit_cost(windows: Windows) -> Cost:
    """The cost of pulling one unit back."""
    flops = full = moved = worst = 0
    pending: dict[Variable, int] = {windows.target: window_bytes(windows.target, windows.regions[windows.target])}
    for step in windows.steps:
        eqn, out = step.equation, windows.regions[step.equation.result]
        cost = rules[eqn.primitive].flops(eqn) * len(step.into)
        flops, full = flops + int(cost * fraction(out)), full + cost
        arriving = pending.pop(eqn.result, 0)
        read = sum(
            min(window_bytes(v, out), array_bytes(v)) if len(v.shape) == len(out) else 0
            for v in eqn.operands
            if isinstance(v, Variable) and not v.tangent
        )
        made = sum(window_bytes(eqn.operands[i], spans) for i, spans in step.into.items())  # type: ignore[arg-type]
        for i in step.into:
            operand = eqn.operands[i]
            assert isinstance(operand, Variable)
            pending[operand] = window_bytes(operand, windows.regions[operand])
        moved += arriving + read + made
        worst = max(worst, arriving + read + _scratch(step) * made + sum(pending.values()))
    return Cost(flops, full, moved, worst)


def _scratch(step: Step) -> int:
    """How many copies of its result the pull-back of an equation may hold: padding, masking, interleaving."""
    return 4


def image_cost(program: TangentProgram, windows: Windows) -> Fixed:
    """The memory that one image takes beside its units."""
    coefficients = windows.coefficients()
    images = [v for v in coefficients if v in program.image_dependent]
    kept = sum(map(array_bytes, images))
    way = [sum(map(array_bytes, eqn.results)) for eqn in program.needed(coefficients)]
    padded = 0
    for step in windows.steps:
        for v in step.equation.operands:
            if isinstance(v, Variable) and not v.tangent:
                padded += _padded_bytes(v, windows, windows.regions[step.equation.result])
    return Fixed(kept + 4 * max(way, default=0), padded)


def forward_bytes(program: TangentProgram, value: Variable) -> int:
    """Most bytes that are held at once on the way to a forward value, operation by operation; the image counts, weights do not."""
    steps = program.needed([value])
    last = {v: eqn for eqn in steps for v in eqn.operands if isinstance(v, Variable)}
    made = {v: array_bytes(v) for eqn in steps for v in eqn.results}
    held = worst = array_bytes(program.image)
    for eqn in steps:
        held += sum(made[v] for v in eqn.results)
        worst = max(worst, held)
        held -= sum(made.get(v, 0) for v in {*eqn.operands, *eqn.results} if last.get(v, eqn) is eqn and v is not value)  # type: ignore[arg-type]
    return worst


def _padded_bytes(variable: Variable, windows: Windows, out: Spans) -> int:
    if len(variable.shape) != len(out):
        return 0
    sizes = []
    for n, span in zip(variable.shape, out):
        if n != span.extent or span.start is None:
            sizes.append(n)
            continue
        lo, hi = windows.starts.bounds(span.start)
        sizes.append(n + max(0, -lo) + max(0, hi + span.size - span.extent))
    return math.prod(sizes) * variable.dtype.itemsize


def fraction(spans: Spans) -> float:
    """The share of an array that a window holds."""
    return math.prod(span.size / span.extent for span in spans if span.extent)


def window_bytes(variable: Variable, spans: Spans) -> int:
    """Bytes of one window."""
    return math.prod(span.size for span in spans) * variable.dtype.itemsize


def array_bytes(variable: Variable) -> int:
    """Bytes of the whole array."""
    return math.prod(variable.shape) * variable.dtype.itemsize


def region_sizes(program: TangentProgram, windows: Windows) -> Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Window and array shape of each named layer that the pull-back passes."""
    return {
        layer.name: (tuple(s.size for s in windows.regions[layer.tangent]), layer.tangent.shape)
        for layer in program.layers.values()
        if layer.tangent is not None and layer.tangent in windows.regions
    }
