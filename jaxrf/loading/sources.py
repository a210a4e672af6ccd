"""Hashes of what a number depends on and what is not in the specification: the model's source, files, versions.

A model's source is its module and all modules that this one imports from the same place, read and not run.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxrf.base.provenance import PACKAGES, version
from jaxrf.errors import InputError
from jaxrf.loading.remote import is_remote

SCHEMA = 3
"""Raised when blocks, how they are planned, or how they are merged, change."""
HARMLESS = ("--xla_dump", "--xla_force_host_platform_device_count")
"""Starts of flags of XLA that change no number."""


def environment() -> dict[str, Any]:
    """Versions and settings of JAX that change numbers; devices are not asked."""
    import jax

    return {
        "schema": SCHEMA,
        "versions": {name: version(name) for name in PACKAGES},
        "x64": bool(jax.config.values["jax_enable_x64"]),
        "prng": str(jax.config.values["jax_default_prng_impl"]),
        "threefry_partitionable": bool(jax.config.values["jax_threefry_partitionable"]),
        "xla_flags": xla_flags(os.environ.get("XLA_FLAGS", "")),
    }


def xla_flags(text: str) -> list[str]:
    """The flags of XLA that may change numbers, sorted.

    >>> xla_flags("--xla_dump_to=/tmp --xla_backend_optimization_level=0 --xla_force_host_platform_device_count=4")
    ['--xla_backend_optimization_level=0']
    """
    return sorted(flag for flag in text.split() if not flag.startswith(HARMLESS))


def source_hash(reference: str) -> str:
    """Hash the source of the model that `reference` names, which is not imported.

    Raises:
        InputError: there is no such file or module.

    Example:
        >>> len(source_hash("zoo:conv_stack"))
        16
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name:
        raise InputError(f"{reference!r} is not a model. Write zoo:NAME, module:attribute or file.py:attribute.")
    if place.endswith(".py"):
        start, root, within = Path(place).resolve(), Path(place).resolve().parent, []
    else:
        place = "jaxrf.zoo" if place == "zoo" else place
        start, root = _module(place)
        # Of jaxrf itself the version is in the id.
        within = place.split(".")[: 2 if place.startswith("jaxrf.") else 1]
    if not start.is_file():
        raise InputError(f"There is no file {start}, of which {reference} is to come. Give the path of a Python file.")
    return _imports_hash(start, root, within)


def module_hash(file: Path, name: str) -> str:
    """Hash the source of the imported module `name` in `file`, and what it imports from beside it."""
    parts = name.split(".")
    package = parts if file.name == "__init__.py" else parts[:-1]
    within = [] if name == "__main__" else parts[:1]
    root = file.resolve().parents[len(package)] if len(package) < len(file.resolve().parents) else file.resolve().parent
    return _imports_hash(file.resolve(), root, within)


def _imports_hash(start: Path, root: Path, within: list[str]) -> str:
    seen: dict[Path, None] = {}
    waiting = [start]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen[file] = None
            waiting.extend(_imported(file, root, within))
    digest = hashlib.sha256()
    for file in sorted(seen):
        digest.update(f"{file.relative_to(root)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def files_hash(paths: list[Path]) -> str:
    """Hash the contents of files, in their order; all files below where a path is a folder."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                with file.open("rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def variables_hash(path: str) -> str:
    """Hash a checkpoint.

    Raises:
        InputError: there is none.
    """
    if is_remote(path):
        raise InputError(
            f"{path} is not on this machine, and the variables of a sweep are in its ids. Copy them first."
        )
    if not Path(path).exists():
        raise InputError(f"There are no variables at {path}. Give an Orbax folder or a flax .msgpack file.")
    return files_hash([Path(path)])


def _module(name: str) -> tuple[Path, Path]:
    """File of a module, and the folder that its outermost package is in."""
    top, *inner = name.split(".")
    here = Path.cwd() / top
    if here.is_dir() or here.with_suffix(".py").is_file():  # as for `python -m`, the working folder comes first
        root = Path.cwd()
    else:
        spec = importlib.util.find_spec(top)
        if spec is None or spec.origin is None:
            raise InputError(f"There is no module {name!r}, in {Path.cwd()} or installed. Check its spelling.")
        origin = Path(spec.origin)
        root = origin.parent.parent if origin.name == "__init__.py" else origin.parent
    return _file(root, [top, *inner]) or root.joinpath(top, *inner).with_suffix(".py"), root


def _file(root: Path, parts: list[str]) -> Path | None:
    path = root.joinpath(*parts)
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _imported(file: Path, root: Path, within: list[str]) -> Iterator[Path]:
    """Files below `root` that `file` imports and whose names start with the parts `within`."""
    package = list(file.relative_to(root).parent.parts)
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise InputError(f"{file} is not Python: {error}.") from error
    for node in ast.walk(tree):
        names: list[list[str]] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            names = [[*base, alias.name] for alias in node.names]
        for name in names:
            if name[: len(within)] == within:
                # The files of its packages run too, and the last part may be an attribute.
                lengths = range(max(len(within), 1), len(name) + 1)
                yield from (found for length in lengths if (found := _file(root, name[:length])) is not None)
