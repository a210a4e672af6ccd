"""Haiku functions as subjects: `hk.transform` and `hk.transform_with_state`, with a tap on what each module returns.

Haiku is imported by those who use it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from jaxrf.adapters.fit import check_fit
from jaxrf.adapters.subject import Call, PyTree, Subject, concrete, count, shapes_of
from jaxrf.adapters.tap import active, inside, tap
from jaxrf.errors import InputError

REDRAWS = False


def accepts(model: Any) -> bool:
    """Whether `model` is the pair of functions that `hk.transform` or `hk.transform_with_state` returns."""
    library = _library()
    return library is not None and isinstance(model, library.Transformed | library.TransformedWithState)


def variables_of(model: Any, variables: PyTree | None) -> PyTree | None:
    """Those given: a model of this kind brings none along."""
    return variables


def build(model: Any, variables: PyTree | None, call: Call) -> Subject:
    """The subject of a transformed function.

    Its variables are parameters, or the pair (parameters, state) of `hk.transform_with_state`, as `init` returns them.
    Random streams are drawn from one fixed key; what a call changes in the state is dropped.
    """
    name = getattr(model.apply, "__name__", "Haiku")
    name = getattr(getattr(model.apply, "_original_fn", None), "__name__", name)
    if call.method is not None:
        raise InputError(
            f"method={call.method!r} was given, but {name} is a transformed function. Transform one that calls it."
        )
    stateful = isinstance(model, _library().TransformedWithState)

    def init(key: jax.Array) -> PyTree:
        return model.init(key, *call.arguments(jax.numpy.zeros(call.images().shape, call.dtype)), **call.keywords)

    # `hk.without_apply_rng` leaves no other mark on what it returns.
    rng = () if "without_apply_rng" in model.apply.__qualname__ else (jax.random.key(1),)

    def fn(variables: PyTree, images: jax.Array) -> PyTree:
        given = tuple(variables) if stateful else (variables,)
        with tapping():
            result = model.apply(*given, *rng, *call.arguments(images), **call.keywords)
        return result[0] if stateful else result

    with call.explaining(name):
        if variables is None:
            abstract = jax.eval_shape(init, jax.random.key(0))
        else:
            abstract = shapes_of(variables, name)
            _check(name, call, init, abstract)
        outputs = jax.eval_shape(fn, abstract, call.images())
    return call.subject(name, fn, None if variables is None else concrete(variables), abstract, init, outputs)


def _check(name: str, call: Call, init: Callable[[jax.Array], PyTree], found: PyTree) -> None:
    """Compare variables with those of the initialization, where this call can make them.

    Not all can: batch normalization makes its averages in train mode alone.
    """
    try:
        expected = jax.eval_shape(init, jax.random.key(0))
    except (TypeError, ValueError):
        return
    check_fit(name, call, expected, found, extra=True)


@contextlib.contextmanager
def tapping() -> Iterator[None]:
    """Inside, what Haiku's modules return passes through taps, while these do something; also in functions of a user's."""
    library = _library()
    if library is None or not active():
        yield
        return
    with library.intercept_methods(_interceptor()):
        yield


def _interceptor() -> Callable[..., Any]:
    """Of one call of a model: `__call__` is tapped under the name of the module, which Haiku makes unique."""
    calling: list[Any] = []

    def interceptor(call: Callable[..., Any], args: tuple, kwargs: Mapping[str, Any], context: Any) -> Any:
        module = context.module
        # `super().__call__` is a part of the call that is running.
        if context.method_name != "__call__" or (calling and calling[-1] is module):
            return call(*args, **kwargs)
        calling.append(module)
        try:
            with inside(module.module_name):
                result = call(*args, **kwargs)
        finally:
            calling.pop()
        return tap(result, module.module_name, kind=type(module).__name__, parameters=count(module.params_dict()))

    return interceptor


def _library() -> Any:
    """Haiku, where it was imported; it is not imported to see that a model is something else."""
    found = sys.modules.get("haiku")
    return found if hasattr(found, "Transformed") and hasattr(found, "intercept_methods") else None
