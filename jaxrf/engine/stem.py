"""The last steps of a pull-back taken together: a max-pool, what is elementwise behind a convolution, and that convolution.

A max-pool picks one element of each window. So a mask before it is one of picked elements behind it, on windows of the
pool's result, and a product with one number for each feature is the same before and behind. What is left is a pool and a
convolution, which `lowering/stems.py` pulls back through at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import jax
import jax.numpy as jnp

from jaxrf.engine.looks import last_look
from jaxrf.engine.placing import mask, place
from jaxrf.engine.range import Scaled
from jaxrf.engine.view import Shared, pulled_through, view_of
from jaxrf.engine.windows import Step, Windows
from jaxrf.equations.program import Equation, Operand
from jaxrf.lowering.pooling import PoolingProblem, PoolingSpec
from jaxrf.lowering.stems import NONE, Side, StemProblem, alternating, choose_stem, codes, kernel_of, through
from jaxrf.primitives.convolution import Convolution
from jaxrf.primitives.elementwise import Select
from jaxrf.primitives.pooling import MaxPool
from jaxrf.primitives.rule import View, rules


@dataclass(frozen=True, eq=False)
class Stem:
    """Steps that are pulled back through together.

    Attributes:
        windows: of all variables.
        pool: the first of them.
        between: those of elementwise equations.
        convolution: the last of them.
        problem: the shapes.
    """

    windows: Windows
    pool: Step
    between: tuple[Step, ...]
    convolution: Step
    problem: StemProblem

    def pull(self, arriving: Scaled, shared: Shared, table: jax.Array) -> Scaled:
        """From the pool's result to phases of the image (units, *blocks, *periods, features)."""
        here = self.windows.regions[self.pool.equation.result]
        view = view_of(self.pool.equation, 0, here, self.pool.into[0], self.windows, shared, table)
        code = view.made("codes of the stem", 1, lambda values: self._codes(values, shared), here, NONE)
        for step in self.between:
            eqn, (i,) = step.equation, step.into
            view = view_of(eqn, i, here, here, self.windows, shared, table)
            arriving = pulled_through(arriving, view, i, _as_it_is if _selects(eqn) else rules[eqn.primitive].transpose)
        eqn = self.convolution.equation
        view = view_of(eqn, 0, here, self.convolution.into[0], self.windows, shared, table)
        return pulled_through(arriving, view, 0, lambda v, _, ct: self._through(v, ct, code))

    def _through(self, view: View, ct: jax.Array, code: jax.Array) -> jax.Array:
        numbers = view.equation.params["dimension_numbers"]
        out, weights = numbers.out_spec, numbers.rhs_spec
        order = (0, out[0] + 1, *(a + 1 for a in out[2:]), out[1] + 1)
        ct, code = (a.transpose(order).reshape(len(a), *(a.shape[o] for o in order[2:])) for a in (ct, code))
        layout = (*weights[2:], weights[1], weights[0])
        kernel = view.once("kernel of the stem", 1, lambda w: kernel_of(w.transpose(layout), self.problem))
        return through(ct, code, kernel, self.problem)

    def _codes(self, values: jax.Array, shared: Shared) -> jax.Array:
        """Where each window's cotangent goes, unless a mask between pool and convolution stops it."""
        passing = [
            shared.value(step.equation.operands[0]) == bool(i - 1)
            for step in self.between
            for i in step.into
            if _selects(step.equation)
        ]
        return codes(values, reduce(jnp.logical_and, passing) if passing else None, _pooling(self.pool.equation))

    def maps(self, scores: jax.Array, table: jax.Array) -> jax.Array:
        """Maps (units, *sizes of the source's window) from scores (units, *blocks, *periods) of phases of the image."""
        spatial = self.convolution.equation.params["dimension_numbers"].lhs_spec[2:]
        into, region = (
            tuple(spans[a] for a in spatial)
            for spans in (self.convolution.into[0], self.windows.regions[self.windows.source])
        )
        masked = tuple(spatial.index(a) for a in self.convolution.masked[0])
        maps = mask(alternating(scores, self.problem), into, masked, self.windows.starts, table)
        return place(maps, into, region, self.windows.starts, table)


def find_stem(windows: Windows, units: Sequence[int]) -> Stem | None:
    """The stem of a pull-back; None where the last steps are others, or are better taken one by one on this platform.

    Args:
        windows: of all variables.
        units: the axes of the source of which a map has positions.
    """
    chain, last = _chain(windows), last_look(windows)
    if chain is None or last is None:
        return None
    pool, *between, convolution = chain
    if last.equation in [step.equation for step in (*between, convolution)]:
        return None
    numbers = convolution.equation.params["dimension_numbers"]
    apart = all(_same_along(step, numbers.out_spec[2:]) for step in between)
    if not apart or tuple(units) != tuple(numbers.lhs_spec[2:]) or windows.source.shape[numbers.lhs_spec[0]] != 1:
        return None
    problem = _problem(pool, convolution, windows)
    if problem is None or choose_stem(problem) == "apart":
        return None
    return Stem(windows, pool, tuple(between), convolution, problem)


def _chain(windows: Windows) -> list[Step] | None:
    """Steps from a max-pool over elementwise ones to a convolution of the source; no cotangent meets another on that way."""
    uses = Counter(step.equation.operands[i] for step in windows.steps for i in step.into)
    found: list[Step] = []
    for step in reversed(windows.steps):
        eqn, rule = step.equation, rules[step.equation.primitive]
        below = found[-1].equation.result if found else windows.source
        if len(step.into) != 1:
            return None
        ((i, into),) = step.into.items()
        if eqn.operands[i] is not below or uses[below] != 1 or (found and into != windows.regions[below]):
            return None
        found.append(step)
        if len(found) == 1 and not (isinstance(rule, Convolution) and i == 0 and _plain(eqn)):
            return None
        if isinstance(rule, MaxPool):
            return found[::-1] if len(found) > 1 else None
        if len(found) > 1 and not (rule.pointwise and eqn.operands[i].shape == eqn.result.shape):
            return None
    return None


def _plain(equation: Equation) -> bool:
    """Whether a convolution has neither groups nor dilations, and nothing is known of its kernel."""
    p = equation.params
    groups = p["feature_group_count"], p["batch_group_count"], *p["lhs_dilation"], *p["rhs_dilation"]
    return set(groups) == {1} and equation.tangents == [0] and equation.support(1) is None


def _selects(equation: Equation) -> bool:
    """Whether an elementwise equation is a mask: one of two cases at each place."""
    which: Operand = equation.operands[0]
    return (
        isinstance(rules[equation.primitive], Select) and which.shape == equation.result.shape and which.dtype == bool
    )


def _same_along(step: Step, axes: Sequence[int]) -> bool:
    """Whether an elementwise step is a mask, or does the same at all positions along some axes."""
    eqn = step.equation
    others = [v for i, v in enumerate(eqn.operands) if i not in step.into]
    return _selects(eqn) or all(not v.shape or all(v.shape[a] == 1 for a in axes) for v in others)


def _problem(pool: Step, convolution: Step, windows: Windows) -> StemProblem | None:
    """The shapes of a stem; None where the pool has holes or dilation, or goes over features."""
    eqn, spec = convolution.equation, _pooling(pool.equation).spec
    numbers = eqn.params["dimension_numbers"]
    axes, (middle, image) = numbers.out_spec[2:], (pool.into[0], convolution.into[0])
    out = windows.regions[pool.equation.result]
    features = any(out[a] != middle[a] for a in numbers.out_spec[:2])
    if {*spec.dilation, *spec.holes} != {1} or set(spec.axes) != set(axes) or features:
        return None
    sides = []
    for number, (a, b) in enumerate(zip(axes, numbers.lhs_spec[2:])):
        pad = 0 if out[a].moving else spec.padding[a][0]
        margin = 0 if middle[a].moving else eqn.params["padding"][number][0]
        taps, step = eqn.operands[1].shape[numbers.rhs_spec[2 + number]], eqn.params["window_strides"][number]
        if pad < 0 or margin < 0 or out[a].moving != middle[a].moving or middle[a].moving != image[b].moving:
            return None
        sides.append(
            Side(out[a].size, middle[a].size, image[b].size, spec.window[a], spec.strides[a], pad, taps, step, margin)
        )
    dtypes = {v.dtype.name for v in (pool.equation.result, eqn.result, windows.source)}
    dtype = dtypes.pop() if len(dtypes) == 1 else "several"
    return StemProblem(tuple(sides), windows.source.shape[numbers.lhs_spec[1]], dtype, eqn.params["precision"])


def _pooling(equation: Equation) -> PoolingProblem:
    """The max-pool of an equation, forward."""
    rule = rules[equation.primitive]
    assert isinstance(rule, MaxPool)
    spec, dtype = PoolingSpec.of(equation.params), equation.result.dtype.name
    return PoolingProblem(equation.operands[0].shape, spec, rule.join(equation), dtype)


def _as_it_is(view: View, operand: int, ct: jax.Array) -> jax.Array:
    return ct
