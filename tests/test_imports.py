"""Who may import whom; what `import jaxrf` must leave alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "jaxrf"
FILES = sorted(ROOT.rglob("*.py"))
HEAVY = {"matplotlib", "xarray", "orbax", "skimage", "PIL", "pandas", "zarr"}

# The left side must not import the right side, at the top of a file or within a function; a line for a folder within
# another one stands in place of the outer one's.
FORBIDDEN = {
    "jaxrf.geometry": {
        "jax",
        "flax",
        "jaxrf.tangent",
        "jaxrf.primitives",
        "jaxrf.engine",
        "jaxrf.adapters",
        "jaxrf.api",
    },
    "jaxrf.store": {"jax", "flax", "jaxrf.tangent", "jaxrf.primitives", "jaxrf.engine", "jaxrf.adapters", "jaxrf.api"},
    "jaxrf.statistics": {"jax", "flax", "jaxrf.engine", "jaxrf.tangent", "jaxrf.adapters", "jaxrf.api", "jaxrf.report"},
    "jaxrf.statistics.measures": {"flax", "jax.numpy"},
    "jaxrf.protocols": {"jax", "flax", "jaxrf.engine", "jaxrf.tangent", "jaxrf.adapters", "jaxrf.api", "jaxrf.cli"},
    "jaxrf.engine": {"jaxrf.statistics", "jaxrf.report", "jaxrf.store", "jaxrf.api", "jaxrf.cli"},
    "jaxrf.report": {"jax", "flax", "jaxrf.engine", "jaxrf.tangent", "jaxrf.primitives", "jaxrf.adapters", "jaxrf.api"},
    "jaxrf.zoo": {"jaxrf.engine", "jaxrf.tangent", "jaxrf.api", "jaxrf.cli", "jaxrf.report"},
    "jaxrf.primitives": {"jaxrf.engine", "jaxrf.statistics", "jaxrf.api", "jaxrf.report", "jaxrf.cli"},
    "jaxrf.interpret": {"jaxrf.engine", "jaxrf.statistics", "jaxrf.api", "jaxrf.report", "jaxrf.cli"},
    "jaxrf.adapters": {
        "jaxrf.engine",
        "jaxrf.primitives",
        "jaxrf.statistics",
        "jaxrf.api",
        "jaxrf.report",
        "jaxrf.cli",
    },
    "jaxrf.tangent": {"jaxrf.engine", "jaxrf.statistics", "jaxrf.api", "jaxrf.report", "jaxrf.cli"},
    "jaxrf.sweep": {"jaxrf.cli", "jaxrf.report"},
    "jaxrf.loading": {"jaxrf.cli", "jaxrf.sweep", "jaxrf.engine", "jaxrf.tangent", "jaxrf.api", "jaxrf.report"},
    "jaxrf.inputs.photos": {"jax", "flax", "jaxrf.engine", "jaxrf.api", "jaxrf.cli"},
}
# These may import nothing of jaxrf but what stands here (and themselves).
ONLY = {
    "jaxrf.checks.oracles": {"jaxrf.adapters", "jaxrf.base.compiler", "jaxrf.errors", "jaxrf.base.faults"},
    "jaxrf.base.faults": {"jaxrf.base.place"},
    "jaxrf.base.place": set(),
    "jaxrf.base.compiler": set(),
    "jaxrf.errors": set(),
    "jaxrf.base.registry": {"jaxrf.errors"},
    "jaxrf.statistics.measures": {"jaxrf.errors", "jaxrf.base.registry"},
}


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path) -> set[str]:
    """The modules that a file imports anywhere except for type checking; `from a import b` counts as a.b."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_follow_the_table(file):
    """No module imports what the table forbids to its package, and no module reaches into JAX's private code."""
    name = module_name(file)
    imports = imported(file)
    assert not {one for one in imports if within(one, {"jax._src", "jaxlib"})}
    package = max((package for package in FORBIDDEN if within(name, {package})), key=len, default=None)
    if package is not None:
        assert not {one for one in imports if within(one, FORBIDDEN[package])}
    for package, allowed in ONLY.items():
        if within(name, {package}):
            ours = {one for one in imports if within(one, {"jaxrf"})}
            assert not {one for one in ours if not within(one, allowed | {package})}


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
    """An import inside a function is found, one for type checking only is not."""
    file = tmp_path / "module.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import flax\n"
        "def f():\n    from jax._src import core\n    import numpy.linalg\n"
    )
    assert imported(file) == {"typing.TYPE_CHECKING", "jax._src.core", "numpy.linalg"}
    assert within("jax._src.core", {"jax._src"})
    assert not within("jaxrf.api", {"jax"})
