"""Every option of `jaxrf.erf`, as one value: read by `prepare`, `plan`, `check`, the command line and sweeps as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from jaxrf.base.compiler import PLATFORMS
from jaxrf.base.typing import Device, Units
from jaxrf.errors import InputError, unknown
from jaxrf.planning.kinds import check_kinds
from jaxrf.protocols import protocols
from jaxrf.statistics.averages import check_average
from jaxrf.statistics.until import as_until

if TYPE_CHECKING:
    from jaxrf.engine.units import Grid
    from jaxrf.init import Initializer
    from jaxrf.statistics import Until

OF_A_PROTOCOL = ("units", "channels", "score", "average")
OF_THE_CALL = ("method", "apply_kwargs", "args", "spatial_axes")
OF_A_RUN = ("seeds", "until", "certify", "input_shape", "progress")
"""No program depends on these."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is mapped, how the model is called, and how it is computed; each field is described at `jaxrf.erf`."""

    units: Units | Grid | None = None
    layer: str | Sequence[str] | None = None
    wrt: str | None = None
    output: str | None = None
    channels: str | int | None = None
    score: str | None = None
    average: str | None = None
    pool_units: bool = False
    treat_as_constant: Sequence[str] = ()
    estimator: str = "sampled"
    protocol: str | None = None

    method: str | Callable[..., Any] | None = None
    apply_kwargs: Mapping[str, Any] | None = None
    args: tuple[Any, ...] | None = None
    spatial_axes: tuple[int, ...] | None = None
    init: Mapping[str, Initializer | str] | None = None

    seeds: int | Sequence[int] | None = None
    until: float | Until | None = None
    input_shape: Sequence[int] | None = None
    certify: bool = True
    progress: Callable[[int, int | None], None] | None = None

    crop: bool = True
    memory: int | float | str | None = None
    devices: Sequence[Device] | None = None
    precision: str = "highest"
    platform: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """The options of keywords.

        Raises:
            UnknownNameError: there is no such option.
        """
        known = [f.name for f in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown("option", name, known)
        return cls(**given)

    def settled(self) -> Settled:
        """Fill in what the protocol fixes, the defaults of what nobody spoke of, and `until` as a rule.

        Raises:
            InputError: options of another kind than they take, or that contradict the protocol, or each other.
            UnknownNameError: no such protocol or average.
        """
        check_kinds(vars(self))
        said = {name: value for name in OF_A_PROTOCOL if (value := getattr(self, name)) is not None}
        fixed = protocols[self.protocol].settings(said) if self.protocol is not None else {}
        others = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in OF_A_PROTOCOL}
        settled = Settled(**{**others, **fixed, **said, "until": as_until(self.until)})
        check_average(settled.average)
        if self.platform is not None and self.platform not in PLATFORMS:
            raise unknown("platform", self.platform, PLATFORMS)
        return settled

    @property
    def call(self) -> dict[str, Any]:
        """How the model is called, as `jaxrf.adapters.adapt` takes it."""
        return {name: getattr(self, name) for name in OF_THE_CALL}

    @property
    def layers(self) -> list[str | None]:
        """The layers to be mapped; [None] for the output.

        Raises:
            InputError: a list without names, or with one of them twice.
        """
        if self.layer is None or isinstance(self.layer, str):
            return [self.layer]
        found = list(self.layer)
        if not found or len(set(found)) < len(found) or not all(isinstance(name, str) for name in found):
            raise InputError(f"layer={self.layer!r} is not a list of different names. Give at least one, each once.")
        return [*found]

    def check_of_a_field(self) -> None:
        """Raise for what belongs to a run, or chooses devices, when a field is prepared.

        Raises:
            InputError: such an option was given.
        """
        for name in (*OF_A_RUN, "devices"):
            if getattr(self, name) is not getattr(type(self), name):
                raise InputError(
                    f"{name}= belongs to a run, and a field is one pure function. Leave it out, or use jaxrf.erf."
                )


@dataclass(frozen=True, kw_only=True)
class Settled(Options):
    """Options of which none is left open; the defaults are what holds where neither the caller nor a protocol spoke."""

    units: Units | Grid = "center"
    channels: str | int = "probe"
    score: str = "square"
    average: str = "weighted"
    until: Until | None = None

    def of_a_field(self) -> Settled:
        """Without what belongs to a run."""
        return replace(self, **{name: getattr(Options, name) for name in OF_A_RUN})
