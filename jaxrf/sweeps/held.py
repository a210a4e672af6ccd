"""Tasks from models in memory, and hashes of such models: of their source, configuration and weights."""

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

from jaxrf.errors import InputError
from jaxrf.inputs.named import Given, Inputs
from jaxrf.loading.sources import environment, module_hash
from jaxrf.sweeps.specification import Specification
from jaxrf.sweeps.task import Held, Task

PACKAGES = ("jax", "flax", "numpy", "jaxrf")
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))


def task(
    model: Any,
    variables: Any = None,
    inputs: Any = "noise:1",
    *,
    place: Mapping[str, Any] | None = None,
    name: str | None = None,
    input: tuple[int, ...] | None = None,
    **options: Any,
) -> Task:
    """A task of a sweep, from a model in memory.

    Args:
        model: a Linen module, an NNX module or a function, as for `jaxrf.erf`. Workers in other processes get a pickle.
        variables: of the model; None where it draws them, or holds them.
        inputs: an array (n, *shape), or words as in a sweep's file: `noise:4`, a folder of photos.
        place: its values on the axes of the sweep, as {"depth": 10}: what tells tasks of one sweep apart.
        name: stands for the model, its source and its weights, in the task's identity: then you answer for its being
            another one whenever they are. Without it they are hashed.
        input: shape of one input, where `inputs` has none of its own.
        options: as the keys of a sweep's file: layer, units, channels, score, ...

    Raises:
        InputError: something in the model has no hash and there is no `name`; an option is not one of those.

    Example:
        >>> import jaxrf
        >>> small = jaxrf.task(jaxrf.zoo.conv_stack(depth=1, width=2), input=(8, 9, 3), place={"depth": 1})
        >>> jaxrf.sweep([small], "memory://held", seeds=2).result(depth=1).count
        2
    """
    try:
        digest = name or _digest((model, variables))
    except _Unhashed as error:
        raise InputError(
            f"{error} in the model has no hash that would be the same in another process. Pass name=, a word that stands "
            "for the model, its source and its weights."
        ) from error
    given = Inputs(inputs) if isinstance(inputs, str) else Given(inputs)
    shape = input if isinstance(inputs, str) else given.array.shape[1:]
    if shape is None:
        raise InputError(f"The images of {inputs!r} have no shape of their own. Pass input=(224, 224, 3).")
    asked = Specification(
        model={"source": f"memory:{digest}"}, inputs=given.words, input="x".join(map(str, shape)), **_known(options)
    )
    ((settings, _),) = asked.product()
    facts = {**environment(), "source": digest, "inputs": given.digest()}
    return Task(dict(place or {}), settings, facts, Held(model, variables, given))


def _known(options: Mapping[str, Any]) -> Mapping[str, Any]:
    from jaxrf.errors import unknown
    from jaxrf.sweeps.specification import ASKED

    known = {f.name for f in dataclasses.fields(Specification)} - {"model", "inputs", "input", "variables", *ASKED}
    for key, value in options.items():
        if key not in known:
            raise unknown("option of a task", key, known)
        if isinstance(value, list) and key not in ("spatial_axes",):
            raise InputError(f"{key} = {value!r} is a list, and a task is one point. Make a task for each value.")
    return options


class _Unhashed(Exception):
    pass


def _digest(value: Any) -> str:
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
            raise _Unhashed(repr(value)[:80])
    elif dataclasses.is_dataclass(value):
        yield _source(type(value))
        own = [f.name for f in dataclasses.fields(value) if f.init and f.name not in ("parent", "name")]
        yield from _parts({name: getattr(value, name) for name in own}, within)
    elif _of_nnx(value):
        yield _source(type(value))
        yield from _parts({k: v for k, v in vars(value).items() if not k.startswith("_")}, within)
        yield from _parts([value.get_value()] if hasattr(value, "get_value") else [], within)
    else:
        raise _Unhashed(f"{type(value).__module__}.{type(value).__qualname__}")


def _of_nnx(value: Any) -> bool:
    from flax import nnx

    return isinstance(value, nnx.Module | nnx.Variable | nnx.Rngs | nnx.RngStream)


def _source(thing: Any) -> bytes:
    """Name and hash of the module of a class or function, with those that it imports from beside it."""
    try:
        file = inspect.getsourcefile(thing)
        text = inspect.getsource(thing)
    except (OSError, TypeError) as error:
        raise _Unhashed(f"{thing!r}, which has no source,") from error
    ours = thing.__module__.partition(".")[0] in PACKAGES  # of which the version is in the task's id
    digest = "" if ours or file is None or not Path(file).is_file() else module_hash(Path(file), thing.__module__)
    return json.dumps([thing.__module__, thing.__qualname__, text, digest]).encode()
