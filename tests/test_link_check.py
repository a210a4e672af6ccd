"""The check of the built documentation finds what is broken, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

FILE = Path(__file__).parent.parent / "docs" / "check_links.py"


def problems(root: Path) -> list[str]:
    spec = importlib.util.spec_from_file_location("check_links", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.problems(root))


def test_missing_pages_anchors_and_what_is_fetched_are_named(tmp_path):
    """A link to a page, to an anchor of another page and of its own; pictures in the page, and from elsewhere."""
    (tmp_path / "a.html").write_text(
        '<a href="b.html">b</a> <a class="x" href="sub/c.html#there">c</a> <a href="#own" id="own">own</a>'
        '<a href="https://example.org/x">out</a> <img src="data:image/png;base64,AA"> <a href="sub/c.html#not">no</a>'
        '<script src="https://cdn.example.org/x.js"></script>'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.html").write_text('<h1 id="there">c</h1><a href="../a.html#own">a</a>')
    assert problems(tmp_path) == [
        "a.html: b.html is not there",
        "a.html: sub/c.html#not has no such anchor",
        "a.html fetches https://cdn.example.org/x.js",
    ]
