"""The page of operations in the docs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_up_to_date():
    """What is committed is what the rules and their cases say now; `python docs/generate_primitives.py` writes it."""
    spec = importlib.util.spec_from_file_location("generate_primitives", DOCS / "generate_primitives.py")
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert (DOCS / "primitives.md").read_text() == generator.page()
