"""What is to be mapped, in the user's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxrf.typing import Device, Units

if TYPE_CHECKING:
    from jaxrf.engine.units import Grid
    from jaxrf.statistics import Until


@dataclass(frozen=True)
class Request:
    """What is to be mapped; the options of `jaxrf.erf` that do not say how the model is called."""

    units: Units | Grid = "center"
    layer: str | None = None
    wrt: str | None = None
    channels: str | int = "probe"
    score: str = "square"
    output: str | None = None
    pool_units: bool = False
    memory: int | float | str | None = None
    devices: Sequence[Device] | None = None
    crop: bool = True
    average: str = "weighted"
    until: float | Until | None = None
    treat_as_constant: Sequence[str] = ()
    certify: bool = True
    estimator: str = "sampled"
