"""`jaxrf sweep`: run a sweep from a TOML file, or what is left of it."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from jaxrf.cli import REQUEUE, values
from jaxrf.cli.options import Command, commands, option, positional
from jaxrf.cli.preview import clock
from jaxrf.errors import EngineError, InputError

if TYPE_CHECKING:
    from jaxrf.sweeps.progress import Progress
    from jaxrf.tasks.specification import Specification

FAILED = 1
EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""


def change(text: str) -> tuple[str, Any]:
    """A dotted key and a value: a Python literal, or a word.

    >>> change("model.depth=[2, 3]"), change("layer=conv_1")
    (('model.depth', [2, 3]), ('layer', 'conv_1'))
    """
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip().isidentifier() for part in key.split(".")):
        raise InputError(f"{text!r} is not KEY=VALUE. Write for example model.depth=40, or seeds=0:256.")
    return key.strip(), values.literal(value.strip())


def shard(text: str) -> tuple[int, int]:
    """See `jaxrf.cli.shards.shard`."""
    from jaxrf.cli.shards import shard

    return shard(text)


@commands.register("sweep")
@dataclass(frozen=True, kw_only=True)
class Sweep(Command):
    """Run a sweep of effective fields.

    The TOML file names models, layers, inputs and seeds; every list in it is an axis, and the sweep is their product.
    The same command goes on with what is left, and adds seeds or values of axes that are new.
    The exit status is 0 when this process has done its share, 1 when tasks failed, 75 after SIGTERM or when the workers
    are gone, and 130 after Ctrl-C. After these two the same command goes on.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf sweep depths.toml --print
  jaxrf sweep depths.toml --out runs/depths
  jaxrf sweep depths.toml --out runs/depths --set seeds=0:512
  jaxrf sweep depths.toml --out runs/depths --on processes:4
  jaxrf sweep depths.toml --out runs/depths --on dask://scheduler:8786
  jaxrf sweep depths.toml --out gs://bucket/depths --shard 3/16"""

    specification: str = positional("the TOML file", metavar="SPEC")
    out: str | None = option("a folder, or gs://, s3://; all processes write to the same one", metavar="PLACE")
    set: tuple[tuple[str, Any], ...] = option(
        "change a key of the file, as model.depth=[5, 10]; may be repeated",
        parse=change,
        metavar="KEY=VALUE",
        repeat=True,
    )
    print: bool = option("show the tasks, their work, memory and time, and stop", default=False)
    on: str | None = option(
        "who computes: processes:4, dask://host:8786, or mpi; without it, the devices of this process", metavar="ENGINE"
    )
    shard: tuple[int, int] | None = option("this process's share, as 0/4 to 3/4", parse=shard, metavar="I/N")
    strict: bool = option("stop a task at a photo that cannot be read, instead of leaving it out", default=False)
    mix_devices: bool = option("let another kind of device go on with a task", default=False)
    memory: str | None = option(
        "bytes, or words such as 15GB, that all who compute on one machine may take; half of what is free without it",
        metavar="BYTES",
    )
    grace: float = option(
        "seconds that a chunk may still take after SIGTERM or Ctrl-C", default=20.0, parse=float, metavar="SECONDS"
    )
    quiet: bool = option("show no progress", default=False)

    def run(self) -> int:
        from jaxrf.cli.stopping import Stopping
        from jaxrf.tasks import read

        specification = read(self.specification, self.set)
        if self.print:
            return self._preview(specification)
        if self.out is None:
            raise InputError("The sweep needs a place to write to. Add --out FOLDER, or look at it first with --print.")
        with Stopping(self.grace) as stopping:  # entered before JAX is loaded
            try:
                last = self._run(specification, *self._share(), stopping.asked)
            except EngineError as error:
                print(f"jaxrf: {error}", file=sys.stderr, flush=True)
                return stopping.code or REQUEUE
        if last is None:  # of a process that only served another one
            return 0
        if self.json:
            print(json.dumps({**_facts(last), "out": self.out}, indent=2))
        elif not self.quiet:
            print(_ending(last, self.out), flush=True)
        if last.state in ("stopped", "waiting") and stopping.code is not None:
            return stopping.code
        return FAILED if last.state == "failed" else 0

    def _share(self) -> tuple[tuple[int, int], str]:
        """This process's share, and who named it; its own GPU is chosen, where it has one."""
        from jaxrf.cli import shards

        if self.shard is not None or self.on is not None:
            return self.shard or (0, 1), "--shard"
        if (gpu := shards.gpu(os.environ)) is not None:
            import jax

            jax.config.update("jax_cuda_visible_devices", str(gpu))
        return shards.find(os.environ)

    def _run(
        self, specification: Specification, shard: tuple[int, int], found: str, stop: Callable[[], bool]
    ) -> Progress | None:
        from jaxrf.sweeps.run import run

        last = None
        with _display(self.quiet or self.json) as display:
            if shard[1] > 1:
                display.note(f"process {shard[0]} of {shard[1]} ({found})")
            for last in run(
                specification, self.out or "", on=self.on, shard=shard, stop=stop, strict=self.strict,
                mix_devices=self.mix_devices, memory=self.memory, command=[shlex.join(sys.argv)],
            ):  # fmt: skip
                display.show(last)
        return last

    def _preview(self, specification: Specification) -> int:
        from jaxrf.cli import preview

        found = list(preview.preview(specification, self.memory))
        print(preview.as_json(specification, found) if self.json else preview.as_text(found))
        return FAILED if any(one.problem for one in found) else 0


class Display(Protocol):
    """Where progress is shown."""

    def show(self, progress: Progress) -> None:
        """Show how far it is."""

    def note(self, text: str) -> None:
        """Show a line."""


@contextmanager
def _display(quiet: bool) -> Iterator[Display]:
    """A bar on a terminal, lines elsewhere; failures are told in any case. All on stderr."""
    if quiet or not sys.stderr.isatty():
        yield _Lines(quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}")]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar)


class _Bar:
    def __init__(self, bar: Any):
        self._bar, self._task = bar, bar.add_task("starting", total=None, pace="")

    def show(self, progress: Progress) -> None:
        shown = {"description": _where(progress), "pace": _pace(progress).removeprefix(", ")}
        self._bar.update(self._task, completed=progress.done, total=progress.total, **shown)
        for message in progress.messages:
            self.note(message)

    def note(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)


class _Lines:
    def __init__(self, quiet: bool):
        self._quiet, self._began, self._next = quiet, time.monotonic(), 0.0

    def show(self, progress: Progress) -> None:
        for message in progress.messages:
            print(f"jaxrf: {message}", file=sys.stderr, flush=True)
        elapsed = time.monotonic() - self._began
        if progress.computed and elapsed >= self._next:
            self._next = elapsed + EVERY
            self.note(f"{progress.done} of {progress.total} chunks{_pace(progress)}: {_where(progress)}")

    def note(self, text: str) -> None:
        if not self._quiet:
            print(f"jaxrf: {text}", file=sys.stderr, flush=True)


def _facts(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in ("state", "done", "total", "computed", "failed")}


def _ending(progress: Progress, out: str) -> str:
    computed = f"{progress.computed} chunks computed"
    return {
        "done": f"done, {computed}: {out}",
        "waiting": f"this share is done, {computed}; chunks of other processes are missing yet: {out}",
        "stopped": f"stopped, {computed}; run the same command to go on: {out}",
        "failed": f"{progress.failed} tasks failed, {computed}; the tracebacks are in {out}/failures",
    }[progress.state]


def _pace(progress: Progress) -> str:
    """Chunks a second and the time left, once they are known."""
    if progress.rate is None:
        return ""
    return f", {progress.rate:.3g} a second, {clock((progress.total - progress.done) / progress.rate)} left"


def _where(progress: Progress) -> str:
    """The task in hand, and how sure it is by now."""
    return progress.task + ("" if progress.error is None else f", standard error {100 * progress.error:.2g} %")
