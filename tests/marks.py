"""Marks for tests that loop over a registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_slow(names: Iterable[str], often: Iterable[str], mark: pytest.MarkDecorator = pytest.mark.slow) -> list[Any]:
    """All names as parameters of a test, of which those that are not among `often` are slow tests, or have another mark."""
    often = set(often)
    return [name if name in often else pytest.param(name, marks=mark) for name in names]
