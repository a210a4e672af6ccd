"""Kinds of checkpoints on disk: how each is told from the others, and how it is read into a tree of arrays.

One more kind is one function here. None runs code that a file brings along.
"""

from __future__ import annotations

import importlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.base.registry import Registry
from jaxrf.errors import InputError, listed

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
    names = sorted(one.name for one in path.iterdir()) if path.is_dir() else [path.name]
    files = [name for name in names if path.is_dir() and any(one.fits(path / name) for one in formats.values())]
    for pattern, says, do in OF_FOLDERS if files else (*OF_FOLDERS, *OTHERS):
        if any(re.fullmatch(pattern, name) for name in names):
            raise InputError(f"{path} looks like {says}{inside}, which is not read here. {do}")
    give = f"one of its files: {', '.join(files)}" if files else KINDS
    raise InputError(f"{path} is not a checkpoint of a known kind{inside}. Give {give}.")


def taken_for(path: Path) -> str | None:
    """What a file that cannot be read is instead of what its name says, and what to do; None where that is not known."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    return next((says for mark, says in STARTS.items() if start.startswith(mark)), None)


STARTS = {
    b"version https://git-lfs": "a pointer of Git LFS, which stands for the file. Run git lfs pull",
    b"<!doctype html": "a web page, as a download that failed leaves. Download the file itself",
    b"<html": "a web page, as a download that failed leaves. Download the file itself",
}
"""How files begin that are often found in the place of another."""


KINDS = (
    "an Orbax folder (one checkpoint, or one with a folder for each step), a .msgpack file of flax, a .npz file with names "
    "such as params/conv/kernel, a .safetensors file, or a PyTorch state_dict (.pt, .pth, .bin)"
)


OF_FOLDERS = (
    (r"model\.safetensors|pytorch_model\.bin", "a folder of a model hub", "Give the file with the weights in it."),
    (r".*\.index\.json", "a folder of weights in several files", "Load them with their own library and save one file."),
    (r"model\.json|.*-shard\d+of\d+(\.bin)?", "a network of TensorFlow.js", "Read its shards and save a .npz."),
)
OTHERS = (
    (
        r"saved_model\.pb|.*\.data-\d+-of-\d+|.*\.index|checkpoint",
        "a checkpoint of TensorFlow",
        "Load it there and save a .npz.",
    ),
    (r".*\.(keras|h5|hdf5)", "weights of Keras", "Load them with Keras, and give jaxrf the model."),
    (
        r".*\.onnx",
        "a network of ONNX",
        "Save its initializers with numpy.savez, or give the model that it was made from.",
    ),
    (
        r".*\.tflite",
        "a network of TensorFlow Lite",
        "Read its arrays with its interpreter and save them with numpy.savez.",
    ),
    (
        r".*\.(jit|torchscript)",
        "a program of TorchScript",
        "If you trust it: torch.save(torch.jit.load(file).state_dict(), to).",
    ),
    (r".*\.(mlmodel|mlpackage)|Manifest\.json", "a network of Core ML", "Give the model that it was made from."),
    (r".*\.(pkl|pickle|joblib)", "a pickle, which could run code", "Load it where it is trusted and save a .npz."),
    (r"\.metadata|.*\.distcp", "a distributed checkpoint of PyTorch", "Save model.state_dict() as one file."),
    (r".*\.(zip|tar|gz|tgz|xz|whl|deb)", "an archive", "Unpack it first."),
)
"""Patterns of names in what is not read, what it looks like, and what to do; the first ones also of a folder with files
that could be read one by one."""


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


def tree_in(path: Path, step: int | None) -> Path:
    """The folder of the one tree that is read of a folder of Orbax: itself, that of a step, or of the newest if None.

    Raises:
        InputError: there is no such step, or not one tree.
    """
    single = _is_checkpoint(path) or _items(path)
    if single and step is not None:
        raise InputError(f"{path} is a single checkpoint, and step={step} was asked for. Give the folder above it.")
    if _is_checkpoint(path):
        return path
    if single:
        items = [one for one in _items(path) if one.name in ("default", "state", "params", "items")] or _items(path)
        if len(items) != 1:
            raise InputError(f"{path} holds {_some(path)}, and not one checkpoint. Give the folder of one of them.")
        return items[0]
    known = steps_of(path)
    if step is not None and step not in known:
        raise InputError(f"{path} has no step {step}. It has: {', '.join(map(str, sorted(known)))}.")
    return tree_in(known[max(known) if step is None else step], None)


def part_of(path: Path, step: int | None) -> Path:
    """What is read below a path: as `tree_in` of a folder of Orbax, else all of it.

    Raises:
        InputError: it is of no known kind.
    """
    return tree_in(path, step) if path.is_dir() and format_of(path) is formats["orbax"] else path


def _read_orbax(path: Path, step: int | None) -> Any:
    return _tree(tree_in(path, step))


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


OF_SAFETENSORS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
    "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
"""Types as a .safetensors file names them."""


def _read_safetensors(path: Path, step: int | None) -> Any:
    import jax.numpy as jnp

    library = _library("safetensors", "safetensors", "A .safetensors file")
    found = {}
    # The library gives another order each time, and files keep none but that of names: numbers count as numbers.
    held = library.deserialize(path.read_bytes())
    for name, one in sorted(
        held, key=lambda item: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", item[0])]
    ):
        if one["dtype"] not in OF_SAFETENSORS:
            raise InputError(f"{name!r} in {path} is of type {one['dtype']}. Save it as float32.")
        dtype = jnp.dtype(OF_SAFETENSORS[one["dtype"]])
        found[name] = np.frombuffer(one["data"], dtype).reshape(one["shape"])
    return found


def _read_torch(path: Path, step: int | None) -> Any:
    torch = _library("torch", "torch", "A PyTorch state_dict")
    if _is_torchscript(path):
        raise InputError(
            f"{path} is a program of TorchScript, which is code and not a state_dict. If you trust it, save what it holds: "
            "torch.save(torch.jit.load(file).state_dict(), to)."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # PyTorch advises to load it all the same
        raise ValueError("it is of another kind, or holds other things than arrays, which could run code") from None
    while isinstance(state, dict) and len(
        inner := [k for k in ("state_dict", "model") if isinstance(state.get(k), dict)]
    ):
        state = state[inner[0]]
    if not isinstance(state, dict):
        raise InputError(f"{path} holds a {type(state).__name__}, not a state_dict. Save model.state_dict().")
    tensors = {str(name): value for name, value in state.items() if hasattr(value, "dtype")}
    _say_narrow(path, [str(value.dtype) for value in tensors.values() if value.is_quantized or _is_narrow(value)])
    return {name: _numpy(value) for name, value in tensors.items()}


def _is_torchscript(path: Path) -> bool:
    """Whether it was saved by `torch.jit.save`, which writes constants beside the code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as held:
        return any(name.endswith("/constants.pkl") for name in held.namelist())


def _say_narrow(path: Path, types: list[str]) -> None:
    """Warn of what NumPy has no type for."""
    if types:
        found = ", ".join(sorted({one.removeprefix("torch.") for one in types}))
        warnings.warn(f"{len(types)} arrays of {path} are {found}; they became float32.", stacklevel=2)


def _is_narrow(value: Any) -> bool:
    return str(value.dtype) == "torch.bfloat16" or "float8" in str(value.dtype)


def _numpy(value: Any) -> np.ndarray:
    """A tensor in NumPy; what NumPy has no type for, as float32."""
    value = value.detach()
    if value.is_quantized:
        return value.dequantize().numpy()
    return (value.float() if _is_narrow(value) else value).numpy()


def _library(module: str, package: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{what} is read by {package}, which is not installed. Run: pip install {package}") from error


def _some(folder: Path) -> str:
    return listed(sorted(one.name for one in folder.iterdir()), 5) or "nothing"


def _ends(*endings: str) -> Callable[[Path], bool]:
    return lambda path: path.is_file() and path.name.endswith(endings)


# No path fits two of them.
formats.register("orbax")(Format("an Orbax checkpoint", _is_orbax, _read_orbax))
formats.register("msgpack")(Format("a .msgpack file of flax", _ends(".msgpack", ".flax"), _read_msgpack))
formats.register("npz")(Format("a .npz file", _ends(".npz"), _read_npz))
formats.register("safetensors")(Format("a .safetensors file", _ends(".safetensors"), _read_safetensors))
formats.register("torch")(Format("a PyTorch state_dict", _ends(".pt", ".pth", ".bin", ".pth.tar"), _read_torch))
