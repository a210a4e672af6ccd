"""What a test of a sweep may ask for, and to know."""

from __future__ import annotations

import pytest

from jaxrf.sweep import run as runner
from jaxrf.sweep import worker


@pytest.fixture
def singly(monkeypatch):
    """A block for each chunk, which the clock would put into one."""
    monkeypatch.setattr(worker, "SECONDS", 0)


@pytest.fixture
def counting(monkeypatch):
    """The ids of the tasks that were opened, which is where models are traced."""
    opened, whole = [], runner.open_task
    monkeypatch.setattr(runner, "open_task", lambda task, *a, **k: opened.append(task.id) or whole(task, *a, **k))
    return opened
