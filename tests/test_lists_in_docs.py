"""Pages that are written from registries are up to date."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.cli import find_commands
from jaxrf.cli.options import commands

DOCS = Path(__file__).parent.parent / "docs"
GENERATORS = [
    pytest.param(file, marks=pytest.mark.slow if file.stem == "generate_zoo" else ())  # which traces all of it
    for file in sorted(DOCS.glob("generate_*.py"))
]


def loaded(file: Path) -> Any:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda file: file.stem)
def test_the_page_is_what_its_generator_writes(generator):
    """Running the generator again changes nothing; if this fails, run it and commit the page."""
    module = loaded(generator)
    assert module.PAGE.read_text() == module.page(), f"python docs/{generator.name}"


def test_every_measure_protocol_and_network_has_its_place():
    """No registered name is left out of its page."""
    from jaxrf.protocols import protocols
    from jaxrf.statistics.measures import measures

    for page, names in (("measures.md", measures), ("protocols.md", protocols), ("zoo.md", zoo.models)):
        text = (DOCS / page).read_text()
        assert [name for name in names if f"`{name}`" not in text] == []


def test_every_public_name_is_in_the_reference():
    """What `jaxrf` offers has a directive on a page of the reference, and a place in its list."""
    pages = {file.stem: file.read_text() for file in (DOCS / "reference").glob("*.md")}
    listed, described = pages.pop("index"), "\n".join(pages.values())
    assert [name for name in jaxrf.__all__ if f"`{name}`" not in re.sub("`, `", "` `", listed)] == []
    assert [name for name in jaxrf.__all__ if not re.search(rf":: jaxrf\.{name}$", described, re.MULTILINE)] == []


def test_every_network_has_a_picture_of_it():
    """One for each network, drawn of what the stored table says; `python docs/images/draw_zoo.py` draws them anew."""
    draw = loaded(DOCS / "images" / "draw_zoo.py")
    assert {file.stem for file in draw.FOLDER.glob("*.svg")} == set(zoo.models)
    assert [name for name in zoo.models if draw.stale(name)] == []


@pytest.mark.parametrize("name", ["conv_stack", "tcn", "unet", pytest.param("swin_tiny", marks=pytest.mark.slow)])
def test_a_picture_of_a_network_is_what_its_command_draws(name):
    """Letter by letter."""
    draw = loaded(DOCS / "images" / "draw_zoo.py")
    assert (draw.FOLDER / f"{name}.svg").read_text() == draw.picture(name)


def test_every_command_is_on_its_page():
    """Each command of the program stands in a line of the page of the command line."""
    find_commands()
    text = (DOCS / "command-line.md").read_text()
    assert [name for name in commands if not re.search(rf"jaxrf {name}\b", text)] == []


def test_every_page_is_in_the_table_of_contents():
    """Each page of the documentation is reached from the start page, through toctrees alone."""

    def below(page: Path) -> set[Path]:
        found = {page}
        for tree in re.findall(r"^```{toctree}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            for file in [file for name in names for file in page.parent.glob(f"{name}.md")]:
                found |= below(file)
        return found

    assert set(DOCS.rglob("*.md")) - below(DOCS / "index.md") == set()
