"""From a jaxpr to flat equations: calls are inlined, loops over layers unrolled, branches joined by a select.

This module and `tap.py` are the only ones that know how JAX lays out its programs.
Primitives are known by name; loop layouts are read off shapes, because the params of `scan` differ between versions of JAX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core as jex

from jaxrf.equations.program import Equation, Literal, Operand, Variable, needed
from jaxrf.errors import TraceError
from jaxrf.tangent.loops import UNROLL_LIMIT
from jaxrf.tangent.rewrites import FORWARD, LINEAR, concatenate, cut, reshape
from jaxrf.tangent.writer import Writer

CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "eval_jaxpr": "call_jaxpr",
}


class Flattener(Writer):
    """Runs through jaxprs and appends their equations.

    Args:
        opened: whether loops and branches of the forward pass are written out too.
    """

    def __init__(self, opened: bool = False) -> None:
        super().__init__()
        self.opened = opened

    def derivative(self, jaxpr: Any, coefficients: Sequence[Operand], tangent: Variable) -> list[Operand]:
        """Flatten the linear map itself, behind the forward pass that computes its coefficients."""
        self.differentiating = True
        return self.run(jaxpr, coefficients, [tangent])

    def run(self, jaxpr: Any, consts: Sequence[Operand], args: Sequence[Operand]) -> list[Operand]:
        env: dict[Any, Operand] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

        def read(atom: Any) -> Operand:
            return Literal(atom.val) if isinstance(atom, jex.Literal) else env[atom]

        for eqn in jaxpr.eqns:
            env.update(zip(eqn.outvars, self.equation(eqn, [read(v) for v in eqn.invars])))
        return [read(v) for v in jaxpr.outvars]

    def equation(self, eqn: Any, operands: list[Operand]) -> list[Operand]:
        outer, self.calls = self.calls, (eqn.source_info, *self.calls)
        results = self.written_out(eqn, operands)
        self.calls = outer
        return results

    def written_out(self, eqn: Any, operands: list[Operand]) -> list[Operand]:
        name = eqn.primitive.name
        if name in CALLS:
            return self.call(eqn.params[CALLS[name]], operands)
        linear = any(v.tangent for v in operands)
        rewrite = (LINEAR if linear else FORWARD).get(name)
        rewritten = rewrite(self, eqn, operands) if rewrite else None
        if rewritten is not None:
            return rewritten
        if not linear and not self.opened:
            return self.append(eqn, operands, self.forward, False)
        if name in ("scan", "cond") and (linear or can_open(name, eqn.params)):
            if name == "cond":
                return self.cond(eqn.params, operands)
            if eqn.params["length"] <= UNROLL_LIMIT:
                return self.scan(eqn.params, operands, [v.aval.shape for v in eqn.outvars])
        if not linear:
            return self.append(eqn, operands, self.forward, False)
        return self.append(eqn, operands, self.linear, True)

    def scan(self, params: Mapping[str, Any], operands: Sequence[Operand], shapes: Sequence[tuple]) -> list[Operand]:
        """Unroll: slices of the scanned operands go in, the carry goes round, outputs (of `shapes`) are concatenated."""
        body, length = params["jaxpr"], params["length"]
        scanned = sum(len(o.shape) > len(v.aval.shape) for o, v in zip(operands, body.jaxpr.invars))
        carried = sum(len(shape) == len(v.aval.shape) for shape, v in zip(shapes, body.jaxpr.outvars))
        if length == 0:
            raise TraceError("A scan of length 0 carries the derivative; there is nothing to unroll.")
        fixed = len(operands) - scanned - carried
        consts, xs = operands[:fixed], operands[fixed + carried :]
        carry = list(operands[fixed : fixed + carried])
        order = range(length)[::-1] if params["reverse"] else range(length)
        stacked: list[list[Operand]] = [[] for _ in range(len(shapes) - carried)]
        body_consts = [self.const(c) for c in body.consts]
        for i in order:
            results = self.run(body.jaxpr, body_consts, [*consts, *carry, *(self.item(x, i) for x in xs)])
            carry = results[:carried]
            for pile, value in zip(stacked, results[carried:]):
                pile.append(value)
        return [*carry, *(self.stack(pile[::-1] if params["reverse"] else pile) for pile in stacked)]

    def item(self, x: Operand, i: int) -> Operand:
        """`x[i]` as a slice and a reshape."""
        if not x.tangent:
            return self.synthetic("index", [x], x.shape[1:], lambda value: value[i])
        return reshape(self, cut(self, x, 0, i, i + 1), x.shape[1:])

    def stack(self, values: Sequence[Operand]) -> Operand:
        """The loop's iterations along a new first axis."""
        shape = (len(values), *values[0].shape)
        if not any(v.tangent for v in values):
            return self.synthetic("stack", values, shape, lambda *vs: jnp.stack(vs))
        return concatenate(self, [reshape(self, v, (1, *v.shape)) for v in values], 0)

    def cond(self, params: Mapping[str, Any], operands: Sequence[Operand]) -> list[Operand]:
        """Every branch, joined by a select: which one runs may depend on the image."""
        index, rest = operands[0], operands[1:]
        branches = [self.call(branch, list(rest)) for branch in params["branches"]]
        if len(branches) == 1:
            return branches[0]
        return [self.select(index, cases) for cases in zip(*branches)]

    def select(self, index: Operand, cases: Sequence[Operand]) -> Operand:
        return self.synthetic(
            "select_n", [index, *cases], cases[0].shape,
            lambda i, *vs: jax.lax.select_n(i, *(jnp.asarray(v) for v in vs)),
        )  # fmt: skip


def can_open(primitive: str, params: Mapping[str, Any]) -> bool:
    """Whether a loop or a branch of the forward pass, if it is one, can be written out."""
    return primitive == "cond" or (primitive == "scan" and 0 < params["length"] <= UNROLL_LIMIT)


def opened(forward: Sequence[Equation], wanted: Sequence[Operand]) -> tuple[list[Equation], dict[Variable, Any]]:
    """The forward equations with the loops and branches that `wanted` come from written out, and constants of these.

    What a model computes in a loop beside its image, such as a mask, is then seen to be constant.
    """
    if not any(can_open(e.primitive, e.params) for e in forward):
        return list(forward), {}
    behind = {e for e in needed(forward, wanted, {}) if can_open(e.primitive, e.params)}
    flat = Flattener(opened=True)
    for equation in forward:
        if equation not in behind:
            flat.forward.append(equation)
            continue
        if equation.primitive == "cond":
            results = flat.cond(equation.params, equation.operands)
        else:
            results = flat.scan(equation.params, equation.operands, [v.shape for v in equation.results])
        for inner, outer in zip(results, equation.results, strict=True):
            flat.forward.append(Equation("copy", {}, (inner,), (outer,), lambda value: [value]))
    return flat.forward, flat.consts
