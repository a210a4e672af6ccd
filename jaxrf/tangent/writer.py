"""The equations of a flat program, appended one by one, with what is remembered of where they came from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters.tap import TAP, owners
from jaxrf.base.place import place
from jaxrf.equations.program import Equation, Operand, Variable
from jaxrf.primitives.operation import Kind, about


class Writer(ABC):
    """Appends equations to `forward` and `linear`; numbers repeated taps.

    What runs through jaxprs is a writer, and what rewrites single equations is given one.
    """

    def __init__(self) -> None:
        self.forward: list[Equation] = []
        self.linear: list[Equation] = []
        self.consts: dict[Variable, Any] = {}
        self.taps: dict[str, list[Variable]] = {}
        self.tangent_taps: dict[str, list[Variable]] = {}
        self.differentiating = False
        self.calls: tuple[Any, ...] = ()
        """Source infos of the equation at hand and of the calls that it is in, the innermost first."""

    @abstractmethod
    def run(self, jaxpr: Any, consts: Sequence[Operand], args: Sequence[Operand]) -> list[Operand]:
        """Append all equations of an open jaxpr, given its operands; returns its results."""

    def call(self, jaxpr: Any, operands: list[Operand]) -> list[Operand]:
        """Inline a closed or an open jaxpr."""
        if hasattr(jaxpr, "consts"):
            return self.run(jaxpr.jaxpr, [self.const(c) for c in jaxpr.consts], operands)
        return self.run(jaxpr, [], operands)

    def new(self, aval: Any, tangent: bool) -> Variable:
        dtype = aval.dtype if not jnp.issubdtype(aval.dtype, jax.dtypes.extended) else np.dtype(object)
        return Variable(tuple(aval.shape), dtype, tangent)

    def const(self, value: Any) -> Variable:
        variable = self.new(jax.typeof(value), False)
        self.consts[variable] = value
        return variable

    def append(self, eqn: Any, operands: list[Operand], to: list[Equation], tangent: bool) -> list[Operand]:
        if not eqn.outvars:  # a print for debugging: nothing depends on it
            return []
        name = eqn.primitive.name
        results = tuple(self.new(v.aval, tangent) for v in eqn.outvars)
        infos, evaluate = self.calls, _evaluator(eqn)
        if tangent:  # a linear equation has one result
            layers = self.layers()
            for k, result in enumerate(results):
                one = lambda *values, k=k: evaluate(*values)[k : k + 1]  # noqa: E731
                to.append(Equation(name, eqn.params, tuple(operands), (result,), one, lambda: place(infos), layers))
        else:
            to.append(Equation(name, eqn.params, tuple(operands), results, evaluate, lambda: place(infos)))
        # Bodies of remat compute values again inside the derivative: those taps are not calls of their own.
        if name == TAP and (tangent or not self.differentiating):
            (self.tangent_taps if tangent else self.taps).setdefault(eqn.params["name"], []).append(results[0])
        return list(results)

    def layers(self) -> tuple[str, ...]:
        """The layers in whose calls the equation at hand was traced, the outermost first."""
        return owners(info.name_stack for info in self.calls)

    def synthetic(self, name: str, operands: Sequence[Operand], shape: tuple[int, ...], run: Callable, **params: Any):
        """An equation that JAX did not write: a part of an unrolled loop or a branch."""
        tangent = any(v.tangent for v in operands)
        dtype = next((v.dtype for v in reversed(operands) if isinstance(v, Variable)), operands[-1].dtype)
        result = Variable(shape, dtype, tangent)
        infos, layers = self.calls, self.layers() if tangent else ()
        evaluate = lambda *values: [run(*values)]  # noqa: E731
        equation = Equation(name, params, tuple(operands), (result,), evaluate, lambda: place(infos), layers)
        (self.linear if tangent else self.forward).append(equation)
        return result


def _evaluator(eqn: Any) -> Callable[..., Sequence[Any]]:
    # XLA on CPUs (jaxlib 0.10, 0.12) computes a convolution of a scatter's result wrongly where both are vectorized.
    is_write = about(eqn.primitive.name).kind is Kind.WRITE

    def evaluate(*values: Any) -> Sequence[Any]:
        result = eqn.primitive.bind(*_alike(values), **eqn.primitive.get_bind_params(eqn.params))
        results = result if eqn.primitive.multiple_results else [result]
        return jax.lax.optimization_barrier(results) if is_write else results

    return evaluate


def _alike(values: Sequence[Any]) -> Sequence[Any]:
    """Values as operands of one primitive inside of a `shard_map`: those that are equal on all devices count as different."""
    axes = [_varying(jax.typeof(value)) for value in values]
    every = frozenset().union(*axes)
    return [jax.lax.pcast(v, tuple(every - own), to="varying") if every - own else v for v, own in zip(values, axes)]


def _varying(aval: Any) -> frozenset[str]:
    """Axes of a `shard_map`'s mesh along which an array differs; their place has moved between versions of JAX."""
    return getattr(getattr(aval, "mat", aval), "varying", None) or getattr(aval, "vma", frozenset())
