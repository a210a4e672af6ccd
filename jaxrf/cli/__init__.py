"""The command line: `jaxrf COMMAND ...`.

Comes in: words. Goes out: text or JSON on stdout, what does not fit as a sentence on stderr, and a status.
Invariants: it alone prints and exits; commands import JAX when they run, never when they are listed, so that `--help` is
quick.
One more command is a module here that registers a dataclass, whose fields are its flags and whose `run` is what it does.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import signal
import sys
from collections.abc import Sequence

from jaxrf.cli.options import add_command, build, commands
from jaxrf.errors import JaxrfError, visible

REQUEUE = 75
"""Exit status of a run that was stopped and can go on: EX_TEMPFAIL of sysexits.h, which schedulers requeue."""
CLOSED_PIPE = 141
"""What a shell says of a program that SIGPIPE ended: 128 + 13."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program on `argv` (default: the process's arguments) and return its exit status.

    Returns:
        0 when the work was done, 2 when the arguments, a model or a file do not fit (the message is on stderr),
        130 when it was interrupted, 141 when nobody reads the output any more, as in `jaxrf trf MODEL | head`.
    """
    if argv is None and sys.argv[1:2] in (["sweep"], ["atlas-run"]):  # until it can stop in an orderly way, it need not
        signal.signal(signal.SIGTERM, lambda *_: os._exit(REQUEUE))
    try:
        status = _run(argv)
        sys.stdout.flush()  # here and not when Python ends, where a closed pipe would be a traceback
        return status
    except BrokenPipeError:
        # What is left in the buffer must go somewhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE


def _run(argv: Sequence[str] | None) -> int:
    try:
        command = build(_parser(), argv)
    except SystemExit as stop:  # argparse has printed the help, or what was wrong
        return int(stop.code or 0)
    try:
        return command.run()
    except JaxrfError as error:
        if command.debug:
            raise
        print("jaxrf: error:", "\n".join(map(visible, str(error).split("\n"))), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxrf: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxrf",
        description="Theoretical and effective receptive fields of JAX and Flax models.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="print the version and stop")
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    find_commands()
    for name, command in commands.items():
        add_command(parsers, name, command)
    return parser


def find_commands() -> None:
    """Import the modules of this package; those that are commands register themselves."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


class _Version(argparse.Action):
    """Print the version of the installed package; it is looked up only when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None):
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"jaxrf {version('jaxrf')}")
        parser.exit()
