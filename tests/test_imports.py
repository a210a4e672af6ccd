"""Who may import whom; what `import jaxrf` must leave alone."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "jaxrf"
FILES = sorted(ROOT.rglob("*.py"))
HEAVY = {"matplotlib", "xarray", "orbax", "skimage", "PIL", "pandas", "zarr"}

# Which rooms each room may import, at the top of a file, in a function or for type checking; all may import `errors`.
# It is the picture in docs/architecture.md, from what stands on nothing to what stands on everything.
ALLOWED = {
    "errors": "",
    "base": "",
    "store": "",
    "geometry": "",
    "statistics": "base",
    "measures": "statistics",
    "zoo": "base",
    "report": "base geometry measures statistics",
    "loading": "adapters base zoo",
    "inputs": "loading store",
    "results": "base geometry report statistics store",
    "protocols": "base results",
    "equations": "geometry",
    "lowering": "base",
    "adapters": "base",
    "init": "adapters base",
    "primitives": "adapters base equations geometry lowering",
    "tangent": "adapters base equations lowering primitives",
    "interpret": "adapters equations geometry primitives",
    "engine": "base equations geometry interpret lowering primitives",
    "planning": "adapters base engine equations geometry init inputs interpret protocols results statistics tangent",
    "fields": "adapters base engine equations init inputs planning primitives protocols results statistics",
    "checks": "adapters base engine fields inputs planning",
    "api": "adapters base checks engine fields geometry init inputs interpret planning results statistics",
    "pieces": "adapters base engine equations geometry inputs interpret planning",
    "tasks": "base inputs loading results statistics store",
    "sweeps": "base engine fields inputs loading planning results statistics store tasks",
    "atlases": "api fields geometry inputs loading results store sweeps tasks zoo",
    "pages": "report results statistics sweeps",
    "watching": "adapters base fields geometry inputs loading planning report results statistics store",
    "__main__": "cli",
    "cli": "atlases base engine geometry inputs jaxrf loading lowering pages pieces report results statistics sweeps tasks watching zoo",
}
# These may import nothing of jaxrf but what stands here: they are to share no mistake with what they judge.
ALONE = {
    "jaxrf.checks.oracles": {"jaxrf.adapters", "jaxrf.base.compiler", "jaxrf.errors", "jaxrf.base.faults"},
    "jaxrf.inputs.photos": {"jaxrf.errors", "jaxrf.loading.preprocessing"},
}
# Rooms that are of use without these libraries.
WITHOUT = {
    **{own: {"jax", "flax"} for own in ("errors", "geometry", "store", "results", "report", "protocols", "pages")},
    "statistics": {"flax", "jax.numpy"},
    "lowering": {"flax"},
}


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path) -> set[str]:
    """The modules that a file imports anywhere; `from a import b` counts as a.b."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str:
    """The folder, or the file at the top, that a module of jaxrf is in."""
    return [*name.split("."), "jaxrf"][1] if name != "jaxrf" else "jaxrf"


def arrows() -> dict[str, set[str]]:
    """Which modules of jaxrf each of them imports."""
    modules = set(map(module_name, FILES))
    found = {}
    for file in FILES:
        ours = {one for one in imported(file) if within(one, {"jaxrf"})}
        own = {one if one in modules else one.rpartition(".")[0] for one in ours}
        found[module_name(file)] = own - {module_name(file)}
    return found


def cycle(arrows: Mapping[str, Iterable[str]]) -> list[str] | None:
    """Names along a way that comes back to where it began; None where there is no such way."""
    done: set[str] = set()

    def follow(name: str, way: list[str]) -> list[str] | None:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return None
        done.add(name)
        return next(filter(None, (follow(one, [*way, name]) for one in sorted(arrows.get(name, ())))), None)

    return next(filter(None, (follow(name, []) for name in sorted(arrows))), None)


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.parent != ROOT or file.stem != "__init__"], ids=module_name
)
def test_imports_follow_the_table(file):
    """A module imports the rooms that the table allows, and no private code of JAX."""
    name, imports = module_name(file), imported(file)
    own = room(name)
    assert not {one for one in imports if within(one, {"jax._src", "jaxlib"} | WITHOUT.get(own, set()))}
    ours = {one for one in imports if within(one, {"jaxrf"})}
    assert {room(one) for one in ours} <= {own, "errors", *ALLOWED[own].split()}
    if name in ALONE:
        assert not {one for one in ours if not within(one, ALONE[name])}


def test_the_table_says_no_more_than_is_used():
    """Every room has its line, which allows nothing that is not imported."""
    used: dict[str, set[str]] = {}
    for name, imports in arrows().items():
        used.setdefault(room(name), set()).update(map(room, imports))
    used = {own: rooms - {own, "errors"} for own, rooms in used.items() if own != "jaxrf"}
    assert used == {own: set(rooms.split()) for own, rooms in ALLOWED.items()}


def test_no_module_and_no_room_imports_itself_round_about():
    """Neither the modules nor the rooms import each other in a circle, type checking and functions included."""
    modules = {name: imports for name, imports in arrows().items() if name != "jaxrf"}
    assert cycle(modules) is None
    rooms: dict[str, set[str]] = {}
    for name, imports in modules.items():
        rooms.setdefault(room(name), set()).update({room(one) for one in imports} - {room(name)})
    assert cycle(rooms) is None


def test_the_picture_is_the_table():
    """docs/architecture.md lists the rooms with what each may import."""
    text = (ROOT.parent / "docs" / "architecture.md").read_text()
    lines = dict(re.findall(r"^\| `([a-z_]+)(?:/|\.py)` \|.*\| ([^|]*) \|$", text, re.MULTILINE))
    assert {own: set(rooms.split(", ")) - {"nothing"} for own, rooms in lines.items()} == {
        own: set(rooms.split()) for own, rooms in ALLOWED.items() if own != "errors"
    }


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_heavy_libraries_are_imported_in_functions_only(file):
    """Plotting and export libraries are never imported at the top of a module."""
    top = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in top if isinstance(node, ast.ImportFrom) and node.module}
    assert not {name for name in names if within(name, HEAVY)}


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_only_the_command_line_prints_or_exits(file):
    """Outside of jaxrf.cli nothing calls print or exit."""
    if within(module_name(file), {"jaxrf.cli"}):
        return
    calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"print", "exit", "quit"}
    assert "sys.exit" not in {ast.unparse(call) for call in calls if isinstance(call, ast.Attribute)}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import jaxrf", HEAVY | {"jax", "flax", "rich", "scipy", "tensorstore"}),
        ("import jaxrf; jaxrf.measures", HEAVY | {"jax", "flax", "scipy"}),
        ("import jaxrf; jaxrf.load; jaxrf.compare", HEAVY | {"jax", "flax"}),
        ("import jaxrf; jaxrf.open", HEAVY | {"jax", "flax"}),
        ("import jaxrf; jaxrf.atlas()", HEAVY | {"jax", "flax"}),
        ("import jaxrf; jaxrf.trf", HEAVY),
        ("import jaxrf.cli", HEAVY | {"jax", "flax", "numpy", "rich"}),
    ],
)
def test_import_stays_light(statement, absent):
    """Importing the package, or its command line, does not load what only some callers need."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert not set(run.stdout.split()) & absent


def test_the_rules_see_what_they_forbid(tmp_path):
    """Imports in functions and for type checking are found, and so is a circle."""
    file = tmp_path / "module.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import flax\n"
        "def f():\n    from jax._src import core\n    import numpy.linalg\n"
    )
    assert imported(file) == {"typing.TYPE_CHECKING", "flax", "jax._src.core", "numpy.linalg"}
    assert within("jax._src.core", {"jax._src"})
    assert not within("jaxrf.api", {"jax"})
    assert cycle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]
    assert cycle({"a": ["b", "c"], "b": ["c"]}) is None


SCRIPTS = [*(ROOT.parent / "benchmarks").glob("*.py"), *(ROOT.parent / "docs").rglob("*.py")]


@pytest.mark.parametrize("file", sorted(SCRIPTS), ids=lambda f: f.name)
def test_scripts_import_names_that_exist(file):
    """Also where another import of a script cannot be had here, such as PyTorch, and so nothing else runs it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "jaxrf":
            module = importlib.import_module(node.module)
            missing = [a.name for a in node.names if not (hasattr(module, a.name) or is_module(node.module, a.name))]
            assert not missing, f"{file.name} imports {missing} from {node.module}"


def is_module(package: str, name: str) -> bool:
    """Whether a package holds a module of this name."""
    return importlib.util.find_spec(f"{package}.{name}") is not None
