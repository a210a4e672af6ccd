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

    With --platform tpu nothing is run: the compiler of a TPU (the extra tpu) says on any machine how many cycles it
    expects of each way.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf tune typical
  jaxrf tune zoo:convnext_tiny --units grid:4x4 --out tuning.json
  JAXRF_TUNING=tuning.json jaxrf erf zoo:convnext_tiny photo.jpg --units grid:4x4
  jaxrf tune zoo:resnet18 --platform tpu --chip v6e --out v6e.json"""

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

    precision: str = option(
        "of products, as maps will have it (default: highest)", default="highest",
        choices=("default", "high", "highest"),
    )  # fmt: skip
    platform: str | None = option(
        "tpu: ask the compiler of TPUs, without one (default: time on this machine)", metavar="NAME"
    )
    chip: str | None = option("the kind of TPU that is asked for: v5e, v6e or v5p (default: v5e)", metavar="NAME")

    def run(self) -> int:
        import jax

        from jaxrf.base.chips import device, without_hardware
        from jaxrf.lowering.choice import choose
        from jaxrf.lowering.tuned import write_choices
        from jaxrf.lowering.tuning import expect, measure

        ahead = self._ahead()
        if ahead is not None:
            without_hardware()
            device(ahead)  # what is missing is said before anything is traced
        problems, costs = self._problems(), {}
        for key, problem in problems.items():
            with jax.default_matmul_precision(self.precision):
                costs[key] = measure(problem, self.repeats) if ahead is None else expect(problem, ahead)
            if not self.json:
                unit = (1e3, "ms") if ahead is None else (1.0, "cycles")
                print("\n".join(_lines(key, costs[key], choose(problem, self.platform), *unit)), flush=True)
        platform = self.platform or jax.default_backend()
        kind = jax.devices()[0].device_kind if ahead is None else f"{ahead}, estimated by its compiler"
        path = Path(self.out) if self.out is not None else cache_file(platform, os.environ)
        unit = "seconds" if ahead is None else "cycles"
        write_choices(path, platform, kind, costs, unit)
        if self.json:
            print(json.dumps({"file": str(path), unit: costs}, indent=2))
        else:
            print(f"wrote {path}\nuse it with JAXRF_TUNING={path}")
        return 0

    def _ahead(self) -> str | None:
        """The kind of TPU whose compiler is asked; None where ways are timed here."""
        from jaxrf.base.chips import TOPOLOGIES
        from jaxrf.base.compiler import PLATFORMS
        from jaxrf.errors import unknown

        if self.platform is not None and self.platform not in PLATFORMS:
            raise unknown("platform", self.platform, PLATFORMS)
        if self.platform in ("cpu", "gpu"):
            raise InputError(
                f"The compiler of a {self.platform} expects no times. Leave out --platform, and run jaxrf tune on the "
                f"machine with the {self.platform}."
            )
        if self.platform is None:
            if self.chip is not None:
                raise InputError(f"--chip {self.chip} names a chip that is not here. Say --platform tpu too.")
            return None
        chip = self.chip or next(iter(TOPOLOGIES))
        if chip not in TOPOLOGIES:
            raise unknown("TPU", chip, TOPOLOGIES)
        return chip

    def _problems(self) -> Mapping[str, Problem]:
        """The convolutions to time, by key."""
        if self.model == TYPICAL:
            from jaxrf.lowering.tuning import typical

            return typical()
        import jax
        import jax.numpy as jnp

        import jaxrf
        from jaxrf.lowering.choice import recording_problems

        loaded, input_shape = self.load()
        units = jaxrf.grid(*self.units.counts) if isinstance(self.units, values.GridSpec) else self.units
        call = {"units": units, "layer": self.layer, **self.call_arguments()}
        with recording_problems() as found:
            if self.platform is None:
                jaxrf.erf(loaded.model, None, jaxrf.noise(1), input_shape=input_shape, **call)
            else:  # traced for that platform, and not run
                images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
                field = jaxrf.prepare(loaded.model, None, images, platform=self.platform, **call)
                jax.eval_shape(field, field.subject.abstract, images, jax.eval_shape(lambda: jax.random.key(0)))
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


def _lines(key: str, times: Mapping[str, float], chosen: str, scale: float, unit: str) -> list[str]:
    """One problem's times, the quickest first, with the one marked that is taken without the file."""
    lines = [key]
    for name, time in sorted(times.items(), key=lambda item: item[1]):
        ratio = times["plain"] / time
        lines.append(
            f"  {time * scale:9.{3 if scale > 1 else 0}f} {unit}  {ratio:6.2f}x  {name}{' (today)' if name == chosen else ''}"
        )
    return lines
