"""A relation by known indices: gathers and scatters that are not a product of axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jaxrf.geometry.axis_map import union
from jaxrf.geometry.continuing import refit
from jaxrf.geometry.field import Field
from jaxrf.geometry.relations import Relation, Shape, nothing, squeezed


@dataclass(frozen=True, eq=False)
class Elements(Relation):
    """Element by element: result element e is the sum of the operand's elements `index[..., e]` (flat; -1: none).

    For gathers and scatters by known indices that are not a product of axes.
    """

    in_shape: Shape
    out_shape: Shape
    index: np.ndarray

    def push(self, field):
        if self.empty:
            return nothing(field.extent, self.out_shape)
        flat_lo, flat_hi = (np.broadcast_to(a, self.in_shape).ravel() for a in (field.lo, field.hi))
        index = self.index.reshape(-1, math.prod(self.out_shape))
        lo, hi = union(flat_lo, flat_hi, np.maximum(index, 0), index >= 0, 0)
        lo, hi = squeezed(lo.reshape(self.out_shape), hi.reshape(self.out_shape))
        return refit(Field(field.extent, lo, hi, None, None, field.global_cause), self.out_shape)

    def pull(self, box):
        units = len(box[0][0]) if box else 1
        zero = np.zeros(units, np.int64)
        return [(zero, zero + size) for size in self.in_shape]
