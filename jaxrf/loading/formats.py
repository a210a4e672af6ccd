"""Kinds of checkpoints on disk: how each is told from the others, and how it is read into a tree of arrays.

One more kind is one function here. None runs code that a file brings along.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.base.registry import Registry
from jaxrf.errors import InputError

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Format:
    """A kind of checkpoint.

    Attributes:
        says: what it is, for messages.
        fits: whether a path looks like one.
        read: the tree of arrays in it; of a folder with several steps, that of `step`, or of the newest if None.
    """

    says: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, int | None], Any]


formats: Registry[Format] = Registry("format of checkpoints")


def format_of(path: Path) -> Format:
    """The kind of checkpoint at a path.

    Raises:
        InputError: nothing is there, or it is of no known kind.
    """
    if not path.exists():
        raise InputError(f"There are no variables at {path}. Give {KINDS}.")
    for one in formats.values():
        if one.fits(path):
            return one
    inside = f", which holds {_some(path)}" if path.is_dir() else ""
    raise InputError(f"{path} is not a checkpoint of a known kind{inside}. Give {KINDS}.")


KINDS = (
    "an Orbax folder (one checkpoint, or one with a folder for each step), a .msgpack file of flax, a .npz file with names "
    "such as params/conv/kernel, a .safetensors file, or a PyTorch state_dict (.pt, .pth, .bin)"
)


def _is_checkpoint(path: Path) -> bool:
    """Whether Orbax wrote a tree here."""
    return path.is_dir() and any((path / name).exists() for name in ("_METADATA", "manifest.ocdbt"))


def _items(folder: Path) -> list[Path]:
    """Trees that lie side by side in a folder, as those of one step do."""
    return [one for one in sorted(folder.iterdir()) if _is_checkpoint(one)]


def steps_of(folder: Path) -> dict[int, Path]:
    """Folders of steps by number, such as `20` and `step_20`; those that are still being written have another name."""
    found = {one: re.fullmatch(r"(?:\w*_)?(\d+)", one.name) for one in folder.iterdir() if one.is_dir()}
    return {int(match[1]): one for one, match in found.items() if match and (_is_checkpoint(one) or _items(one))}


def _is_orbax(path: Path) -> bool:
    return path.is_dir() and (_is_checkpoint(path) or bool(_items(path)) or bool(steps_of(path)))


def _read_orbax(path: Path, step: int | None) -> Any:
    """A tree, that of a step, or that of one of several steps."""
    single = _is_checkpoint(path) or _items(path)
    if single and step is not None:
        raise InputError(f"{path} is a single checkpoint, and step={step} was asked for. Give the folder above it.")
    if _is_checkpoint(path):
        return _tree(path)
    if single:
        items = [one for one in _items(path) if one.name in ("default", "state", "params", "items")] or _items(path)
        if len(items) != 1:
            raise InputError(f"{path} holds {_some(path)}, and not one checkpoint. Give the folder of one of them.")
        return _tree(items[0])
    known = steps_of(path)
    if step is not None and step not in known:
        raise InputError(f"{path} has no step {step}. It has: {', '.join(map(str, sorted(known)))}.")
    return _read_orbax(known[max(known) if step is None else step], None)


def _tree(path: Path) -> Any:
    """A tree of Orbax with all leaves as NumPy, wherever they were when they were saved."""
    import jax
    import orbax.checkpoint

    with orbax.checkpoint.PyTreeCheckpointer() as checkpointer:
        found = checkpointer.metadata(path.resolve())
        as_numpy = orbax.checkpoint.RestoreArgs(restore_type=np.ndarray)
        shapes = dict(getattr(found, "item_metadata", found))
        return checkpointer.restore(path.resolve(), restore_args=jax.tree.map(lambda _: as_numpy, shapes))


def _read_msgpack(path: Path, step: int | None) -> Any:
    from flax.serialization import msgpack_restore

    return msgpack_restore(path.read_bytes())


def _read_npz(path: Path, step: int | None) -> Any:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_safetensors(path: Path, step: int | None) -> Any:
    library = _library("safetensors.flax", "safetensors", "A .safetensors file")
    return {name: np.asarray(value) for name, value in library.load_file(path).items()}


def _read_torch(path: Path, step: int | None) -> Any:
    torch = _library("torch", "torch", "A PyTorch state_dict")
    state = torch.load(path, map_location="cpu", weights_only=True)
    while isinstance(state, dict) and len(
        inner := [k for k in ("state_dict", "model") if isinstance(state.get(k), dict)]
    ):
        state = state[inner[0]]
    if not isinstance(state, dict):
        raise InputError(f"It holds a {type(state).__name__}, not a state_dict. Save model.state_dict().")
    return {str(name): _numpy(value) for name, value in state.items() if hasattr(value, "dtype")}


def _numpy(value: Any) -> np.ndarray:
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).detach().numpy()


def _library(module: str, package: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{what} is read by {package}, which is not installed. Run: pip install {package}") from error


def _some(folder: Path) -> str:
    names = sorted(one.name for one in folder.iterdir())
    return ", ".join(names[:5]) + ("" if len(names) <= 5 else f" and {len(names) - 5} more") if names else "nothing"


def _ends(*endings: str) -> Callable[[Path], bool]:
    return lambda path: path.is_file() and path.name.endswith(endings)


# No path fits two of them.
formats.register("orbax")(Format("an Orbax checkpoint", _is_orbax, _read_orbax))
formats.register("msgpack")(Format("a .msgpack file of flax", _ends(".msgpack", ".flax"), _read_msgpack))
formats.register("npz")(Format("a .npz file", _ends(".npz"), _read_npz))
formats.register("safetensors")(Format("a .safetensors file", _ends(".safetensors"), _read_safetensors))
formats.register("torch")(Format("a PyTorch state_dict", _ends(".pt", ".pth", ".bin", ".pth.tar"), _read_torch))
