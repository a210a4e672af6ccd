"""What a test of a sweep may ask for, and to know."""

from __future__ import annotations

import pytest

from jaxrf.sweeps import job


@pytest.fixture
def singly(monkeypatch):
    """A job, and so a block, for each chunk, which the clock would put into one."""
    monkeypatch.setattr(job, "SECONDS", 0)


@pytest.fixture
def counting(monkeypatch):
    """The ids of the tasks that were opened, which is where models are traced."""
    opened, whole = [], job.open_task
    monkeypatch.setattr(job, "open_task", lambda task, *a, **k: opened.append(task.id) or whole(task, *a, **k))
    return opened
