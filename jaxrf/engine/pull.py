"""The pull-back itself: cotangents on windows, from the target to the source.

Invariant: every cotangent is zero outside its array.
Whatever a rule yields there is masked by a select, never by a product, since zero times NaN is NaN.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp

from jaxrf.engine.looks import last_look, look
from jaxrf.engine.placing import mask, place
from jaxrf.engine.range import Scaled
from jaxrf.engine.scales import room
from jaxrf.engine.stem import Stem
from jaxrf.engine.view import Shared, Transpose, pulled_through, view_of
from jaxrf.engine.windows import Windows
from jaxrf.equations.program import Equation, Variable
from jaxrf.primitives.rule import rules


def pull_back(
    windows: Windows,
    shared: Shared,
    table: jax.Array,
    ct: jax.Array,
    others: Mapping[Equation, Transpose] | None = None,
    patient: float = 1.0,
    in_squares: Collection[Variable] = (),
    stem: Stem | None = None,
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
        stem: the last steps, where they are taken together.

    Returns:
        (units, *sizes of the source's window), with an exponent of two for each unit; with a stem the phases of the image,
        as `Stem.maps` takes their scores.
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
            factor = arriving.near_one(last.limit)
            arriving, late = (arriving, factor) if last.may_wait(arriving) else (arriving.rescaled(factor), None)
        else:
            arriving = arriving.looked_at(patient * allowed, limit)
        if stem is not None and step is stem.pool:
            pending[windows.source] = stem.pull(arriving, shared, table)
            break
        transpose = others.get(step.equation, rule.transpose)
        for i, into in step.into.items():
            operand: Variable = step.equation.operands[i]  # type: ignore[assignment]
            view = view_of(step.equation, i, windows.regions[step.equation.result], into, windows, shared, table)
            pulled = pulled_through(arriving, view, i, transpose)
            array = mask(pulled.array, into, step.masked[i], windows.starts, table)
            pulled = replace(pulled, array=place(array, into, windows.regions[operand], windows.starts, table))
            if operand in pending:
                pulled = pending[operand].met(pulled, shared.scales, operand in in_squares)
            pending[operand] = pulled
    if windows.source not in pending:
        region = windows.regions[windows.source]
        return Scaled(jnp.zeros((ct.shape[0], *(span.size for span in region)), windows.source.dtype))
    final = pending[windows.source].complete(shared.scales)
    if late is not None:  # where the product is one with the score
        return final.rescaled(late)
    return final if last else final.looked_at(min(patient, 1.0), room(final.array.dtype))
