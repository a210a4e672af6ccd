"""Flax Linen modules as subjects: `module.apply`, with a tap on the output of every submodule."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen as nn
from flax.core import meta
from flax.errors import FlaxError, ModifyScopeVariableError

from jaxrf.adapters.fit import check_fit
from jaxrf.adapters.subject import Call, CallAgain, PyTree, Subject, concrete, count, shapes_of
from jaxrf.adapters.tap import active, inside, tap
from jaxrf.errors import InputError

# Methods that Linen itself calls on modules and that are not layers.
NOT_LAYERS = frozenset({"setup", "initialize_carry"})
ONLY_APPLY = frozenset({"rngs", "mutable", "capture_intermediates"})


REDRAWS = False


def accepts(model: Any) -> bool:
    """Whether `model` is a Linen module, or the class of one (which `build` refuses with an explanation)."""
    return isinstance(model, nn.Module) or (isinstance(model, type) and issubclass(model, nn.Module))


def variables_of(model: Any, variables: PyTree | None) -> PyTree | None:
    """Those given: a model of this kind brings none along."""
    return variables


def build(model: nn.Module, variables: PyTree | None, call: Call) -> Subject:
    """The subject of a Linen module.

    `call.kwargs` go to `module.apply`, so they may hold `rngs` and `mutable` too.
    Every random stream (dropout and the like) is drawn from one fixed key.
    In train mode the collections that the call changes are made mutable, and the changes are dropped.
    """
    if isinstance(model, type):
        raise InputError(f"{model.__name__} is a class; needed is a module. Pass {model.__name__}(...).")
    name = type(model).__name__
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)} | dict(call.keywords.get("rngs", {}))
    first = _first_call(model, call, rngs)
    init = jax.jit(lambda key: first(key)[1])  # the forward pass of the initialization is left out by the compiler
    fn = _apply(model, call, rngs)
    with call.explaining(name):
        if variables is None:
            outputs, abstract = jax.eval_shape(first, jax.random.key(0))
        else:
            abstract = shapes_of(variables, name)
            outputs = _fitted(name, call, first, abstract)
            if outputs is None:
                outputs = jax.eval_shape(fn, abstract, call.images())
    given = None if variables is None else concrete(variables)
    return call.subject(name, fn, given, abstract, init, outputs)


def _first_call(
    model: nn.Module, call: Call, rngs: Mapping[str, jax.Array]
) -> Callable[[jax.Array], tuple[PyTree, PyTree]]:
    """What the call that initializes the model returns, and the variables that it makes."""
    keywords = {name: value for name, value in call.keywords.items() if name not in ONLY_APPLY}

    def first(key: jax.Array) -> tuple[PyTree, PyTree]:
        image = jax.numpy.zeros(call.images().shape, call.dtype)
        return model.init_with_output({**rngs, "params": key}, *call.arguments(image), method=call.method, **keywords)

    return first


def _apply(model: nn.Module, call: Call, rngs: Mapping[str, jax.Array]) -> Callable[[PyTree, jax.Array], PyTree]:
    """The call of the model; where it turns out to change collections, as in train mode, they are made mutable.

    Not before: some models take mutable collections for a sign that they are trained.
    """
    keywords = {"mutable": False, **call.keywords, "rngs": dict(rngs)}

    def apply(variables: PyTree, images: jax.Array) -> PyTree:
        result = model.apply(variables, *call.arguments(images), method=call.method, **keywords)
        return result if keywords["mutable"] is False else result[0]

    def fn(variables: PyTree, images: jax.Array) -> PyTree:
        try:
            if not active():
                return apply(variables, images)
            with nn.intercept_methods(_Tapping(variables)):
                return apply(variables, images)
        except ModifyScopeVariableError:
            if keywords["mutable"] is not False:
                raise
            keywords["mutable"] = [collection for collection in variables if collection != "params"]
            if active():
                raise CallAgain from None
            return apply(variables, images)

    return fn


def _fitted(name: str, call: Call, first: Callable[[jax.Array], tuple[PyTree, PyTree]], found: PyTree) -> PyTree | None:
    """Shapes of the outputs, as the initialization gives them, whose variables those `found` are compared with.

    None for a model that cannot be initialized this way: it is judged by whether it runs.
    """
    try:
        outputs, expected = jax.eval_shape(first, jax.random.key(0))
    except (FlaxError, TypeError, ValueError):
        return None
    # A model may know more variables than this call uses, such as those of an auxiliary head.
    check_fit(name, call, meta.unbox(expected), meta.unbox(found), extra=True)
    return outputs


class _Tapping:
    """A method interceptor that taps what modules return, for the length of one call of the model.

    `__call__` of a module is tapped under the module's path.
    Another method is tapped as `path.method` where something else than the module itself calls it.
    The module that the user handed in is not tapped: what it returns are the outputs.
    Nor is one without a place in it, as made without `super().__init__()` or with `parent=None`: it has no path.
    """

    def __init__(self, variables: PyTree):
        self.parameters = variables.get("params", {}) if isinstance(variables, Mapping) else {}
        self.frames: list[tuple[tuple[str, ...], str]] = []

    def __call__(
        self, call_next: Callable[..., Any], args: tuple, kwargs: dict, context: nn.module.InterceptorContext
    ) -> Any:
        module, method = context.module, context.method_name
        # Lifted classes (nn.remat, nn.scan, ...) first run an unnamed function, and in it the inner module's method.
        if method in NOT_LAYERS or not method.isidentifier() or getattr(module, "scope", None) is None:
            return call_next(*args, **kwargs)
        frame = path, method = module.path, method
        layer = not self.frames or self._is_layer_call(frame)
        name = "/".join(path) + (f".{method}" if path and method != "__call__" else "")
        self.frames.append(frame)
        try:
            with inside(name) if layer else contextlib.nullcontext():
                result = call_next(*args, **kwargs)
        finally:
            self.frames.pop()
        if not (layer and path):
            return result
        return tap(result, name, kind=type(module).__name__, parameters=self._count(path))

    def _is_layer_call(self, frame: tuple[tuple[str, ...], str]) -> bool:
        path, method = frame
        if method == "__call__":
            return frame not in self.frames  # it is there when `super().__call__` runs
        return self.frames[-1][0] != path

    def _count(self, path: tuple[str, ...]) -> int:
        tree = self.parameters
        for part in path:
            tree = tree[part] if isinstance(tree, Mapping) and part in tree else {}
        return count(tree)
