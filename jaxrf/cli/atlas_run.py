"""`jaxrf atlas-run`: make the atlas anew, or what is left of it."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxrf.cli.options import Command, commands, option
from jaxrf.errors import InputError

if TYPE_CHECKING:
    from jaxrf.atlases.run import Step

FAILED = 1


@commands.register("atlas-run")
@dataclass(frozen=True, kw_only=True)
class AtlasRun(Command):
    """Run the atlas, or what is left of it.

    It maps the effective field of the last layer of every stage of the zoo's networks:
    noise before photos, the cheaper networks before the dearer, each row to 1 % of sigma, or to as many samples as a share of work pays for, 4096 at most.
    What fails is recorded with its reason, and the run goes on. The same command goes on with what is left.
    The exit status is 0 when all of it is there, 1 when some failed, 75 after SIGTERM and 130 after Ctrl-C.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf atlas-run --out runs/atlas
  jaxrf atlas-run --out runs/atlas --network resnet18 --network vgg16 --size usual --images noise"""

    out: str | None = option("a folder, or gs://, s3://", metavar="PLACE")
    network: tuple[str, ...] = option("one of the zoo; may be repeated (default: all)", metavar="NAME", repeat=True)
    size: tuple[str, ...] = option("usual or half; may be repeated (default: both)", metavar="SIZE", repeat=True)
    images: tuple[str, ...] = option("noise or photos; may be repeated (default: both)", metavar="KIND", repeat=True)
    last: bool = option("only the last stage of each network", default=False)
    grace: float = option(
        "seconds that a chunk may still take after SIGTERM or Ctrl-C", default=20.0, parse=float, metavar="SECONDS"
    )

    def run(self) -> int:
        from jaxrf.atlases.protocol import KINDS, SIZES, jobs
        from jaxrf.cli.stopping import Stopping

        if self.out is None:
            raise InputError("The atlas needs a place to write to. Add --out FOLDER.")
        chosen = jobs(self.network, self.size or SIZES, self.images or KINDS)
        failed = 0
        with Stopping(self.grace) as stopping:  # entered before JAX is loaded
            from jaxrf.atlases.run import run

            command = [shlex.join(sys.argv)]
            for step in run(self.out, chosen, last=self.last, stop=stopping.asked, command=command):
                failed += step.state == "failed"
                print(json.dumps(asdict(step)) if self.json else line(step), flush=True)
        return stopping.code or (FAILED if failed else 0)


def line(step: Step) -> str:
    """One stage in words."""
    where = " ".join(filter(None, (step.job.network, step.layer, step.job.input, step.job.images)))
    return f"{where}: {step.state}, {step.computed} chunks, {step.seconds:.0f} s{step.reason and f': {step.reason}'}"
