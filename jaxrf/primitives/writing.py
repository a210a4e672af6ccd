"""Writing at indices: scatters and dynamic updates. Known indices are followed exactly, and blocks on windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.equations.levels import LARGEST, Known, known
from jaxrf.equations.program import Equation
from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.elements import Elements
from jaxrf.geometry.maps import Fixed, Window, identity, whole
from jaxrf.geometry.relations import Masked, Product, Relation
from jaxrf.primitives.elementwise import aligned
from jaxrf.primitives.movement import fit
from jaxrf.primitives.operation import Kind
from jaxrf.primitives.rule import Rule, Span, linear_transpose, rule

UNKNOWN = "its indices depend on values, so what is written counts as reaching anywhere along the indexed axes"
REPEATED = "its indices repeat, and which of the updates stays is not followed"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """A box of the result, to which all updates go.

    Along result axis a it holds `sizes[a]` positions from `starts[a]` on, those of update axis `axes[a]`
    (None: a single position that the updates have no axis for). All other axes of the updates have size 1.
    """

    updates: Shape
    out: Shape
    starts: Shape
    sizes: Shape
    axes: tuple[int | None, ...]

    @property
    def inside(self) -> np.ndarray:
        """Where the block is, broadcastable to the result: of size 1 along axes that it fills."""
        filled = [1 if n == m else n for n, m in zip(self.out, self.sizes)]
        result = np.zeros(filled, bool)
        result[
            tuple(slice(None) if n == 1 else slice(s, s + m) for n, s, m in zip(filled, self.starts, self.sizes))
        ] = True
        return result

    def of_updates(self) -> Relation:
        """Updates to result: shifted along each axis of the block."""
        axes: list[tuple[AxisMap, int | None]] = [(Fixed(n, 1, 0, n), None) for n in self.updates]
        for a, (start, u) in enumerate(zip(self.starts, self.axes)):
            if u is not None:
                axes[u] = (Window(self.updates[u], self.out[a], 1, (-start,)), a)
        moved = Product(self.updates, self.out, tuple(axes))
        alone = [a for a, u in enumerate(self.axes) if u is None]
        if not alone:
            return moved
        at = np.ones([1] * len(self.out), bool)
        for a in alone:
            at = at & (np.arange(self.out[a]) == self.starts[a]).reshape(
                [-1 if b == a else 1 for b in range(len(self.out))]
            )
        return Masked(moved, at)

    def pull_updates(self, view, ct):
        """The cotangent of the block, under the axes of the updates."""
        for a, (start, size, u) in enumerate(zip(self.starts, self.sizes, self.axes)):
            span = view.out[a]
            if u is None and span.moving:  # the window may or may not hold the position
                at = np.arange(self.out[a]) == start
                here = view.window(f"axis {a}", at, (span,))
                here = here.reshape(here.shape[0], *(span.size if b == a else 1 for b in range(len(self.out))))
                ct = jnp.where(here, ct, jnp.zeros((), ct.dtype)).sum(axis=a + 1, keepdims=True)
            else:
                into = view.into[u].size if u is not None else size
                ct = fit(ct, a + 1, 0 if span.moving else -start, 1, into)
        kept = [a for a, u in enumerate(self.axes) if u is not None]
        ct = ct.reshape(ct.shape[0], *(ct.shape[a + 1] for a in kept))
        order = sorted(kept, key=lambda a: self.axes[a] or 0)
        ct = ct.transpose(0, *(kept.index(a) + 1 for a in order))
        return jnp.expand_dims(ct, [u + 1 for u in range(len(self.updates)) if u not in self.axes])

    def pull_kept(self, view, ct):
        """The cotangent of what is not overwritten."""
        inside = self.inside
        spans = tuple(span if n == span.extent else Span(n, n) for n, span in zip(inside.shape, view.out))
        return jnp.where(view.window("block", inside, spans), jnp.zeros((), ct.dtype), ct)


def written(equation: Equation, operands: Sequence[Known], array: int, updates: int) -> Known | None:
    """Elements written among others at known places: sums, products and copies of flags say where none is."""
    some = [operands[array], operands[updates]]
    places = [None if i in (array, updates) else x.value for i, x in enumerate(operands)]
    if any(place is None for i, place in enumerate(places) if i not in (array, updates)):
        return None
    if np.prod(equation.result.shape) > LARGEST:
        return None
    blurred = any(x.leveled for x in some)
    if all(x.support is None for x in some):
        return known(None, None, some, blurred=blurred)
    for i in (array, updates):
        operand = equation.operands[i]
        places[i] = np.broadcast_to(operands[i].somewhere, operand.shape).astype(operand.dtype)
    return known(np.asarray(equation.evaluate(*places)[0] != 0), None, some, blurred=blurred)


class Writing(Rule):
    """Members say which block they write, or where each update goes; `array` and `updates` are operand numbers."""

    kind = Kind.WRITE
    array, updates = 0, 1

    def block(self, equation: Equation) -> Block | None:
        """The block that is written; None if it is none, or not known."""
        raise NotImplementedError

    def replaces(self, equation: Equation) -> bool:
        """Whether the old values are gone where updates are written."""
        return True

    def relation(self, equation, operand) -> Relation:
        out, block = equation.result.shape, self.block(equation)
        if block is None:
            return self.scattered(equation, operand)
        if operand == self.updates:
            return block.of_updates()
        return Masked(aligned(out, out), ~block.inside) if self.replaces(equation) else aligned(out, out)

    def scattered(self, equation: Equation, operand: int) -> Relation:
        """The relation where no block is known."""
        raise NotImplementedError

    def needs_whole(self, equation):
        return super().needs_whole(equation) if self.block(equation) is None else frozenset()

    def known(self, equation, operands):
        return written(equation, operands, self.array, self.updates)

    def transpose(self, view, operand, ct):
        block = self.block(view.equation)
        if block is None:
            return linear_transpose(view, operand, ct)
        if operand == self.updates:
            return block.pull_updates(view, ct)
        return block.pull_kept(view, ct) if self.replaces(view.equation) else ct


@rule("dynamic_update_slice")
class DynamicUpdateSlice(Writing):
    """A part of an array overwritten by an update.

    Example: update of size 2 at 3 into 7 positions: result 4 depends on update 1, result 2 on x 2.
    Operand 0 is the array, operand 1 the update, the others are starts.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.dynamic_update_slice.html
    """

    linear, indices = (0, 1), (2,)
    tells_levels = True
    hull_where = "its start depends on values"

    def block(self, equation):
        out, update = equation.result.shape, equation.operands[1].shape
        known = [np.asarray(0) if n == m else equation.known(2 + a) for a, (n, m) in enumerate(zip(out, update))]
        if any(start is None for start in known):
            return None
        starts = tuple(int(np.clip(s, 0, n - m)) for s, n, m in zip(known, out, update))  # type: ignore[arg-type]
        return Block(update, out, starts, update, tuple(range(len(out))))

    def scattered(self, equation, operand):
        out, update = equation.result.shape, equation.operands[1].shape
        if operand == 0:
            return aligned(out, out)
        axes = tuple((identity(m), a) if n == m else (whole(m), None) for a, (n, m) in enumerate(zip(out, update)))
        return Product(update, out, axes)

    def loose(self, equation, operand):
        return UNKNOWN if self.block(equation) is None else ""


@rule("scatter", "scatter-add", "scatter-sub")
class Scatter(Writing):
    """Updates put in place of elements of an array, added to them or subtracted from them.

    y = x;  y[index[j]] += u[j]
    Example: 5 positions, index (1, 1, 4): result 1 depends on x 1 and on updates 0 and 1, result 4 on x 4 and update 2.
    Operand 0 is the array, operand 1 the indices, operand 2 the updates.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.scatter_add.html
    """

    hull_where = "its indices depend on values, or repeat in a `scatter` that is not a sum"

    linear, indices, updates = (0, 2), (1,), 2
    tells_levels = True

    def steers(self, equation, operand):
        return operand == 1

    def known(self, equation, operands):
        """What is subtracted may leave a zero where neither flag is one."""
        return None if equation.primitive == "scatter-sub" else super().known(equation, operands)

    def replaces(self, equation):
        return equation.primitive == "scatter"

    def block(self, equation):
        """One index, whose slice lies inside."""
        indices, shape, updates = equation.known(1), equation.result.shape, equation.operands[2].shape
        numbers = equation.params["dimension_numbers"]
        if indices is None or math.prod(indices.shape[:-1]) != 1 or numbers.operand_batching_dims:
            return None
        axes, sizes = self._axes(equation)
        starts = [0] * len(shape)
        for a, start in zip(numbers.scatter_dims_to_operand_dims, indices.ravel()):
            starts[a] = int(start)
        if equation.params["mode"] == lax.GatherScatterMode.CLIP:
            starts = [min(max(s, 0), n - m) for s, n, m in zip(starts, shape, sizes)]
        inside = all(0 <= s <= n - m for s, n, m in zip(starts, shape, sizes))
        return Block(updates, shape, tuple(starts), sizes, axes) if inside else None

    def _axes(self, equation: Equation) -> tuple[tuple[int | None, ...], Shape]:
        """The update axis of each result axis (None where it is a single position), and its size."""
        numbers, updates = equation.params["dimension_numbers"], equation.operands[2].shape
        single = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
        windows = iter(numbers.update_window_dims)
        axes = tuple(None if a in single else next(windows) for a in range(len(equation.result.shape)))
        return axes, tuple(1 if u is None else updates[u] for u in axes)

    def scattered(self, equation, operand):
        out, target = equation.result.shape, self._targets(equation)
        if operand == 0:
            if target is None or not self.replaces(equation):
                return aligned(out, out)
            kept = np.ones(math.prod(out), bool)
            kept[target[target >= 0]] = False
            return Masked(aligned(out, out), kept.reshape(out))
        updates = equation.operands[2].shape
        if target is None:
            return self._anywhere(equation)
        order = np.argsort(target, kind="stable")
        order = order[target[order] >= 0]
        place = target[order]
        rank = np.arange(len(place)) - np.searchsorted(place, place)
        index = np.full((int(rank.max(initial=0)) + 1, math.prod(out)), -1, np.int64)
        index[rank, place] = order
        return Elements(updates, out, index)

    def _anywhere(self, equation: Equation) -> Product:
        """Updates by unknown indices: at their own place along axes that they fill and along batches."""
        numbers, updates, out = equation.params["dimension_numbers"], equation.operands[2].shape, equation.result.shape
        axes: list[tuple[AxisMap, int | None]] = [(whole(n), None) for n in updates]
        for a, u in enumerate(self._axes(equation)[0]):
            if u is not None and updates[u] == out[a]:
                axes[u] = (identity(out[a]), a)
        batch = [u for u in range(len(updates)) if u not in numbers.update_window_dims]
        for a, i in zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims):
            axes[batch[i]] = (identity(out[a]), a)
        return Product(updates, out, tuple(axes))

    def _targets(self, equation: Equation) -> np.ndarray | None:
        """Flat position in the result of each update, -1 where it is dropped; None if the indices are not known."""
        indices = equation.known(1)
        if indices is None:
            return None
        numbers, shape = equation.params["dimension_numbers"], equation.result.shape
        gather = lax.GatherDimensionNumbers(
            offset_dims=tuple(numbers.update_window_dims),
            collapsed_slice_dims=tuple(numbers.inserted_window_dims),
            start_index_map=tuple(numbers.scatter_dims_to_operand_dims),
            operand_batching_dims=tuple(numbers.operand_batching_dims),
            start_indices_batching_dims=tuple(numbers.scatter_indices_batching_dims),
        )
        flat = jnp.arange(math.prod(shape), dtype=jnp.int32).reshape(shape)
        sizes, mode = self._axes(equation)[1], equation.params["mode"]
        return np.asarray(lax.gather(flat, jnp.asarray(indices), gather, sizes, mode=mode, fill_value=-1)).ravel()

    def loose(self, equation, operand):
        target = self._targets(equation)
        if target is None:
            return UNKNOWN
        found = target[target >= 0]
        return REPEATED if operand == 2 and self.replaces(equation) and len(np.unique(found)) < len(found) else ""

    def transpose(self, view, operand, ct):
        pulled = super().transpose(view, operand, ct)
        known = self.block(view.equation) is not None
        return -pulled if known and operand == 2 and view.equation.primitive == "scatter-sub" else pulled


@rule("scatter-mul")
class ScatterMultiply(Rule):
    """Elements of an array times updates at indices; every element depends on itself, whatever the updates are.

    Operand 0 is the array, operand 1 the indices, operand 2 the updates, which are coefficients.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.scatter_mul.html
    """

    kind = Kind.WRITE
    linear, indices = (0,), (1,)
    tells_levels = True
    hull_where = "its updates hold zeros"

    def steers(self, equation, operand):
        return operand == 1

    def known(self, equation, operands):
        return written(equation, operands, 0, 2)

    def relation(self, equation, operand):
        return aligned(equation.result.shape, equation.result.shape)

    def loose(self, equation, operand):
        support = equation.support(2)
        return "" if support is None or support.all() else "the zeros of its updates are not followed"
