"""The last few prepared fields, so that a second call with other weights or images traces and compiles nothing.

A key holds all that a program depends on but the values of variables and images. Equality decides where it can: Linen
modules, structures of NNX modules, options. Functions count by identity, and only while all that they close over is
known to stay as it is; what could change unseen (an NNX module or a NumPy array inside of a closure) is prepared anew.
"""

from __future__ import annotations

import dataclasses
import dis
import inspect
import os
import sys
import threading
import types
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from flax import nnx
from jax.core import Tracer

from jaxrf.base.place import PACKAGE

T = TypeVar("T")
KEPT = 16
"""Fields that are kept."""
SMALL = 2**10
"""Elements up to which an array inside of options counts by its values, and not by identity."""
CONSTANT = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.dtype)
GENERATED = "<string>"
"""Where the methods stand that `dataclasses` writes."""
PYTHON = str(Path(os.__file__).parent)
SETTINGS = ("jax_enable_x64", "jax_default_prng_impl", "jax_numpy_dtype_promotion", "jax_threefry_partitionable")


class Unkeyed(Exception):
    """Something whose equality cannot be told."""


class Cache(Generic[T]):
    """Values by key, the last `KEPT` that were used; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable | None, make: Callable[[], T]) -> T:
        """The value of a key, made where there is none; made in any case without a key."""
        if key is None:
            return make()
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > KEPT:
                self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._values.clear()

    def __len__(self) -> int:
        return len(self._values)


class Same:
    """Equal to itself alone: an object by its identity, which it keeps alive."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


def key_of(*things: Any) -> Hashable | None:
    """A key of things, equal for what gives the same program; None where that cannot be told.

    Example:
        >>> key_of({"a": [1, 2]}) == key_of({"a": [1, 2]}), key_of({"a": 1}) == key_of({"a": True})
        (True, False)
    """
    try:
        key = (_settings(), *(_key(thing) for thing in things))
        hash(key)
    except (Unkeyed, TypeError, ValueError, RecursionError):
        return None
    return key


def shapes_key(variables: Any) -> Hashable:
    """Structure, shapes and types of variables, as `key_of` takes them."""
    leaves, structure = jax.tree.flatten(variables)
    return structure, tuple((jax.numpy.shape(leaf), str(jax.numpy.result_type(leaf))) for leaf in leaves)


def _settings() -> Hashable:
    tuning = os.environ.get("JAXRF_TUNING")
    read = os.stat(tuning).st_mtime_ns if tuning and os.path.exists(tuning) else None
    values = tuple(str(jax.config.values.get(name)) for name in SETTINGS)
    return jax.default_backend(), tuning, read, jax.sharding.get_abstract_mesh(), *values


def _key(thing: Any, seen: frozenset[int] = frozenset()) -> Hashable:
    """The key of one thing; `seen` are functions and classes that it is part of."""
    if isinstance(thing, Tracer):
        raise Unkeyed
    if isinstance(thing, type):
        return thing, _class_key(thing, seen)
    if isinstance(thing, CONSTANT):
        return type(thing), thing
    if isinstance(thing, types.ModuleType):
        return thing
    if isinstance(thing, nnx.Module):
        return "nnx", nnx.graphdef(thing), _class_key(type(thing), seen)
    if isinstance(thing, jax.Array):
        return _array_key(thing)
    if isinstance(thing, np.ndarray | np.generic):
        return "numpy", thing.shape, str(thing.dtype), thing.tobytes()
    if isinstance(thing, Mapping):
        return "mapping", tuple((_key(name), _key(value, seen)) for name, value in thing.items())
    if isinstance(thing, list | tuple):
        return type(thing), tuple(_key(one, seen) for one in thing)
    if isinstance(thing, partial):
        return "partial", _key(thing.func, seen), _key(thing.args, seen), _key(thing.keywords, seen)
    if callable(thing) and not dataclasses.is_dataclass(thing):
        return _function_key(thing, seen)
    if type(thing).__hash__ is object.__hash__:
        raise Unkeyed  # it may change, and still be the same
    hash(thing)
    return thing, _class_key(type(thing), seen)


def _array_key(array: jax.Array) -> Hashable:
    if array.size > SMALL:
        return "array", Same(array)
    plain = jax.random.key_data(array) if jax.numpy.issubdtype(array.dtype, jax.dtypes.prng_key) else array
    return "array", str(array.dtype), array.shape, np.asarray(plain).tobytes()


def _function_key(function: Any, seen: frozenset[int]) -> Hashable:
    """A function by identity, with what it reads besides its arguments.

    Raises:
        Unkeyed: it holds something that may change without a trace.
    """
    if id(function) in seen:
        return ()
    seen |= {id(function)}
    if isinstance(function, types.MethodType):
        return "method", _function_key(function.__func__, seen), _key(function.__self__, seen)
    if hasattr(function, "__wrapped__") and not isinstance(function, types.FunctionType):  # as what `jax.jit` returns
        return "wrapped", Same(function), _function_key(function.__wrapped__, seen)
    if isinstance(function, types.BuiltinFunctionType | np.ufunc):
        return "built in", Same(function)
    if not isinstance(function, types.FunctionType):
        raise Unkeyed
    names = _names(function.__code__)
    held = sorted(_read(function).items())
    defaults = _key((function.__defaults__, function.__kwdefaults__), seen)
    return "function", Same(function), defaults, tuple((name, _held_key(one, seen, names)) for name, one in held)


def _read(function: types.FunctionType) -> dict[str, Any]:
    """What a function reads from around it: variables that it closes over, and globals, unless it is installed."""
    code, cells = function.__code__, function.__closure__ or ()
    held = {name: cell.cell_contents for name, cell in zip(code.co_freevars, cells) if _filled(cell)}
    if _installed(code.co_filename):
        return held
    return {**{name: function.__globals__[name] for name in _globals(code) if name in function.__globals__}, **held}


def _filled(cell: Any) -> bool:
    """Whether a variable of a closure is set."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


@cache
def _globals(code: types.CodeType) -> frozenset[str]:
    """Names of the globals that code reads, with those of functions inside of it."""
    own = {one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return frozenset(own).union(*map(_globals, _inside(code)))


@cache
def _names(code: types.CodeType) -> frozenset[str]:
    """Names that code uses for globals and attributes, with those of functions inside of it."""
    return frozenset(code.co_names).union(*map(_names, _inside(code)))


def _inside(code: types.CodeType) -> list[types.CodeType]:
    return [one for one in code.co_consts if isinstance(one, types.CodeType)]


def _held_key(value: Any, seen: frozenset[int], names: frozenset[str]) -> Hashable:
    """The key of what a function holds: arrays of JAX by identity, since they stay what they are.

    Args:
        value: held by the function.
        seen: functions, classes and modules that it is part of.
        names: that the function may use as attributes of it.
    """
    if isinstance(value, types.ModuleType):
        return value, _attributes(value, seen, names)
    if isinstance(value, type):
        return value, _class_key(value, seen), _attributes(value, seen, names)
    if isinstance(value, Mapping):
        return "mapping", tuple((_key(name), _held_key(one, seen, names)) for name, one in value.items())
    if isinstance(value, list | tuple):
        return type(value), tuple(_held_key(one, seen, names) for one in value)
    if isinstance(value, jax.Array) and not isinstance(value, Tracer):
        return Same(value)
    if isinstance(value, np.ndarray | nnx.Module | nnx.Variable):
        raise Unkeyed
    return _key(value, seen)


def _class_key(cls: type, seen: frozenset[int]) -> Hashable:
    """What the methods of a class that is not installed read, from the class and from around it."""
    if id(cls) in seen or _installed(_file(cls)):
        return ()
    inner = seen | {id(cls)}
    methods = [value for base in cls.__mro__ for value in vars(base).values() if isinstance(value, types.FunctionType)]
    codes = [inspect.unwrap(method).__code__ for method in methods]
    own = [m for m, code in zip(methods, codes) if not _installed(code.co_filename) and code.co_filename != GENERATED]
    names = frozenset().union(*(_names(inspect.unwrap(method).__code__) for method in own))
    return tuple(_function_key(method, inner) for method in own), _attributes(cls, seen, names)


def _attributes(thing: Any, seen: frozenset[int], names: frozenset[str]) -> Hashable:
    """The keys of attributes that a module or a class of the user's has under some of the names.

    Fields of dataclasses are left out, which belong to their instances.
    """
    if id(thing) in seen or _installed(_file(thing)):
        return ()
    bases = thing.__mro__ if isinstance(thing, type) else [thing]
    fields = getattr(thing, "__dataclass_fields__", {}) if isinstance(thing, type) else {}
    found = {name: vars(base)[name] for base in bases for name in names if name in vars(base) and name not in fields}
    plain = {name: one for name, one in found.items() if not (isinstance(thing, type) and hasattr(one, "__get__"))}
    return tuple((name, _held_key(one, seen | {id(thing)}, names)) for name, one in sorted(plain.items()))


def _file(thing: Any) -> str:
    """Where a module, or the module of a class, lies."""
    module = sys.modules.get(thing.__module__) if isinstance(thing, type) else thing
    return getattr(module, "__file__", None) or ""


def _installed(file: str) -> bool:
    """Whether code is part of a package, of Python, or of jaxrf, whose own names nobody sets anew."""
    return file.startswith(PACKAGE) or "site-packages" in file or file.startswith(PYTHON) or file.startswith("<frozen")
