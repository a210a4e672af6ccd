"""`jaxrf tune`: time the ways to compute each convolution of a model on this machine, and save the quickest."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jaxrf.cli import values
from jaxrf.cli.models import ModelOptions
from jaxrf.cli.options import Command, commands, option, positional
from jaxrf.errors import InputError

if TYPE_CHECKING:
    from jaxrf.lowering import Problem

TYPICAL = "typical"


@commands.register("tune")
@dataclass(frozen=True, kw_only=True)
class Tune(ModelOptions, Command):
    """Time the ways to compute convolutions here.

    Maps the model's units once, to see which convolutions that takes, and times every way to compute each of them.
    Saves the quickest; jaxrf uses them where the environment variable JAXRF_TUNING names the file.
    Without it, a built-in table decides.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf tune typical
  jaxrf tune zoo:convnext_tiny --units grid:4x4 --out tuning.json
  JAXRF_TUNING=tuning.json jaxrf erf zoo:convnext_tiny photo.jpg --units grid:4x4"""

    model: str = positional(
        "module:attribute, file.py:attribute or zoo:name; or typical, for layers of well-known networks",
        metavar="MODEL",
    )
    units: Any = option(
        "center, all, grid:8x8, or positions as 3,3;5,5", default="center", parse=values.units, metavar="UNITS"
    )
    layer: str | None = option("the layer whose units are mapped (default: the output)", metavar="NAME")
    repeats: int = option("how often each way is timed", default=5, parse=values.count, metavar="N")
    out: str | None = option("the file to write (default: in the user's cache folder)", metavar="FILE")

    def run(self) -> int:
        import jax

        from jaxrf.lowering.choice import choose
        from jaxrf.lowering.tuned import write_choices
        from jaxrf.lowering.tuning import measure

        problems = self._problems()
        seconds = {}
        for key, problem in problems.items():
            seconds[key] = measure(problem, self.repeats)
            if not self.json:
                print("\n".join(_lines(key, seconds[key], choose(problem))), flush=True)
        platform, device = jax.default_backend(), jax.devices()[0].device_kind
        path = Path(self.out) if self.out is not None else cache_file(platform, os.environ)
        write_choices(path, platform, device, seconds)
        if self.json:
            print(json.dumps({"file": str(path), "seconds": seconds}, indent=2))
        else:
            print(f"wrote {path}\nuse it with JAXRF_TUNING={path}")
        return 0

    def _problems(self) -> Mapping[str, Problem]:
        """The convolutions to time, by key."""
        if self.model == TYPICAL:
            from jaxrf.lowering.tuning import typical

            return typical()
        import jaxrf
        from jaxrf.lowering.choice import recording_problems

        loaded, input_shape = self.load()
        units = jaxrf.grid(*self.units.counts) if isinstance(self.units, values.GridSpec) else self.units
        with recording_problems() as found:
            jaxrf.erf(
                loaded.model,
                None,
                jaxrf.noise(1),
                input_shape=input_shape,
                units=units,
                layer=self.layer,
                **self.call_arguments(),
            )
        if not found:
            raise InputError(f"{self.model} has no convolutions to time. Name a model that has, or say typical.")
        return found


def cache_file(platform: str, environment: Mapping[str, str]) -> Path:
    """Where the choices for `platform` are kept for this user.

    >>> str(cache_file("cpu", {"XDG_CACHE_HOME": "/cache"}))
    '/cache/jaxrf/tuning-cpu.json'
    """
    base = Path(environment["XDG_CACHE_HOME"]) if environment.get("XDG_CACHE_HOME") else Path.home() / ".cache"
    return base / "jaxrf" / f"tuning-{platform}.json"


def _lines(key: str, times: Mapping[str, float], chosen: str) -> list[str]:
    """One problem's times, the quickest first, with the one marked that is taken without the file."""
    lines = [key]
    for name, time in sorted(times.items(), key=lambda item: item[1]):
        ratio = times["plain"] / time
        lines.append(f"  {time * 1e3:9.3f} ms  {ratio:6.2f}x  {name}{' (today)' if name == chosen else ''}")
    return lines
