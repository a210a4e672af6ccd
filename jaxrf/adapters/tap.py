"""The tap: an identity that puts a name on a value and on its tangent.

While a model is traced under `recording()`, each tapped value is passed through the primitive `jaxrf_tap`.
Its derivative is itself, so the same name stands on the tangent and marks the layer in the tangent program.
It lowers to nothing: the compiled model is the same with and without taps.
Outside of a recording a tap returns its argument.
"""

from __future__ import annotations

import contextlib
import contextvars
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxrf.errors import InputError

TAP = "jaxrf_tap"
_SCOPE = "jaxrf_layer"
_SCOPES = re.compile(rf"{_SCOPE}<([^>]*)>")

tap_p = Primitive(TAP)
tap_p.def_impl(lambda x, **_: x)
tap_p.def_abstract_eval(lambda x, **_: x)
ad.deflinear2(tap_p, lambda ct, _, **__: [ct])
batching.primitive_batchers[tap_p] = lambda args, dims, **params: (tap_p.bind(args[0], **params), dims[0])
mlir.register_lowering(tap_p, lambda _, x, **__: [x])


@dataclass(frozen=True)
class Tapped:
    """What is known of a tapped module besides its value; `module` is its name, without the place of an output in it."""

    kind: str
    parameters: int | None
    remark: str = ""
    module: str = ""


@dataclass
class Record:
    """The taps met during one trace, by name, in the order of their first call."""

    taps: dict[str, Tapped] = field(default_factory=dict)


Handler = Callable[[str, jax.Array], jax.Array]
_record: contextvars.ContextVar[Record | None] = contextvars.ContextVar("jaxrf_record", default=None)
_handler: contextvars.ContextVar[Handler | None] = contextvars.ContextVar("jaxrf_handler", default=None)


@contextlib.contextmanager
def recording() -> Iterator[Record]:
    """Taps are active inside; yields the `Record` that they fill."""
    record = Record()
    token = _record.set(record)
    try:
        yield record
    finally:
        _record.reset(token)


@contextlib.contextmanager
def intercepting(handler: Handler) -> Iterator[None]:
    """Every tapped array is replaced by `handler(name, array)` while its model is traced inside."""
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)


@contextlib.contextmanager
def passing_on(handler: Handler) -> Iterator[None]:
    """As `intercepting`, for code that is traced inside of another one's: whose handler gets what this one gives."""
    outer = _handler.get()
    with intercepting(lambda name, x: handler(name, x) if outer is None else outer(name, handler(name, x))):
        yield


def inside(*names: str) -> contextlib.AbstractContextManager[Any]:
    """Operations that are traced inside belong to a layer, and to those around it, the outermost first; "" is the model.

    A tap stands behind its layer, so it cannot tell what the layer computed from what its parent did before.
    The name goes into JAX's name stack, which reaches the derivative of an operation.
    """
    scope = "/".join(f"{_SCOPE}<{name}>" for name in names)
    return jax.named_scope(scope) if _record.get() is not None else contextlib.nullcontext()


def owners(name_stacks: Iterable[Any]) -> tuple[str, ...]:
    """The layers that an operation is in, the outermost first; none if it was traced in no module's call.

    Args:
        name_stacks: of the operation and of the calls around it, the innermost first.
    """
    names: list[str] = []
    for stack in name_stacks:
        names = [*_SCOPES.findall(str(stack)), *names]
    return tuple(dict.fromkeys(names))


def active() -> bool:
    """Whether taps do anything now."""
    return _record.get() is not None or _handler.get() is not None


def tap(x: Any, name: str, *, kind: str = "", parameters: int | None = None, remark: str = "") -> Any:
    """Name a layer: `x` itself, known as `name` in the tables and maps of jaxrf.

    Args:
        x: an array, or a pytree of arrays; a pytree's leaves are named `name` and the leaf's key path.
        name: a name that reads well in a table; a repeated one is numbered `name`, `name#1`, ...
        kind: what the table shows as the layer's kind.
        parameters: how many parameters the layer has, if known.
        remark: what messages about its operations add, such as the mode that it is in.

    Returns:
        `x`, unchanged.

    Example:
        >>> import jax.numpy as jnp, jaxrf
        >>> def model(x):
        ...     return jaxrf.tap(jnp.sin(x), "sine") ** 2
        >>> float(model(jnp.zeros(())))
        0.0
    """
    if not isinstance(name, str):
        raise InputError(f"The name of a tap is {name!r}. Give a text that reads well in a table.")
    record, handler = _record.get(), _handler.get()
    if record is None and handler is None:
        return x

    def leaf(path: tuple, value: Any) -> Any:
        if not hasattr(value, "dtype") or not jnp.issubdtype(value.dtype, jnp.inexact):
            return value
        full = name + jax.tree_util.keystr(path)
        if handler is not None:
            value = handler(full, value)
        if record is not None:
            record.taps.setdefault(full, Tapped(kind, parameters, remark, name))
            value = tap_p.bind(value, name=full)
        return value

    return jax.tree_util.tree_map_with_path(leaf, x)
