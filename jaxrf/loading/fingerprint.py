"""Hashes of models in memory: of their source, configuration and weights, the same in every process."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.loading.sources import module_hash

PACKAGES = ("builtins", "jax", "flax", "numpy", "jaxrf")
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))


class Unhashed(Exception):
    """Something that has no hash which would be the same in another process."""


def model_hash(value: Any) -> str:
    """Hash a model in memory and its weights: classes and functions by their source, everything else by its values.

    Raises:
        Unhashed: something in it has neither.

    Example:
        >>> model_hash({"depth": 2}) == model_hash({"depth": 2}) != model_hash({"depth": 3})
        True
    """
    found = hashlib.sha256()
    for part in _parts(value, frozenset()):
        found.update(part)
        found.update(b"\0")
    return found.hexdigest()[:16]


def _parts(value: Any, within: frozenset[int]) -> Iterator[bytes]:
    """All that a value is, as bytes that are the same in every process."""
    if isinstance(value, (*PLAIN, np.dtype)):
        yield f"{type(value).__name__} {value!r}".encode()
    elif id(value) in within:
        yield b"itself"
    elif hasattr(value, "__array__") and hasattr(value, "dtype"):
        array = np.asarray(value)
        yield f"array {array.dtype} {array.shape}".encode()
        yield np.ascontiguousarray(array).tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}".encode()
        for key in sorted(value, key=repr):
            yield from _parts((key, value[key]), within | {id(value)})
    elif isinstance(value, tuple | list):
        yield f"{type(value).__name__} {len(value)}".encode()
        for one in value:
            yield from _parts(one, within | {id(value)})
    else:
        yield from _object(value, within | {id(value)})


def _object(value: Any, within: frozenset[int]) -> Iterator[bytes]:
    if isinstance(value, functools.partial):
        yield b"partial"
        yield from _parts((value.func, value.args, value.keywords), within)
    elif isinstance(value, types.MethodType):
        yield from _parts((value.__func__, value.__self__), within)
    elif isinstance(value, type):
        yield _source(value)
    elif inspect.isfunction(value):
        yield _source(value)
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        yield from _parts((cells, value.__defaults__, value.__kwdefaults__), within)
    elif callable(value) and getattr(value, "__wrapped__", None) is not None:  # jit and the like
        yield from _parts((type(value).__qualname__, value.__wrapped__), within)
    elif (
        inspect.isbuiltin(value)
        or isinstance(value, np.ufunc)
        or type(value).__module__.startswith(("jax.", "jaxlib."))
    ):
        yield f"{type(value).__qualname__} {getattr(value, '__module__', '')}.{getattr(value, '__name__', '')}".encode()
        if not hasattr(value, "__name__"):
            raise Unhashed(repr(value)[:80])
    elif dataclasses.is_dataclass(value):
        yield _source(type(value))
        own = [f.name for f in dataclasses.fields(value) if f.init and f.name not in ("parent", "name")]
        yield from _parts({name: getattr(value, name) for name in own}, within)
    elif _of_nnx(value):
        yield _source(type(value))
        yield from _parts({k: v for k, v in vars(value).items() if not k.startswith("_")}, within)
        yield from _parts([value.get_value()] if hasattr(value, "get_value") else [], within)
    else:
        raise Unhashed(f"{type(value).__module__}.{type(value).__qualname__}")


def _of_nnx(value: Any) -> bool:
    from flax import nnx

    return isinstance(value, nnx.Module | nnx.Variable | nnx.Rngs | nnx.RngStream)


def _source(thing: Any) -> bytes:
    """Name of a class or function, its source, and the hash of its module with those that it imports from beside it."""
    name = [thing.__module__, thing.__qualname__]
    if thing.__module__.partition(".")[0] in PACKAGES:  # of which the version is in the task's id
        return json.dumps(name).encode()
    try:
        file, text = inspect.getsourcefile(thing), inspect.getsource(thing)
    except (OSError, TypeError) as error:
        raise Unhashed(f"{thing!r}, which has no source,") from error
    digest = module_hash(Path(file), thing.__module__) if file is not None and Path(file).is_file() else ""
    return json.dumps([*name, text, digest]).encode()
