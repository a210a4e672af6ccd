"""Writing at indices: scatter-add and dynamic updates. Known indices are followed exactly."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.geometry.maps import Window
from jaxrf.geometry.relations import Elements, Masked, Product, dense
from jaxrf.primitives.elementwise import aligned
from jaxrf.primitives.rule import Rule, rule
from jaxrf.tangent.program import Equation

UNKNOWN = "its indices depend on values, so what is written counts as reaching everything"


@rule("scatter-add", "scatter_add", "scatter")
class Scatter(Rule):
    """Updates added to (or put in place of) elements of an array.

    y = x;  y[index[j]] += u[j]
    Example: 5 positions, index (1, 1, 4): result 1 depends on x 1 and on updates 0 and 1, result 4 on x 4 and update 2.
    Operand 0 is the array, operand 1 the indices, operand 2 the updates.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.scatter_add.html
    """

    def relation(self, equation, operand):
        out = equation.result.shape
        target = self._targets(equation)
        if operand == 0:
            plain = aligned(out, out)
            if "add" in equation.primitive or target is None:
                return plain
            kept = np.ones(math.prod(out), bool)
            kept[target[target >= 0]] = False
            return Masked(plain, kept.reshape(out))
        updates = equation.operands[2].shape
        if target is None:
            return dense(updates, out)
        order = np.argsort(target, kind="stable")
        order = order[target[order] >= 0]
        place = target[order]
        first = np.searchsorted(place, place)
        rank = np.arange(len(place)) - first
        index = np.full((int(rank.max(initial=0)) + 1, math.prod(out)), -1, np.int64)
        index[rank, place] = order
        return Elements(updates, out, index)

    def _targets(self, equation: Equation) -> np.ndarray | None:
        """Flat position in the result of each update, -1 where it is dropped; None if the indices are not known."""
        indices = equation.known(1)
        if indices is None:
            return None
        numbers, shape = equation.params["dimension_numbers"], equation.result.shape
        updates = equation.operands[2].shape
        single = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
        windows = iter(updates[a] for a in numbers.update_window_dims)
        sizes = tuple(1 if a in single else next(windows) for a in range(len(shape)))
        gather = lax.GatherDimensionNumbers(
            offset_dims=tuple(numbers.update_window_dims),
            collapsed_slice_dims=tuple(numbers.inserted_window_dims),
            start_index_map=tuple(numbers.scatter_dims_to_operand_dims),
            operand_batching_dims=tuple(numbers.operand_batching_dims),
            start_indices_batching_dims=tuple(numbers.scatter_indices_batching_dims),
        )
        flat = jnp.arange(math.prod(shape), dtype=jnp.int32).reshape(shape)
        mode = equation.params["mode"]
        return np.asarray(lax.gather(flat, jnp.asarray(indices), gather, sizes, mode=mode, fill_value=-1)).ravel()

    def loose(self, equation, operand):
        return UNKNOWN if equation.known(1) is None else ""


@rule("dynamic_update_slice")
class DynamicUpdateSlice(Rule):
    """A part of an array overwritten by an update.

    Example: update of size 2 at 3 into 7 positions: result 4 depends on update 1, result 2 on x 2.
    Operand 0 is the array, operand 1 the update, the others are starts.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.dynamic_update_slice.html
    """

    def relation(self, equation, operand):
        out, update = equation.result.shape, equation.operands[1].shape
        known = [equation.known(2 + a) for a in range(len(out))]
        if any(start is None for start in known):
            return aligned(out, out) if operand == 0 else dense(update, out)
        begins = [int(np.clip(s, 0, n - m)) for s, n, m in zip(known, out, update)]  # type: ignore[arg-type]
        if operand == 1:
            axes = tuple((Window(m, n, 1, (-b,)), a) for a, (b, n, m) in enumerate(zip(begins, out, update)))
            return Product(update, out, axes)
        kept = np.ones(out, bool)
        kept[tuple(slice(b, b + m) for b, m in zip(begins, update))] = False
        return Masked(aligned(out, out), kept)

    def loose(self, equation, operand):
        return UNKNOWN if any(equation.known(2 + a) is None for a in range(len(equation.result.shape))) else ""
