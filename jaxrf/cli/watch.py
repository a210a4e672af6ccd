"""`jaxrf watch`: one map for each checkpoint of a folder that a training job writes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from jaxrf.cli import values
from jaxrf.cli.models import ModelOptions
from jaxrf.cli.options import Command, commands, option, positional
from jaxrf.errors import InputError


@commands.register("watch")
@dataclass(frozen=True, kw_only=True)
class WatchCheckpoints(ModelOptions, Command):
    """Follow a folder of checkpoints, and map layers at each.

    Every checkpoint with a step in its name is mapped once, when it is whole. Started again with the same words it goes
    on. It ends when no checkpoint came for --timeout seconds, or when it is told to stop (status 75, or 130 for Ctrl-C).
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf watch runs/train/checkpoints --model zoo:resnet18 --layer layer2 --out runs/fields
  jaxrf watch checkpoints --model my_models.py:make_net --input 32x32x3 --layer c1 --layer c2 --timeout 3600 --out fields"""

    checkpoints: str = positional("the folder that the training job writes", metavar="CHECKPOINT_DIR")
    model: str = option("module:attribute, file.py:attribute or zoo:name", metavar="MODEL")
    layer: tuple[str, ...] = option("a layer to map; may be repeated", metavar="NAME", repeat=True)
    out: str | None = option("a folder for the record, read by jaxrf.history", metavar="DIR")
    photos: tuple[str, ...] = option("a PNG, JPEG or .npy file to map on; may be repeated", metavar="FILE", repeat=True)
    noise: int = option(
        "how many noise images to use where no photos are given", default=8, parse=values.count, metavar="N"
    )
    average: bool = option("take the running average of the parameters", default=False)
    timeout: float = option(
        "seconds to wait for a next checkpoint (default: 0)", default=0.0, parse=float, metavar="SECONDS"
    )

    def run(self) -> int:
        from jaxrf.cli.stopping import Stopping
        from jaxrf.watching.following import follow

        watch = self._watch()
        with Stopping(grace=60.0) as stopping:
            done, problems = [], []
            after = watch.last_step()
            for found in follow(
                Path(self.checkpoints), watch.field.subject.abstract, after=after, timeout=self.timeout,
                stop=stopping.asked, average=self.average,
            ):  # fmt: skip
                if found.variables is None:
                    problems.append(found.problem)
                    print(f"jaxrf: {found.problem}", file=sys.stderr)
                    continue
                watch(found.step, found.variables)
                watch.flush()
                done.append(found.step)
                if not self.json:
                    print(self._line(watch, found.step), flush=True)
            code = stopping.code or 0
        if not done and after < 0 and not code and not problems:
            raise InputError(
                f"No checkpoint with a step in its name came to {self.checkpoints} within {self.timeout:g} s"
                f"{'' if Path(self.checkpoints).is_dir() else ', which is not there'}. "
                "Give the folder above those of the steps, or wait longer with --timeout."
            )
        if self.json:
            print(json.dumps({"mapped": done, "problems": problems, "record": str(watch.out)}, indent=2))
        return code or (2 if problems and not done else 0)

    def _watch(self) -> Any:
        import jax

        import jaxrf
        from jaxrf.cli.erf import read_photos

        for name in ("model", "layer", "out"):
            if not getattr(self, name):
                raise InputError(f"--{name} is needed. See jaxrf watch --help.")
        if Path(self.checkpoints).exists() and not Path(self.checkpoints).is_dir():
            raise InputError(f"{self.checkpoints} is a file; a folder with checkpoints by step is needed.")
        loaded, shape = self.load()
        if self.photos:
            images = read_photos(self.photos, shape, loaded.preprocessing)
        else:
            images = jax.device_get(jax.random.normal(jax.random.key(0), (self.noise, *shape)))
        chosen = {name: value for name, value in self.call_arguments().items() if value is not None}
        how: dict[str, Any] = {"layer": list(self.layer), "out": self.out, "every": 1, "resume": True}
        return jaxrf.watch(loaded.model, None, images, **how, **chosen)

    def _line(self, watch: Any, step: int) -> str:
        parts = []
        for name in self.layer:
            numbers = watch.history().numbers(name)
            (sigma, error), (size, _) = numbers["sigma"], numbers["size"]
            parts.append(f"{name} sigma {sigma[-1, 0].mean():.3g} ± {error[-1, 0].mean():.1g}, size {size[-1, 0]:.3g}")
        return f"step {step}: {'; '.join(parts)}"
