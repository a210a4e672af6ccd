"""From a jaxpr to flat equations: calls are inlined, loops over layers unrolled, branches joined by a select.

This module and `tap.py` are the only ones that know how JAX lays out its programs.
Primitives are known by name; loop layouts are read off shapes, because the params of `scan` differ between versions of JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex

from jaxrf.errors import TraceError
from jaxrf.place import place
from jaxrf.primitives.operation import Kind, about
from jaxrf.tangent.loops import UNROLL_LIMIT
from jaxrf.tangent.program import Equation, Literal, Operand, Variable, needed
from jaxrf.tangent.rewrites import FORWARD, LINEAR, concatenate, cut, reshape
from jaxrf.tangent.tap import TAP, owner

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


class Flattener:
    """Appends the equations of jaxprs to `forward` and `linear`; numbers repeated taps.

    Args:
        opened: whether loops and branches of the forward pass are written out too.
    """

    def __init__(self, opened: bool = False) -> None:
        self.opened = opened
        self.forward: list[Equation] = []
        self.linear: list[Equation] = []
        self.consts: dict[Variable, Any] = {}
        self.taps: dict[str, list[Variable]] = {}
        self.tangent_taps: dict[str, list[Variable]] = {}
        self.differentiating = False
        self.calls: tuple[Any, ...] = ()
        """Source infos of the equation at hand and of the calls that it is in, the innermost first."""

    def derivative(self, jaxpr: Any, coefficients: Sequence[Operand], tangent: Variable) -> list[Operand]:
        """Flatten the linear map itself, behind the forward pass that computes its coefficients."""
        self.differentiating = True
        return self.run(jaxpr, coefficients, [tangent])

    def new(self, aval: Any, tangent: bool) -> Variable:
        dtype = aval.dtype if not jnp.issubdtype(aval.dtype, jax.dtypes.extended) else np.dtype(object)
        return Variable(tuple(aval.shape), dtype, tangent)

    def const(self, value: Any) -> Variable:
        variable = self.new(jax.typeof(value), False)
        self.consts[variable] = value
        return variable

    def run(self, jaxpr: Any, consts: Sequence[Operand], args: Sequence[Operand]) -> list[Operand]:
        """Flatten an open jaxpr, given its operands; returns its results."""
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

    def call(self, jaxpr: Any, operands: list[Operand]) -> list[Operand]:
        """Inline a closed or an open jaxpr."""
        if hasattr(jaxpr, "consts"):
            return self.run(jaxpr.jaxpr, [self.const(c) for c in jaxpr.consts], operands)
        return self.run(jaxpr, [], operands)

    def append(self, eqn: Any, operands: list[Operand], to: list[Equation], tangent: bool) -> list[Operand]:
        if not eqn.outvars:  # a print for debugging: nothing depends on it
            return []
        name = eqn.primitive.name
        results = tuple(self.new(v.aval, tangent) for v in eqn.outvars)
        infos, evaluate = self.calls, _evaluator(eqn)
        if tangent:  # a linear equation has one result
            layer = self.layer()
            for k, result in enumerate(results):
                one = lambda *values, k=k: evaluate(*values)[k : k + 1]  # noqa: E731
                to.append(Equation(name, eqn.params, tuple(operands), (result,), one, lambda: place(infos), layer))
        else:
            to.append(Equation(name, eqn.params, tuple(operands), results, evaluate, lambda: place(infos)))
        # Bodies of remat compute values again inside the derivative: those taps are not calls of their own.
        if name == TAP and (tangent or not self.differentiating):
            (self.tangent_taps if tangent else self.taps).setdefault(eqn.params["name"], []).append(results[0])
        return list(results)

    def layer(self) -> str | None:
        """The layer in whose call the equation at hand was traced."""
        return owner(info.name_stack for info in self.calls)

    def synthetic(self, name: str, operands: Sequence[Operand], shape: tuple[int, ...], run: Callable, **params: Any):
        """An equation that JAX did not write: a part of an unrolled loop or a branch."""
        tangent = any(v.tangent for v in operands)
        dtype = next((v.dtype for v in reversed(operands) if isinstance(v, Variable)), operands[-1].dtype)
        result = Variable(shape, dtype, tangent)
        infos, layer = self.calls, self.layer() if tangent else None
        evaluate = lambda *values: [run(*values)]  # noqa: E731
        equation = Equation(name, params, tuple(operands), (result,), evaluate, lambda: place(infos), layer)
        (self.linear if tangent else self.forward).append(equation)
        return result

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


def _evaluator(eqn: Any) -> Callable[..., Sequence[Any]]:
    # XLA on CPUs (jaxlib 0.10, 0.12) computes a convolution of a scatter's result wrongly where both are vectorized.
    apart = about(eqn.primitive.name).kind is Kind.WRITE

    def evaluate(*values: Any) -> Sequence[Any]:
        result = eqn.primitive.bind(*_alike(values), **eqn.primitive.get_bind_params(eqn.params))
        results = result if eqn.primitive.multiple_results else [result]
        return jax.lax.optimization_barrier(results) if apart else results

    return evaluate


def _alike(values: Sequence[Any]) -> Sequence[Any]:
    """Values as operands of one primitive inside of a `shard_map`: those that are equal on all devices count as different."""
    axes = [_varying(jax.typeof(value)) for value in values]
    every = frozenset().union(*axes)
    return [jax.lax.pcast(v, tuple(every - own), to="varying") if every - own else v for v, own in zip(values, axes)]


def _varying(aval: Any) -> frozenset[str]:
    """Axes of a `shard_map`'s mesh along which an array differs; their place has moved between versions of JAX."""
    return getattr(getattr(aval, "mat", aval), "varying", None) or getattr(aval, "vma", frozenset())
