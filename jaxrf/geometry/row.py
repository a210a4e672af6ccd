"""One layer of a table: its field in numbers, as text, and as JSON-able values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxrf.geometry.encode import decoded, encoded
from jaxrf.geometry.layer_field import LayerField
from jaxrf.geometry.render import html, line


@dataclass(frozen=True, eq=False, repr=False)
class Row(LayerField):
    """The theoretical receptive field of one layer: a row of a table.

    Example:
        >>> import numpy as np
        >>> from jaxrf.geometry.field import Continuation, Field
        >>> lo, hi = np.array([0, 1, 3]), np.array([2, 4, 5])           # kernel 3, stride 2, padding 1 on 5 positions
        >>> endless = Continuation(axis=0, period=1, step=2, lo=np.array([-1]), hi=np.array([2]))
        >>> row = Row("conv", "Conv", (3, 8), (3,), (Field(5, lo, hi, endless),))
        >>> row.size, row.stride, row.padding
        ((3,), (2,), (1,))
        >>> row.box(0), row.box(0, clip=True)
        (((-1, 2),), ((0, 2),))
    """

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON-able values: its summary, and the fields without loss."""
        return encoded(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """The row of which `values` is the `to_dict()`.

        Raises:
            InputError: an entry is missing or of the wrong kind.
        """
        return cls(**decoded(values))

    def __repr__(self) -> str:
        return line(self)

    def _repr_html_(self) -> str:
        return html([self], "")
