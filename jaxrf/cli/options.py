"""Commands as dataclasses: their fields are their options, and argparse is made from them.

A command registers a dataclass; a field made with `option` becomes a flag, one made with `positional` an argument.
Nothing here knows what a command does, and nothing here imports JAX.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxrf.base.registry import Registry
from jaxrf.errors import InputError

commands: Registry[type[Command]] = Registry("command")


def option(
    help: str,
    *,
    default: Any = None,
    parse: Callable[[str], Any] = str,
    metavar: str | None = None,
    choices: Sequence[str] | None = None,
    repeat: bool = False,
) -> Any:
    """A field that is a flag: `--field-name VALUE`; a bare `--field-name` where the default is False.

    Args:
        help: what the flag does, in a few words.
        default: the value when the flag is absent; False makes a switch.
        parse: makes the value from the text; an `InputError` from it is shown to the user.
        metavar: what `--help` calls the value.
        choices: the values allowed.
        repeat: the flag may come several times, and the field is the tuple of its values.
    """
    settings = {"help": help, "parse": parse, "metavar": metavar, "choices": choices, "repeat": repeat}
    return dataclasses.field(default=() if repeat else default, metadata=settings)


def positional(help: str, *, metavar: str, many: bool = False) -> Any:
    """A field that is an argument without a flag; with `many`, the tuple of all that follow."""
    settings = {"help": help, "metavar": metavar, "positional": True, "many": many}
    return dataclasses.field(default=() if many else dataclasses.MISSING, metadata=settings)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of the program: parsed options, and a `run` that prints and returns the exit status.

    Subclasses are frozen dataclasses, registered in `commands`.
    Their docstring is the command's help: its first line is shown in the list of commands.
    """

    EXAMPLES: ClassVar[str] = ""

    json: bool = option("print JSON instead of text", default=False)
    debug: bool = option("show the traceback of an error", default=False)

    def run(self) -> int:
        """Do the work; 0 when it succeeded."""
        raise NotImplementedError


def add_command(parsers: Any, name: str, command: type[Command]) -> None:
    """Enter `command` into the sub-parsers of the program."""
    text = inspect.cleandoc(command.__doc__ or "")
    parser = parsers.add_parser(
        name,
        help=text.partition("\n")[0],
        description=text,
        epilog=command.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
    # The switches of every command come last in its help.
    fields = sorted(dataclasses.fields(command), key=lambda field: field.name in ("json", "debug"))
    for field in fields:
        _add_field(parser, field)


def _add_field(parser: argparse.ArgumentParser, field: dataclasses.Field) -> None:
    settings = field.metadata
    if settings.get("positional"):
        arity = "*" if settings["many"] else None
        parser.add_argument(field.name, help=settings["help"], metavar=settings["metavar"], nargs=arity)
        return
    flag = "--" + field.name.replace("_", "-")
    if field.default is False:
        parser.add_argument(flag, help=settings["help"], action="store_true")
        return
    parser.add_argument(
        flag,
        help=settings["help"],
        default=None if settings["repeat"] else field.default,
        type=_shown(settings["parse"]),
        metavar=settings["metavar"] if settings["choices"] is None else None,
        choices=settings["choices"],
        action="append" if settings["repeat"] else "store",
    )


def _shown(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """`parse` with its `InputError` in the form whose message argparse shows."""

    def parse_or_explain(text: str) -> Any:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    parse_or_explain.__name__ = getattr(parse, "__name__", "value")
    return parse_or_explain


def build(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> Command:
    """The command that `argv` asks for; argparse prints what is wrong and exits where there is none."""
    parsed, rest = parser.parse_known_args(argv)
    fields = dataclasses.fields(parsed.command)
    many = [field.name for field in fields if field.metadata.get("many")]
    # argparse gives a list of arguments only those before the first flag; those after it are left over.
    if rest and (not many or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    chosen = {}
    for field in fields:
        value = getattr(parsed, field.name)
        listed = field.metadata.get("repeat") or field.metadata.get("many")
        chosen[field.name] = tuple(value or ()) if listed else value
        if field.name in many:
            chosen[field.name] += tuple(rest)
    return parsed.command(**chosen)
