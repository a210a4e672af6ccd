"""Where the range of a cotangent is looked at on its way, and how far from one it may then be.

A look at the end is a pass over all gradients before they are scored. Where all of a pull-back goes through one array not
far above the source, a closer look there is enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxrf.engine.range import Scaled, patience
from jaxrf.engine.scales import room
from jaxrf.engine.windows import Windows
from jaxrf.equations.program import Equation, Variable
from jaxrf.primitives.rule import Spans, rules

LATEST = 4 / 3
"""How much longer the next look at the range of a cotangent may wait where rescaling is not free."""
SPARED = 2
"""How many times the gradients of the source the array of a last look may be: it spares a look and a pass."""


@dataclass(frozen=True)
class Last:
    """The look behind which none is needed.

    Attributes:
        equation: what is pulled back through then.
        left: by how many powers of two a cotangent may drift from then on.
        limit: by how many it may be away from one.
    """

    equation: Equation
    left: float
    limit: int

    def may_wait(self, arriving: Scaled) -> bool:
        """Whether the cotangent stays far from the ends of its range until it has come to the source as it is."""
        return arriving.drift + self.left <= patience(arriving.array.dtype)


def last_look(windows: Windows) -> Last | None:
    """The last look of a pull-back; None where the gradients of the source have to be looked at themselves.

    All of the pull-back is one cotangent there, and what follows lets it drift by less than the room that is left.
    """
    left, found, least = _drifts(windows), None, SPARED * _size(windows.regions[windows.source])
    pending: set[Variable] = {windows.target}
    for step in windows.steps:
        eqn = step.equation
        if eqn.result is windows.source or eqn.result not in pending:
            return None
        alone, size = len(pending) == 1, _size(windows.regions[eqn.result])
        spare = room(windows.source.dtype) - math.ceil(min(left[eqn.result], 1e6))
        if any(v.dtype != windows.source.dtype for v in (eqn.result, *(eqn.operands[i] for i in step.into))):
            found, least = None, SPARED * _size(windows.regions[windows.source])
        elif alone and spare > 1 and size < least:
            found, least = Last(eqn, left[eqn.result], spare), size
        pending = (pending - {eqn.result}) | {eqn.operands[i] for i in step.into}  # type: ignore[assignment]
    return found


def _drifts(windows: Windows) -> dict[Variable, float]:
    """Find how many powers of two a cotangent of each variable may drift by on its way to the source, at most."""
    found: dict[Variable, float] = {windows.source: 0.0}
    for step in reversed(windows.steps):
        eqn, rule = step.equation, rules[step.equation.primitive]
        for i in step.into:
            known = all(steady(eqn, j, windows) for j in rule.powers(eqn, i))
            beyond = found.get(eqn.operands[i], math.inf)  # type: ignore[arg-type]
            drift = (rule.drift(eqn) if known else math.inf) + beyond
            found[eqn.result] = max(found.get(eqn.result, 0.0), drift)
    return found


def _size(spans: Spans) -> int:
    return math.prod(span.size for span in spans)


def look(equation: Equation, arriving: Scaled, squared: bool, rescaling_is_free: bool) -> tuple[float, int]:
    """After which drift a cotangent is looked at before an equation, and by how much it may then be away from one.

    Args:
        equation: what is pulled back through.
        arriving: the cotangent.
        squared: whether its square is pulled back.
        rescaling_is_free: whether rescaling costs nothing here.
    """
    dtype = arriving.array.dtype
    limit = min(room(dtype), *(room(equation.operands[i].dtype) for i in equation.tangents))
    if limit < room(dtype):
        return 0.0, limit
    if squared:
        return limit - 4.0, limit
    return patience(dtype) * (1.0 if rescaling_is_free else LATEST), limit


def steady(equation: Equation, operand: int, windows: Windows) -> bool:
    """Whether a coefficient is one for all images, and about as large wherever the windows of units are."""
    source, out = equation.operands[operand], windows.regions[equation.result]
    if source in windows.varying:
        return False
    if not rules[equation.primitive].pointwise or len(source.shape) != len(out):
        return True
    return not any(span.moving and n > 1 for n, span in zip(source.shape, out))
