"""Plain functions `f(x)` and `f(variables, x)` as subjects.

Their layers are what `jaxrf.tap` names in the user's code, and the modules of Haiku and Keras that they call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax

from jaxrf.adapters import haiku, keras
from jaxrf.adapters.subject import Call, PyTree, Subject, concrete, shapes_of
from jaxrf.errors import InputError

REDRAWS = False


def accepts(model: Any) -> bool:
    """Whether `model` can be called and is not a class."""
    return callable(model) and not isinstance(model, type)


def variables_of(model: Any, variables: PyTree | None) -> PyTree | None:
    """Those given: a model of this kind brings none along."""
    return variables


def build(model: Callable[..., Any], variables: PyTree | None, call: Call) -> Subject:
    """The subject of a function.

    A function with one required positional parameter more than the call has arguments is `f(variables, x)`.
    Its variables are those given, or come from its attribute `init(key)`.
    """
    name = _name(model)
    if call.method is not None:
        raise InputError(f"method={call.method!r} was given, but {name} is a function. Pass the function to call.")
    if not _takes_variables(model, name, variables, call):
        return _closed(model, name, call)
    init = getattr(model, "init", None)
    if variables is None and init is None:
        raise InputError(
            f"{name} is read as {name}(variables, x), since it has one required parameter more than args; "
            "it needs variables. Pass variables=, or give it an attribute init(key), or close over them: "
            f"lambda x: {name}(variables, x). If the parameter is a second input, pass args=(..., value)."
        )

    def fn(variables: PyTree, images: jax.Array) -> PyTree:
        with haiku.tapping(), keras.tapping():
            return model(variables, *call.arguments(images), **call.keywords)

    with call.explaining(name):
        if variables is None and init is not None:
            shapes = jax.eval_shape(init, jax.random.key(0))
        else:
            shapes = shapes_of(variables, name)
        outputs = jax.eval_shape(fn, shapes, call.images())
    given = None if variables is None else concrete(variables)
    return call.subject(name, fn, given, shapes, init, outputs)


def _closed(model: Callable[..., Any], name: str, call: Call) -> Subject:
    """The subject of `f(x)`, whose variables are the empty tuple."""

    def fn(variables: PyTree, images: jax.Array) -> PyTree:
        with haiku.tapping(), keras.tapping():
            return model(*call.arguments(images), **call.keywords)

    with call.explaining(name):
        outputs = jax.eval_shape(fn, (), call.images())
    return call.subject(name, fn, (), (), None, outputs)


def _takes_variables(model: Callable[..., Any], name: str, variables: PyTree | None, call: Call) -> bool:
    needed, given = _required_count(model, call), len(call.args)
    if needed == given + 1:
        return True
    if needed == given and not jax.tree.leaves(variables):
        return False
    if needed == given:
        raise InputError(
            f"Variables were given, but {name} takes no more than the {given} argument(s) of args. "
            f"Leave variables away, or pass a function {name}(variables, x)."
        )
    found = "no signature that can be read" if needed is None else f"{needed} required positional parameter(s)"
    raise InputError(
        f"{name} has {found}; with {given} argument(s) in args it is neither {name}(x) nor {name}(variables, x). "
        f"Wrap it: lambda x: {name}(x), or lambda variables, x: {name}(variables, x); "
        "arguments besides the image go into args=(..., value) or apply_kwargs."
    )


def _required_count(model: Callable[..., Any], call: Call) -> int | None:
    try:
        parameters = inspect.signature(model).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty and p.name not in call.keywords for p in parameters)


def _name(model: Any) -> str:
    inner = getattr(model, "func", model)
    return getattr(inner, "__name__", type(inner).__name__)
