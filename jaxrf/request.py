"""What is to be mapped, in the user's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxrf.typing import Device, Units

if TYPE_CHECKING:
    from jaxrf.engine.units import Grid
    from jaxrf.statistics import Until


class Unsaid(str):
    """A default of an option: the same text, and known apart from one that the caller wrote."""


@dataclass(frozen=True)
class Request:
    """What is to be mapped; the options of `jaxrf.erf` that do not say how the model is called.

    Attributes:
        said: options that the caller gave, so that no protocol replaces them, even where they equal a default.
    """

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
    said: frozenset[str] = frozenset()

    def __post_init__(self):
        for name in ("units", "channels", "score", "average"):
            if isinstance(value := getattr(self, name), Unsaid):
                object.__setattr__(self, name, str(value))
