"""Reading at indices: gather and dynamic slices. Known indices are followed exactly."""

from __future__ import annotations

import math
import string

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.equations.levels import carried
from jaxrf.equations.program import Equation
from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.elements import Elements
from jaxrf.geometry.maps import Fixed, Pattern, Window, identity, whole
from jaxrf.geometry.relations import Product, Relation
from jaxrf.primitives.movement import Movement, fit
from jaxrf.primitives.operation import Kind
from jaxrf.primitives.rule import Rule, linear_transpose, rule

UNKNOWN = "its indices depend on values, so it counts as reading anywhere along the indexed axes"
Axes = tuple[tuple[AxisMap, int | None], ...]


@rule("gather")
class Gather(Rule):
    """Slices of the operand at given starts, as `x[:, index]` and nearest upsampling make them.

    An axis that is not indexed is read at its own position; an indexed one where its index says.
    Example: x[:, [0, 0, 2]] of (2, 3): element (1, 2) depends on (1, 2), element (1, 1) on (1, 0).
    Operand 0 is the array, operand 1 the indices. Indices that depend on values leave a hull, not an exact relation.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.gather.html
    """

    kind = Kind.READ
    linear, indices = (0,), (1,)
    hull_where = "its indices depend on values"

    def relation(self, equation, operand) -> Relation:
        shape, out = equation.operands[0].shape, equation.result.shape
        axes = self.axes(equation)
        if axes is not None:
            return Product(shape, out, axes)
        params = dict(equation.params, fill_value=-1)
        flat = jnp.arange(math.prod(shape), dtype=jnp.int32).reshape(shape)
        index = np.asarray(lax.gather_p.bind(flat, jnp.asarray(equation.known(1)), **params))
        return Elements(shape, out, index[None])

    def axes(self, equation: Equation) -> Axes | None:
        """The relation axis by axis; None where known indices give none: one axis by two of the result, or two by one."""
        shape, out = equation.operands[0].shape, equation.result.shape
        starts = self.starts(equation)
        numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
        gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
        offsets = dict(zip((a for a in range(len(shape)) if a not in gone), numbers.offset_dims))
        batch = [o for o in range(len(out)) if o not in numbers.offset_dims]
        axes: list[tuple[AxisMap, int | None]] = []
        for a, n in enumerate(shape):
            found: tuple[AxisMap, int | None] | None
            if a in numbers.operand_batching_dims:
                where = numbers.start_indices_batching_dims[numbers.operand_batching_dims.index(a)]
                found = identity(n), batch[where]
            elif a not in starts:
                found = (Window(n, sizes[a]), offsets[a]) if a in offsets else (Fixed(n, 1, 0, 1), None)
            elif starts[a] is None:
                found = (identity(n), offsets[a]) if a in offsets and sizes[a] == n else (whole(n), None)
            else:
                found = self._indexed(equation, starts[a], a, offsets, batch)
            clash = found is not None and found[1] in {o for _, o in axes if o is not None}
            if found is None or clash:
                if all(start is not None for start in starts.values()):
                    return None
                found = whole(n), None
            axes.append(found)
        return tuple(axes)

    def starts(self, equation: Equation) -> dict[int, np.ndarray | None]:
        """Where the slices start along each indexed axis; None where that depends on values."""
        places, columns = equation.params["dimension_numbers"].start_index_map, equation.columns(1)
        return {a: None if c is None else c.astype(np.int64) for a, c in zip(places, columns)}

    def _indexed(self, equation, starts, axis, offsets, batch) -> tuple[AxisMap, int | None] | None:
        """The map of an indexed axis: by one start for all, or by one index per position of one result axis."""
        n, size = equation.operands[0].shape[axis], equation.params["slice_sizes"][axis]
        if equation.params["mode"] != lax.GatherScatterMode.FILL_OR_DROP:
            starts = np.clip(starts, 0, n - size)
        varying = [i for i, m in enumerate(starts.shape) if m > 1 and (starts != np.take(starts, [0], axis=i)).any()]
        if not varying:
            start = int(starts.ravel()[0]) if starts.size else 0
            inside = 0 <= start <= n - size
            if axis not in offsets:
                return Fixed(n, 1, start, start + 1) if inside else Fixed(n, 1, 0, 0), None
            if inside:
                return Window(n, size, 1, (start,)), offsets[axis]
            return Pattern(n, size, np.zeros((size, n), bool)), offsets[axis]  # the whole slice is dropped
        if len(varying) > 1 or axis in offsets:
            return None
        along = np.moveaxis(starts, varying[0], 0).reshape(starts.shape[varying[0]], -1)[:, 0]
        return Pattern(n, len(along), along[:, None] == np.arange(n)), batch[varying[0]]

    def loose(self, equation, operand):
        return UNKNOWN if any(start is None for start in self.starts(equation).values()) else ""

    def needs_whole(self, equation):
        exact = equation.known(1) is not None and self.axes(equation) is not None
        return frozenset() if exact else super().needs_whole(equation)

    def transpose(self, view, operand, ct):
        """Along indexed axes a product with the known 0/1 matrix; elsewhere windows are laid where they were cut."""
        axes = self.axes(view.equation) if view.equation.known(1) is not None else None
        if axes is None:
            return linear_transpose(view, operand, ct)
        letters = list(string.ascii_lowercase[: len(view.out)])
        here = list(letters)
        for a, (axis_map, out) in enumerate(axes):
            if isinstance(axis_map, Pattern) and out is not None:
                matrix = view.window(f"axis {a}", axis_map.support, (view.out[out], view.into[a]))
                matrix = matrix.astype(ct.dtype)
                unit, before = ("Z", here[out]) if matrix.shape[0] > 1 else ("", here[out])
                after = before.upper() if before != "z" else "Y"
                here[out] = after
                both = f"Z{''.join(here).replace(after, before)},{unit}{before}{after}->Z{''.join(here)}"
                ct = jnp.einsum(both, ct, matrix if unit else matrix[0], precision=lax.Precision.HIGHEST)
        driven = [out for _, out in axes if out is not None]
        ct = ct.sum(axis=tuple(o + 1 for o in range(len(view.out)) if o not in driven))
        order = sorted(driven)
        ct = ct.transpose(0, *(order.index(out) + 1 for out in driven))
        for a, (axis_map, out) in enumerate(axes):
            if out is None:
                start = axis_map.lo if isinstance(axis_map, Fixed) else 0
                ct = fit(jnp.expand_dims(ct, a + 1), a + 1, start, 1, view.into[a].size)
            elif isinstance(axis_map, Window):
                ct = fit(ct, a + 1, 0 if view.out[out].moving else axis_map.offsets[0], 1, view.into[a].size)
        return ct

    def known(self, equation, operands):
        return carried(equation, operands, 1)


@rule("dynamic_slice")
class DynamicSlice(Movement):
    """A slice whose start is a coefficient; where it is known, a slice like any other.

    Example: start 2, size 3 of 7 positions: result 1 sees 3.
    Operand 0 is the array, the others are starts.
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.dynamic_slice.html
    """

    linear, indices = (0,), (1,)
    hull_where = "its start depends on values"

    def windows(self, equation, operand):
        sizes = zip(equation.operands[0].shape, equation.result.shape, self._starts(equation))
        return [Window(n, m, 1, (start or 0,)) for n, m, start in sizes]

    def _starts(self, equation: Equation) -> list[int | None]:
        """Where the slice starts along each axis; None where that depends on values."""
        result: list[int | None] = []
        for a, (n, m) in enumerate(zip(equation.operands[0].shape, equation.result.shape)):
            start = np.asarray(0) if n == m else equation.known(1 + a)
            result.append(None if start is None else int(np.clip(start, 0, n - m)))
        return result

    def relation(self, equation, operand):
        pairs = zip(self.windows(equation, operand), self._starts(equation))
        axes = tuple((whole(w.in_size), None) if start is None else (w, a) for a, (w, start) in enumerate(pairs))
        return Product(equation.operands[0].shape, equation.result.shape, axes)

    def loose(self, equation, operand):
        return UNKNOWN if None in self._starts(equation) else ""

    def needs_whole(self, equation):
        return frozenset(range(len(equation.result.shape))) if None in self._starts(equation) else frozenset()

    def transpose(self, view, operand, ct):
        known = None not in self._starts(view.equation)
        return super().transpose(view, operand, ct) if known else linear_transpose(view, operand, ct)
