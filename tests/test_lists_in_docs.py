"""Pages that are written from registries are up to date."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
GENERATORS = sorted(DOCS.glob("generate_*.py"))


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda file: file.stem)
def test_the_page_is_what_its_generator_writes(generator):
    """Running the generator again changes nothing; if this fails, run it and commit the page."""
    spec = importlib.util.spec_from_file_location(generator.stem, generator)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), f"python docs/{generator.name}"


def test_every_measure_and_protocol_has_its_place():
    """No registered name is left out of its page."""
    from jaxrf.protocols import protocols
    from jaxrf.statistics.measures import measures

    for page, names in (("measures.md", measures), ("protocols.md", protocols)):
        text = (DOCS / page).read_text()
        assert [name for name in names if f"`{name}`\n" not in text] == []
