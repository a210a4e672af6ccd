"""A result's numbers in physical units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxrf.geometry.scale import Physical, Scale


@dataclass(frozen=True, eq=False)
class PhysicalResult:
    """The numbers of a result in the unit of a scale. Position 0 lies at 0.

    `result.by_distance().physical` has distances.
    """

    result: Any
    scale: Scale

    def __repr__(self) -> str:
        return f"PhysicalResult({self.theoretical}, positions of {self.scale})"

    @property
    def theoretical(self) -> Physical:
        """As `result.theoretical`: size, stride, padding, halo and latency of the layer."""
        return self.result.theoretical.physical

    @property
    def stride(self) -> tuple[float | None, ...]:
        """The stride of the layer, per axis."""
        return self.theoretical.stride

    @property
    def center(self) -> Float[np.ndarray, "unit d"]:
        """As `result.center`."""
        return self.result.center * self.scale.spacing

    @property
    def box(self) -> Float[np.ndarray, "unit d 2"]:
        """As `result.box`."""
        return self.result.box * np.array(self.scale.spacing)[:, None]

    @property
    def sigma(self) -> Float[np.ndarray, "unit d"]:
        """The measure "sigma", per axis."""
        return self.result.measure("sigma") * self.scale.spacing

    def size(self, definition: str = "luo2016", **options: Any) -> Float[np.ndarray, "..."]:
        """As `result.size`: (unit, d) where it has one number per axis.

        A single one, the root of an area, becomes the root of the area in the unit.

        Raises:
            UnknownNameError: there is no such definition.
        """
        found = self.result.size(definition, **options)
        spacing = np.array(self.scale.spacing)
        return found * (spacing if found.ndim == 2 else np.exp(np.log(spacing).mean()))
