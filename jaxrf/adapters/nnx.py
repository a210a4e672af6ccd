"""Flax NNX modules as subjects: every call merges a copy and taps its submodules; the user's object stays as it is."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxrf.adapters.fit import check_fit
from jaxrf.adapters.makers import parameters, required
from jaxrf.adapters.subject import Call, PyTree, Subject, concrete, count, shapes_of
from jaxrf.adapters.tap import active, inside, tap
from jaxrf.errors import InputError

# Where a tapped module carries what `tap` is told of it; as a static attribute it survives nnx.scan and nnx.jit.
LABEL = "_jaxrf_label"


REDRAWS = False


def accepts(model: Any) -> bool:
    """Whether `model` is an NNX module, an NNX class, or a function of `rngs` that returns a module."""
    return isinstance(model, nnx.Module) or _is_module_class(model) or required(model) == ["rngs"]


def variables_of(model: Any, variables: PyTree | None) -> PyTree | None:
    """Those given, or the state that an instance brings along."""
    return nnx.state(model) if variables is None and isinstance(model, nnx.Module) else variables


def build(model: Any, variables: PyTree | None, call: Call) -> Subject:
    """The subject of an NNX module, or of a class or function that makes one from `rngs`.

    An instance brings its own state, which `variables` (a full `nnx.state(model)`, or its pure dict) replaces.
    It cannot be initialized at random: its class may have built it from arguments that are gone.
    A class, a `functools.partial` of one, or a function `make(rngs)` can be initialized at random.
    Train or eval mode is as the module is; what a call changes in the state is dropped.
    """
    if isinstance(model, nnx.Module):
        name, init = type(model).__name__, None
        graphdef, own = nnx.split(model)
        state = own if variables is None else variables
    else:
        name, init, graphdef, own = _factory(model)
        state = variables
    abstract = shapes_of(own if variables is None else variables, name)
    check_fit(name, call, own, abstract, extra=False)
    fn = _apply(graphdef, call, name)
    with call.explaining(name):
        outputs = jax.eval_shape(fn, abstract, call.images())
    given = None if state is None else concrete(state)
    return call.subject(name, fn, given, abstract, init, outputs)


def _factory(make: Callable[..., nnx.Module]) -> tuple[str, Callable[[jax.Array], PyTree], Any, PyTree]:
    name = getattr(getattr(make, "func", make), "__name__", "make")
    if required(make) not in (["rngs"], []):
        raise InputError(
            f"{name} needs the arguments {required(make)}; a class must be callable with rngs alone. "
            f"Pass functools.partial({name}, ...) with the others set, or an instance."
        )
    takes_rngs = "rngs" in parameters(make)

    def module(key: jax.Array) -> nnx.Module:
        made = make(rngs=nnx.Rngs(key)) if takes_rngs else make()
        if not isinstance(made, nnx.Module):
            raise InputError(f"{name}(rngs=...) returns a {type(made).__name__}; needed is an NNX module.")
        return made

    graphdef, abstract = nnx.split(nnx.eval_shape(lambda: module(jax.random.key(0))))
    init = jax.jit(lambda key: nnx.split(module(key))[1])
    return name, init, graphdef, abstract


def _apply(graphdef: Any, call: Call, name: str) -> Callable[[PyTree, jax.Array], PyTree]:
    def fn(state: PyTree, images: jax.Array) -> PyTree:
        module = nnx.merge(graphdef, state, copy=True)
        if active():
            _tap_submodules(module)
        with inside(""):
            return method_of(module)(*call.arguments(images), **call.keywords)

    def method_of(module: nnx.Module) -> Callable[..., PyTree]:
        if callable(call.method):
            return functools.partial(call.method, module)
        method = getattr(module, call.method or "__call__", None)
        if method is None:
            raise InputError(
                f"The NNX module {name} has no method {call.method or '__call__'!r}. Say which to call with method=."
            )
        return method

    return fn


def _tap_submodules(module: nnx.Module) -> None:
    """Give every submodule of a private copy the class that taps its calls."""
    submodules = [(path, inner) for path, inner in nnx.iter_modules(module) if path and _has_call(type(inner))]
    for path, inner in submodules:
        parameters = count(nnx.state(inner, nnx.Param))
        setattr(inner, LABEL, ("/".join(map(str, path)), type(inner).__name__, parameters, _remark(inner)))
    for _, inner in submodules:
        inner.__class__ = _tapped(type(inner))


def _remark(module: nnx.Module) -> str:
    """What `model.eval()` would change about a module."""
    if getattr(module, "use_running_average", None) is False:
        return "in train mode, where images see each other; model.eval() makes it use its running averages"
    return "in train mode; model.eval() switches it off" if getattr(module, "deterministic", None) is False else ""


@functools.cache
def _tapped(cls: type[nnx.Module]) -> type[nnx.Module]:
    """A subclass of `cls` that taps what its `__call__` returns; one per class, since flax and JAX register it."""

    def __call__(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
        name, kind, parameters, remark = getattr(self, LABEL)
        with inside(name):
            result = cls.__call__(self, *args, **kwargs)
        return tap(result, name, kind=kind, parameters=parameters, remark=remark)

    members = {"__call__": __call__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return types.new_class(cls.__name__, (cls,), exec_body=lambda body: body.update(members))


def _is_module_class(model: Any) -> bool:
    inner = model.func if isinstance(model, functools.partial) else model
    return isinstance(inner, type) and issubclass(inner, nnx.Module)


def _has_call(cls: type) -> bool:
    # hasattr(cls, "__call__") is always true: it finds the metaclass's.
    return any("__call__" in vars(base) for base in cls.__mro__)
