"""Loops that end by a condition, run through where their number of iterations does not depend on values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend import core as jex

from jaxrf.equations.program import Literal, Operand
from jaxrf.tangent.writer import Writer

UNROLL_LIMIT = 2048
"""Longer loops are not unrolled."""
SMALL = 1024
"""Larger arrays, in elements, are not counters, and are not followed through the iterations."""


def while_loop(flat: Writer, eqn: Any, operands: list[Operand]) -> list[Operand] | None:
    """Its body, once per step, where their number is known.

    None where it depends on values, or where there are more than `UNROLL_LIMIT`.
    """
    tests, fixed = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    cond, body = eqn.params["cond_jaxpr"], eqn.params["body_jaxpr"]
    of_cond, of_body, carry = operands[:tests], operands[tests : tests + fixed], operands[tests + fixed :]
    conditions, constants = ([_known(flat, v) for v in some] for some in (of_cond, of_body))
    states = [[_known(flat, v) for v in carry]]
    while True:
        (goes_on,) = _partly(cond, [*conditions, *states[-1]])
        if goes_on is None or len(states) > UNROLL_LIMIT:
            return None
        if not goes_on:
            break
        states.append(_partly(body, [*constants, *states[-1]]))
    consts = [flat.const(c) for c in body.consts]
    for state in states[:-1]:
        here = [v if known is None else Literal(known) for v, known in zip(carry, state, strict=True)]
        carry = flat.run(body.jaxpr, consts, [*of_body, *here])
    return carry


def _known(flat: Writer, operand: Operand) -> Any:
    """The value of a literal or of an array that the model closed over; None of any other."""
    value = operand.value if isinstance(operand, Literal) else flat.consts.get(operand)
    return value if value is not None and np.size(value) <= SMALL else None


def _partly(closed: Any, arguments: Sequence[Any]) -> list[Any]:
    """The results that follow from the arguments that are known; None in place of the others."""
    jaxpr = closed.jaxpr
    values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *arguments], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jex.Literal) else values.get(atom)

    for eqn in jaxpr.eqns:
        known = [read(v) for v in eqn.invars]
        if eqn.effects or any(v is None for v in known) or any(np.prod(v.aval.shape) > SMALL for v in eqn.outvars):
            continue
        results = eqn.primitive.bind(*known, **eqn.primitive.get_bind_params(eqn.params))
        values.update(zip(eqn.outvars, results if eqn.primitive.multiple_results else [results]))
    return [read(v) for v in jaxpr.outvars]
