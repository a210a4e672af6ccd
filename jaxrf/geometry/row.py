"""One layer of a table: its field in numbers, as text, and as JSON-able values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxrf.errors import InputError
from jaxrf.geometry.encode import decoded, encoded
from jaxrf.geometry.layer_field import LayerField
from jaxrf.geometry.render import html, line
from jaxrf.geometry.scale import Physical, Scale


@dataclass(frozen=True, eq=False, repr=False)
class Row(LayerField):
    """The theoretical receptive field of one layer: a row of a table.

    Attributes:
        scale: how far apart positions of the input are; None where nobody said.

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

    scale: Scale | None = None

    @property
    def physical(self) -> Physical:
        """The row's numbers in physical units: size, stride, padding, centers, boxes, halo, latency.

        Raises:
            InputError: nobody said how far apart positions are.
        """
        return Physical(self, self.known_scale)

    @property
    def known_scale(self) -> Scale:
        """How far apart positions are.

        Raises:
            InputError: nobody said.
        """
        if self.scale is None:
            raise InputError(
                f"Layer {self.name!r} has no physical units. Say how far apart positions are, as in "
                'jaxrf.trf(model, shape, spacing=0.5, unit="µm") or rate=16_000; of a result, result.scaled(rate=16_000).'
            )
        return self.scale

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON-able values: its summary, and the fields without loss."""
        scale = {"spacing": list(self.scale.spacing), "unit": self.scale.unit} if self.scale else None
        return {**encoded(self), **({"scale": scale} if scale else {})}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """The row of which `values` is the `to_dict()`.

        Raises:
            InputError: an entry is missing or of the wrong kind.
        """
        scale = values.get("scale")
        return cls(**decoded(values), scale=scale and Scale(tuple(scale["spacing"]), scale["unit"]))

    def __repr__(self) -> str:
        return line(self)

    def _repr_html_(self) -> str:
        return html([self], "")
