"""The code of README and docs runs, and prints what stands below it."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxrf.cli import find_commands, main
from jaxrf.cli.options import commands
from jaxrf.lowering import lowerings
from jaxrf.primitives import operations, rules
from jaxrf.protocols import protocols
from jaxrf.statistics.measures import measures

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"\s*```text\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block, and the printed output that directly follows it, if any."""

    language: str
    code: str
    shown: str | None
    line: int


def blocks(page: str) -> list[Block]:
    found = []
    for match in BLOCK.finditer(page):
        after = SHOWN.match(page, match.end())
        line = page.count("\n", 0, match.start()) + 1
        found.append(Block(match[1], match[2], after[1] if after else None, line))
    return [block for block in found if block.language in ("python", "bash")]


def commands_of(code: str) -> list[list[str]]:
    """The `jaxrf` lines of a bash block as argument lists."""
    lines = code.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("jaxrf ")]


def run(block: Block, namespace: dict) -> str:
    """Run a block as a reader would; what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        if block.language == "python":
            exec(compile("\n" * block.line + block.code, "page", "exec", dont_inherit=True), namespace)
        for arguments in commands_of(block.code) if block.language == "bash" else []:
            assert main(arguments) == 0, f"line {block.line}: jaxrf {shlex.join(arguments)}"
    return out.getvalue()


QUICK = ("README.md", "own-model.md", "architecture.md", "command-line.md")
"""Pages that a reader meets first; the code of the others is run with the slow tests."""


def with_code() -> list:
    """Pages that have code to run."""
    found = [page for page in PAGES if blocks(page.read_text())]
    return [pytest.param(page, marks=() if page.name in QUICK else pytest.mark.slow) for page in found]


@pytest.fixture
def _registries(monkeypatch):
    """What a page registers is gone behind it."""
    for registry in (measures, protocols, rules, operations, lowerings):
        for table in ("_things", "_places"):
            monkeypatch.setattr(registry, table, dict(getattr(registry, table)))


@pytest.mark.usefixtures("_registries")
@pytest.mark.parametrize("page", with_code(), ids=lambda page: page.name)
def test_the_code_of_a_page_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch):
    """Python blocks run in order in one namespace, jaxrf commands exit with 0, shown output is the real output."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # where classes of the page look for what they were written beside
    namespace = vars(module)
    for block in blocks(page.read_text()):
        printed = run(block, namespace)
        if block.shown is not None:
            same = doctest.OutputChecker().check_output(block.shown, printed, doctest.ELLIPSIS)
            assert same, f"{page.name}, line {block.line}, shows:\n{block.shown}\nbut prints:\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_of_a_page_exist(page):
    """Every relative link points to a file or folder of the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)", page.read_text())
    assert [link for link, _ in links if not (page.parent / link).exists()] == []
    anchored = [(page.parent / link if link else page, anchor[1:]) for link, anchor in links if anchor]
    assert [(str(other), anchor) for other, anchor in anchored if anchor not in anchors(other)] == []


def anchors(page: Path) -> set[str]:
    """Names by which headings of a page are linked to: in small letters, words joined by dashes."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def test_the_make_targets_named_in_the_pages_exist():
    """README and CONTRIBUTING name no target that the Makefile lacks."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for page in PAGES[:2] for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test"} <= named
    assert named <= targets


def test_the_examples_of_the_command_line_parse():
    """The commands shown in each command's help are accepted by its parser."""
    from jaxrf.cli import _parser
    from jaxrf.cli.options import build

    find_commands()
    shown = [
        arguments
        for command in commands.values()
        for arguments in commands_of(re.sub(r"^ +| >.*$", "", command.EXAMPLES, flags=re.MULTILINE))
    ]
    assert len(shown) >= 6
    for arguments in shown:
        assert type(build(_parser(), arguments)) is commands[arguments[0]]


def test_blocks_are_found_with_what_they_print():
    """A text block counts as output only where it directly follows the code."""
    page = "```python\na\n```\n\n```text\nb\n```\n\n```bash\nc\n```\nwords\n```text\nd\n```\n"
    assert [(b.language, b.code, b.shown, b.line) for b in blocks(page)] == [
        ("python", "a\n", "b\n", 1),
        ("bash", "c\n", None, 9),
    ]
