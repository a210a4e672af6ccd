"""The parser made from dataclasses: flags, arguments, exit statuses, and how quick `--help` is."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from jaxrf.cli import _parser, find_commands, main
from jaxrf.cli.options import Command, build, commands, option
from jaxrf.cli.values import GridSpec
from jaxrf.errors import InputError, JaxrfError
from tests.cli.mistakes import assert_explained

find_commands()


def parse(text):
    return build(_parser(), text.split())


def test_a_command_gets_its_values():
    """Each flag's text becomes the value that its field's type says."""
    command = parse("erf zoo:x a.png --input 5x7x3 --units grid:2x3 --channels 4 --noise-seed 9 --json")
    assert (command.model, command.photos, command.input) == ("zoo:x", ("a.png",), (5, 7, 3))
    assert (command.units, command.channels, command.noise_seed) == (GridSpec((2, 3)), 4, 9)
    assert command.json
    assert not command.debug


def test_defaults_hold_where_flags_are_absent():
    """Repeated flags default to an empty tuple, switches to False; what a protocol may fix stays unsaid."""
    command = parse("erf zoo:x")
    assert (command.photos, command.model_option, command.overwrite, command.init) == ((), (), False, ())
    assert {command.units, command.channels, command.score, command.average, command.until} == {None}


def test_statistics_are_chosen_by_flags():
    """A stopping rule is an error or MEASURE=ERROR, an initializer PATTERN=NAME, several times."""
    assert parse("erf zoo:x --until 0.01").until == ("sigma", 0.01)
    command = parse("erf zoo:x --until total=0.02 --init */kernel=orthogonal --init a=b=random")
    assert command.until == ("total", 0.02)
    assert command.init == (("*/kernel", "orthogonal"), ("a=b", "random"))


def test_arguments_may_stand_before_and_after_flags():
    """Photos are collected in order wherever they stand."""
    assert parse("erf zoo:x a.png --seeds 2 b.png c.png").photos == ("a.png", "b.png", "c.png")


def test_repeated_flags_are_collected():
    """--model-option may come several times, with literals and words as values."""
    command = parse("trf zoo:x --model-option depth=5 --model-option activation=tanh")
    assert dict(command.model_option) == {"depth": 5, "activation": "tanh"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trf zoo:x --input 5xax3", "is not a shape"),
        ("trf zoo:x --input 5x0x3", "is not a shape"),
        ("trf zoo:x --layer a --unit 3;3", "is not a position"),
        ("erf zoo:x --units somewhere", "names no units"),
        ("erf zoo:x --units 3,3;4", "differ in their number of axes"),
        ("erf zoo:x --model-option depth", "is not NAME=VALUE"),
        ("erf zoo:x --seeds 0", "is not a count"),
        ("erf zoo:x --until soon", "'soon' is not a relative error. Write for example 0.01, or total=0.02"),
        ("erf zoo:x --init orthogonal", "'orthogonal' is not PATTERN=NAME. Write for example */kernel=orthogonal"),
        ("trf zoo:x --unknown maybe", "invalid choice"),
        ("trf zoo:x photo.png", "unrecognized arguments"),
        ("erf zoo:x a.png --speed 3", "unrecognized arguments: --speed"),
        ("trf", "the following arguments are required: MODEL"),
        ("draw", "invalid choice: 'draw'"),
        ("", "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_arguments_exit_with_2_and_say_why(text, message, capsys):
    """What does not parse is said on stderr, and the status is 2."""
    assert_explained(text.split(), re.escape(message), capsys)


@dataclass(frozen=True, kw_only=True)
class Fails(Command):
    """Fail."""

    how: str = option("the error", default="input")

    def run(self):
        raise {"input": InputError("too small. Use more."), "stop": KeyboardInterrupt(), "bug": ZeroDivisionError()}[
            self.how
        ]


@pytest.fixture
def failing(monkeypatch):
    monkeypatch.setitem(commands._things, "fails", Fails)


@pytest.mark.usefixtures("failing")
def test_errors_of_ours_are_one_line_on_stderr(capsys):
    """A JaxrfError is shown without a traceback, with status 2."""
    assert main(["fails"]) == 2
    assert capsys.readouterr().err == "jaxrf: error: too small. Use more.\n"


@pytest.mark.usefixtures("failing")
def test_debug_lets_the_error_through():
    """With --debug the exception itself arrives."""
    with pytest.raises(JaxrfError, match="too small"):
        main(["fails", "--debug"])


@pytest.mark.usefixtures("failing")
def test_bugs_keep_their_traceback():
    """An exception that is not ours is never turned into a message."""
    with pytest.raises(ZeroDivisionError):
        main(["fails", "--how", "bug"])


@pytest.mark.usefixtures("failing")
def test_interrupt_exits_with_130(capsys):
    """Ctrl-C ends with the status that shells expect."""
    assert main(["fails", "--how", "stop"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(commands))
def test_every_command_has_a_help_with_all_its_flags(name, capsys):
    """--help of each registered command exits with 0 and lists the common flags."""
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert {"--json", "--debug"} <= set(out.split())
    assert len(commands[name].__doc__.splitlines()[0]) < 60


def test_help_loads_no_jax():
    """`--help` lists the commands and imports neither jax nor numpy, so that it is quick."""
    run = subprocess.run([sys.executable, "-m", "jaxrf", "--help"], capture_output=True, text=True, check=True)
    assert {"trf", "erf", "doctor", "demo"} <= set(run.stdout.split())
    code = "import sys; from jaxrf.cli import main; main(['--help']); sys.exit(bool({'jax', 'numpy'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
