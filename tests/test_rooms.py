"""The house as its pages describe it: each room says its job, every place on the walk is there, nothing is too long."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
ROOT = PROJECT / "jaxrf"
ROOMS = sorted(file.parent for file in ROOT.glob("*/__init__.py"))
FILES = sorted([*ROOT.rglob("*.py"), *(PROJECT / "benchmarks").glob("*.py"), *(PROJECT / "docs").glob("*.py")])
PAGE = (PROJECT / "docs" / "architecture.md").read_text()
LONGEST_FILE, LONGEST_FUNCTION = 400, 40


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_it_is(room):
    """Its job, what comes in and goes out, what holds everywhere, and how one more of its kind is added."""
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    parts = ("Comes in:", "Goes out:", r"Invariants?\b", "One more|To add one")
    assert [part for part in parts if not re.search(part, said)] == []
    for name in re.findall(r"`([\w/]+\.(?:py|md|html|css|js))`", said):
        assert [place for place in (room, ROOT, PROJECT) if (place / name).exists()], name


def steps() -> Iterator[tuple[str, list[str]]]:
    """The steps of the walk from a call to a figure: title, and the places that are named."""
    for title, text in re.findall(r"^\d+\. \*\*(.*?)\*\* (.*)$", PAGE, re.MULTILINE):
        yield title, re.findall(r"`([\w/.]+(?:\.py|/))`", text)


def test_the_walk_has_all_of_its_places():
    """Each step names a folder and a file; a file without its folder is in one that the step has named before."""
    assert len(list(steps())) == 10
    for title, places in steps():
        folders = [ROOT]
        for place in places:
            found = next((folder / place for folder in folders if (folder / place).exists()), None)
            assert found is not None, f"{title} {place}"
            folders.insert(0, found if found.is_dir() else found.parent)
        assert any(place.endswith(".py") for place in places), title


def test_every_place_on_the_page_is_there():
    """Also outside of the walk: pictures, tables, links."""
    named = set(re.findall(r"`([\w/]+/(?:\w+\.py)?)`", PAGE))
    assert len(named) > len(ROOMS)
    assert [place for place in sorted(named) if not ((ROOT / place).exists() or (PROJECT / place).exists())] == []


def test_nothing_is_too_long():
    """Files have at most 400 lines, bodies of functions at most 40: past that a part wants a name."""
    long = []
    for file in FILES:
        text = file.read_text()
        if len(text.splitlines()) > LONGEST_FILE:
            long.append(str(file))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0].lineno
                if (node.end_lineno or first) - first + 1 > LONGEST_FUNCTION:
                    long.append(f"{file}: {node.name}")
    assert long == []
