"""Keras models on JAX as subjects: `model.stateless_call`, with a tap on what each layer returns.

Keras is imported by those who use it.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxrf.adapters.fit import check_fit
from jaxrf.adapters.subject import Call, PyTree, Subject, concrete, shapes_of
from jaxrf.adapters.tap import active, inside, tap
from jaxrf.errors import InputError

REDRAWS = False
_running: contextvars.ContextVar[tuple[Any, str] | None] = contextvars.ContextVar("jaxrf_keras_layer", default=None)
"""The innermost layer whose call is running, and its path; None outside of `tapping`."""
_lock = threading.Lock()
_users = 0


def accepts(model: Any) -> bool:
    """Whether `model` is a model or layer of Keras, on whatever it runs; PyTorch's are PyTorch modules."""
    library = _library()
    return library is not None and isinstance(model, library.Layer) and library.backend.backend() != "torch"


def variables_of(model: Any, variables: PyTree | None) -> PyTree | None:
    """Those given, or what the model holds, by name."""
    if variables is not None or not accepts(model):
        return variables
    return {name: one.value for name, one in _named(model).items() if jnp.issubdtype(one.dtype, jnp.floating)}


def build(model: Any, variables: PyTree | None, call: Call) -> Subject:
    """The subject of a Keras model that was built.

    Its variables are a dict by path, without the model's own name in front. `training` is False unless it is given.
    It cannot be initialized at random: its layers do not remember their initializers.
    """
    library = _library()
    name = model.name
    if library.backend.backend() != "jax":
        raise InputError(
            f"{name} is a Keras model on {library.backend.backend()}; needed is one on JAX. "
            "Set the environment variable KERAS_BACKEND=jax before Keras is imported."
        )
    if not model.built:
        shape = ", ".join(map(str, call.input_shape))
        raise InputError(f"{name} has no weights yet. Build it first: model.build((None, {shape})).")
    if call.method is not None:
        raise InputError(f"method={call.method!r} was given, and a Keras model is called as it is. Pass a function.")
    state = variables_of(model, variables)
    own = variables_of(model, None)
    abstract = shapes_of(state, name)
    check_fit(name, call, shapes_of(own, name), abstract, extra=False)
    keywords = {"training": False, **call.keywords}

    def fn(variables: PyTree, images: jax.Array) -> PyTree:
        def values(group: list[Any]) -> list[Any]:
            named = {id(one): label for label, one in _named(model).items()}
            return [variables.get(named[id(one)], one.value) for one in group]

        trained, other = values(model.trainable_variables), values(model.non_trainable_variables)
        with tapping(model):
            return model.stateless_call(trained, other, *call.arguments(images), **keywords)[0]

    with call.explaining(name):
        outputs = jax.eval_shape(fn, abstract, call.images())
    return call.subject(name, fn, concrete(state), abstract, None, outputs)


@contextlib.contextmanager
def tapping(model: Any = None) -> Iterator[None]:
    """Inside, what layers of Keras return passes through taps, while these do something; also in functions of a user's.

    Keras has no hooks: `Layer.__call__` is another one meanwhile, which does nothing more in other threads.

    Args:
        model: the one below which names begin; None in a function, where the models that it calls are layers too.
    """
    library = _library()
    if library is None or not active():
        yield
        return
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            library.Layer.__call__ = _tapped(library.Layer.__call__)
    token = _running.set((model, ""))
    try:
        yield
    finally:
        _running.reset(token)
        with _lock:
            _users -= 1
            if _users == 0:
                library.Layer.__call__ = library.Layer.__call__.plain


def _tapped(plain: Any) -> Any:
    """`Layer.__call__` with a tap behind it."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        running = _running.get()
        if running is None or running[0] is self:
            return plain(self, *args, **kwargs)
        path = f"{running[1]}/{self.name}".removeprefix("/")
        token = _running.set((self, path))
        try:
            with inside(path):
                result = plain(self, *args, **kwargs)
        finally:
            _running.reset(token)
        return tap(result, path, kind=type(self).__name__, parameters=self.count_params())

    __call__.plain = plain  # type: ignore[attr-defined]
    return __call__


def _named(model: Any) -> dict[str, Any]:
    """Variables by their paths, without the name of the model in front; equal paths get numbers."""
    named: dict[str, Any] = {}
    for one in model.variables:
        path = one.path.removeprefix(f"{model.name}/")
        label, number = path, 0
        while label in named:
            number += 1
            label = f"{path}_{number}"
        named[label] = one
    return named


def _library() -> Any:
    """Keras 3, where it was imported; it is not imported to see that a model is something else."""
    found = sys.modules.get("keras")
    return found if hasattr(found, "Layer") and hasattr(found, "backend") else None
