"""What every command does with arguments that do not fit."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from jaxrf.cli import main


def assert_explained(arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The status is 2, a sentence that `message` matches stands on stderr, and nothing on stdout."""
    assert main([*arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(message, captured.err)
