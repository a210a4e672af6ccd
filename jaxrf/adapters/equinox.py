"""Equinox modules as subjects: every call runs a copy whose inner modules tap what they return.

Equinox is imported by those who use it. Its modules take one image without a batch, and are mapped over the batch.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import jax
import numpy as np

from jaxrf.adapters.fit import check_fit
from jaxrf.adapters.makers import required
from jaxrf.adapters.subject import Call, PyTree, Subject, concrete, count, leaf_name, shapes_of
from jaxrf.adapters.tap import active, inside, tap
from jaxrf.errors import InputError

LABEL = "_jaxrf_label"
"""Where a tapped module carries what `tap` is told of it: a static field, which survives every transformation."""
BATCH = "batch"
"""Name of the axis over which a module is mapped, for layers that ask for one."""
REDRAWS = False


def accepts(model: Any) -> bool:
    """Whether `model` is an Equinox module that can be called, a class of one, or a function of `key` where Equinox is in use."""
    library = _library()
    if library is None or not callable(model):
        return False
    if isinstance(model, library.Module):
        return True
    inner = model.func if isinstance(model, functools.partial) else model
    return (isinstance(inner, type) and issubclass(inner, library.Module)) or required(model) == ["key"]


def variables_of(model: Any, variables: PyTree | None) -> PyTree | None:
    """The floating-point arrays, or shapes of such, of what is given, or else of an instance."""
    library = _library()
    held = model if variables is None and isinstance(model, library.Module) else variables
    return None if held is None else library.filter(held, _is_floating)


def build(model: Any, variables: PyTree | None, call: Call) -> Subject:
    """The subject of an Equinox module, or of a class or function that makes one from `key`.

    Its variables are the module itself with nothing but floating-point arrays, which another one of the same structure
    replaces. Whole numbers and functions that it holds are constants.
    An instance cannot be initialized at random; a class, a `functools.partial` of one, or a function `make(key)` can.
    """
    library = _library()
    if isinstance(model, library.Module):
        name, init = type(model).__name__, None
        own, rest = library.partition(model, library.is_inexact_array)
    else:
        name, init, own, rest = _made(model, library)
    values = variables_of(model, variables)
    call = call.channels_first()
    abstract = shapes_of(own if values is None else values, name)
    check_fit(name, call, shapes_of(own, name), abstract, extra=False)

    def fn(variables: PyTree, images: jax.Array) -> PyTree:
        module = library.combine(variables, rest)
        module = _tapped_parts(module, (), library) if active() else module
        method = _method(module, call.method, name)
        with inside(""):
            return jax.vmap(lambda x: method(*call.arguments(x), **call.keywords), axis_name=BATCH)(images)

    with call.explaining(name):
        outputs = jax.eval_shape(fn, abstract, call.images())
    return call.subject(name, fn, None if values is None else concrete(values), abstract, init, outputs)


def _is_floating(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape") and jax.numpy.issubdtype(leaf.dtype, np.inexact)


def _made(make: Callable[..., Any], library: Any) -> tuple[str, Callable[[jax.Array], PyTree], PyTree, PyTree]:
    """Name, initializer, shapes of the arrays, and all else of what a class or function makes from `key`."""
    name = getattr(getattr(make, "func", make), "__name__", "make")
    if (needed := required(make)) not in (["key"], []):
        raise InputError(
            f"{name} needs the arguments {needed}; a class must be callable with key alone. "
            f"Pass functools.partial({name}, ...) with the others set, or an instance."
        )

    def module(key: jax.Array) -> Any:
        made = make(key=key) if needed else make()
        if not isinstance(made, library.Module):
            raise InputError(f"{name}(key=...) returns a {type(made).__name__}; needed is an Equinox module.")
        return made

    shapes = library.filter_eval_shape(module, jax.random.key(0))
    own = library.filter(shapes, _is_floating)
    rest = library.filter(module(jax.random.key(0)), library.is_inexact_array, inverse=True)
    return name, lambda key: library.filter(module(key), library.is_inexact_array), own, rest


def _method(module: Any, method: Any, name: str) -> Callable[..., PyTree]:
    if callable(method):
        return functools.partial(method, module)
    found = getattr(module, method or "__call__", None)
    if found is None:
        raise InputError(f"The module {name} has no method {method or '__call__'!r}. Say which to call with method=.")
    return found


def _tapped_parts(module: Any, path: tuple[Any, ...], library: Any) -> Any:
    """A copy of a module, all of whose inner modules that can be called are of the class that taps their calls."""

    def part(inner: tuple[Any, ...], value: Any) -> Any:
        return _tapped_parts(value, (*path, *inner), library) if isinstance(value, library.Module) else value

    copy = jax.tree_util.tree_map_with_path(
        part, module, is_leaf=lambda one: isinstance(one, library.Module) and one is not module
    )
    if not path or not callable(module):
        return copy
    tapped = object.__new__(_tapped(type(module), library))
    for one in fields(copy):
        if hasattr(copy, one.name):
            object.__setattr__(tapped, one.name, getattr(copy, one.name))
    parameters = count(library.filter(module, library.is_inexact_array))
    object.__setattr__(tapped, LABEL, (leaf_name(path), type(module).__name__, parameters))
    return tapped


@functools.cache
def _tapped(cls: type, library: Any) -> type:
    """A subclass of `cls` that taps what its `__call__` returns; one per class, since JAX keeps what it registers."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        name, kind, parameters = getattr(self, LABEL)
        with inside(name):
            result = cls.__call__(self, *args, **kwargs)
        return tap(result, name, kind=kind, parameters=parameters)

    members = {
        "__call__": __call__,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__annotations__": {LABEL: tuple},
        LABEL: library.field(static=True, default=("", "", 0)),
    }
    return types.new_class(cls.__name__, (cls,), exec_body=lambda body: body.update(members))


def _library() -> Any:
    """Equinox, where it was imported; it is not imported to see that a model is something else."""
    found = sys.modules.get("equinox")
    return found if hasattr(found, "Module") and hasattr(found, "filter_eval_shape") else None
