"""What holds for every test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_field_from_before_a_patch(request):
    """A test that replaces a part of jaxrf meets no program that was prepared without it, and leaves none behind."""
    if "monkeypatch" not in request.fixturenames:
        yield
        return
    import jaxrf

    jaxrf.clear_cache()
    yield
    jaxrf.clear_cache()
