"""Which elements of each variable have a path from the source, where known zeros take some of them away.

A cotangent at an element without a path goes nowhere, so that windows need not hold it: of the scores of causal or
sliding attention, a unit needs those in its own band alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from jaxrf.equations.program import Equation, Operand, Variable
from jaxrf.geometry.axis_map import Interval
from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Field
from jaxrf.geometry.masked_sum import Choice
from jaxrf.geometry.merge import merge
from jaxrf.geometry.relations import Masked, Relation
from jaxrf.geometry.supports import onto


class Reach:
    """Elements with a path, as fields of one position: it is seen, or it is not.

    Args:
        equations: from the source on, in order.
        relations: of each of them and each operand that is reached.
        source: where paths begin.
    """

    def __init__(
        self, equations: Sequence[Equation], relations: Mapping[tuple[Equation, int], Relation], source: Variable
    ):
        self._fields: dict[Operand, Field] = {}
        if not any(isinstance(link, Masked | Choice) for link in relations.values()):
            return
        zero = np.zeros([1] * len(source.shape), np.int64)
        self._fields[source] = Field(1, zero, zero + 1, global_cause="one position")
        for eqn in equations:
            links = [(relations[eqn, i], self._fields[eqn.operands[i]]) for i in eqn.tangents if (eqn, i) in relations]
            self._fields[eqn.result] = reduce(merge, (link.push(field) for link, field in links))

    def cut(self, variable: Variable, box: Sequence[Interval | None], units: int) -> list[Interval | None]:
        """The box with an interval in place of a whole axis on which it needs a part only.

        Along each axis that moves, the other axes are cut to the hull of what is reached; the windows have one size and
        stay inside the array.
        """
        field, cut = self._fields.get(variable), list(box)
        moving = [a for a, interval in enumerate(box) if interval is not None]
        if field is None or not moving:
            return cut
        reached = field.lo < field.hi
        for axis in (a for a, n in enumerate(reached.shape) if n > 1 and box[a] is None):
            n = variable.shape[axis]
            lo, hi = np.zeros(units, np.int64), np.full(units, n)
            for other in (a for a in moving if reached.shape[a] > 1):
                first, last = _hulls(*_table(reached, other, axis), box[other])  # type: ignore[arg-type]
                lo, hi = np.maximum(lo, first), np.minimum(hi, last)
            size = max(int((hi - lo).max()), 1)
            if size < n:
                lo = np.clip(lo, 0, n - size)
                cut[axis] = lo, lo + size
        return cut


def _table(reached: np.ndarray, other: int, axis: int) -> Interval:
    """Find for each position of `other` the first and one-past-last position of `axis` that is reached; lo > hi if none is."""
    line = onto(reached, (other, axis))
    line = line.transpose(other, axis, *(a for a in range(line.ndim) if a not in (other, axis)))
    line = line.reshape(reached.shape[other], reached.shape[axis])
    some = np.logical_or.reduce(line, axis=1)
    lo = np.where(some, line.argmax(axis=1), EMPTY_LO)
    hi = np.where(some, line.shape[1] - line[:, ::-1].argmax(axis=1), EMPTY_HI)
    return lo, hi


def _hulls(first: np.ndarray, last: np.ndarray, box: Interval) -> Interval:
    """Hulls of the intervals `[first, last)` of all positions in each interval of the box."""
    lo, hi = (np.clip(b, 0, len(first)) for b in box)
    out_lo, out_hi = np.full(lo.shape, EMPTY_LO), np.full(hi.shape, EMPTY_HI)
    for step in range(int((hi - lo).max(initial=0))):
        at = np.minimum(lo + step, len(first) - 1)
        inside = lo + step < hi
        out_lo = np.where(inside, np.minimum(out_lo, first[at]), out_lo)
        out_hi = np.where(inside, np.maximum(out_hi, last[at]), out_hi)
    return out_lo, out_hi
