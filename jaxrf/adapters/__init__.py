"""Models of every kind as subjects: pure functions with shapes, whose layers carry taps.

Comes in: a model as its user has it, with how it is called. Goes out: a `Subject`.
Invariants: taps change no value; the user's object stays as it is, and no class of the user is patched.
Words: a *tap* is an operation that changes nothing and carries the name of a layer.
One more kind of model is a file with `accepts(model)`, `variables_of(model, variables)`, `build(model, variables, call)`
and `REDRAWS` (whether a model that brings its variables along can be drawn anew), and a place in `KINDS`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from jaxrf.adapters import equinox, function, haiku, keras, linen, nnx, pytorch
from jaxrf.adapters.fit import check_finite
from jaxrf.adapters.ids import on_embeddings
from jaxrf.adapters.subject import PyTree, Subject, make_call
from jaxrf.adapters.tap import intercepting
from jaxrf.errors import InputError

__all__ = ["KINDS", "Subject", "adapt", "can_draw", "check_finite", "intercepting", "is_model", "variables_of"]

# The first that accepts a model builds it: functions stand last, since modules can be called too, and PyTorch, whose makers
# take no argument, behind those whose models seem to take none.
KINDS = (linen, nnx, haiku, equinox, keras, pytorch, function)


def variables_of(model: Any, variables: PyTree | None) -> PyTree | None:
    """The variables to run a model with: those given, else those that a module brings along, else None."""
    kind = _kind(model)
    return variables if kind is None else kind.variables_of(model, variables)


def can_draw(model: Any) -> bool:
    """Whether a model that brings its variables along can be drawn anew, as PyTorch modules can."""
    kind = _kind(model)
    return kind is not None and kind.REDRAWS


def is_model(thing: Any) -> bool:
    """Whether `thing` is a model itself, and not a function, or a class or function that makes one.

    Example:
        >>> is_model(lambda x: x)
        False
    """
    maker = isinstance(thing, type | functools.partial) or inspect.isroutine(thing)
    return not maker and any(kind.accepts(thing) for kind in KINDS if kind is not function)


def _kind(model: Any) -> ModuleType | None:
    return next((kind for kind in KINDS if kind.accepts(model)), None)


def adapt(
    model: Any,
    input_shape: Sequence[int],
    *,
    variables: PyTree | None = None,
    method: str | Callable[..., Any] | None = None,
    apply_kwargs: Mapping[str, Any] | None = None,
    args: tuple[Any, ...] | None = None,
    spatial_axes: tuple[int, ...] | None = None,
    dtype: Any = np.float32,
    embedding: str | None = None,
) -> Subject:
    """The subject of a model: what it computes as a pure function of its variables and a batch of images.

    The model is evaluated once on shapes only, so that what does not fit is said here; no weights are made or read.

    Args:
        model: a Linen module; an NNX module, or a class or function `make(rngs)` that makes one;
            a PyTorch module, or a class or function that makes one without arguments;
            an Equinox module, or a class or function `make(key)`; what `hk.transform` returns; a Keras model on JAX;
            a function `f(x)` or `f(variables, x)`.
        input_shape: shape of one image, without the batch axis, such as (224, 224, 3).
        variables: the model's variables, or their shapes.
            None: the model's own, if it holds them; otherwise only shapes are known until `Subject.initialize`.
        method: what to call on a module, by name or as a function whose first argument is the module; None: `__call__`.
        apply_kwargs: keyword arguments of the call, such as `{"train": False}`.
            For Linen they go to `module.apply`, and may hold `rngs` and `mutable`.
        args: positional arguments of the call with `...` in the place of the image; None: the image alone.
            The others are the same for all images and must fit one, as scalars and arrays with a leading axis of 1 do.
        spatial_axes: axes of the batched input that are positions; None: all between batch and features, which stand last,
            or first for PyTorch and Equinox.
        dtype: of the images; of a whole-number one they are ids of tokens (*positions), all of whose axes are positions.
        embedding: of ids, the layer at which the derivative begins; None for the first one with features for each id.

    Returns:
        A `Subject`, of floating-point images in any case.

    Raises:
        InputError: the model is of no known kind, cannot take such an input, or has other variables than those given.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxrf.adapters import adapt
        >>> subject = adapt(lambda x: jnp.tanh(x).mean((1, 2)), (5, 7, 3))
        >>> subject.spatial_axes
        (1, 2)
    """
    call = make_call(
        input_shape, dtype=dtype, spatial_axes=spatial_axes, args=args, apply_kwargs=apply_kwargs, method=method
    )
    if (kind := _kind(model)) is not None:
        subject = kind.build(model, variables, call)
        return on_embeddings(subject, embedding) if np.issubdtype(call.dtype, np.integer) else subject
    found = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
    raise InputError(
        f"The model is {found}; needed is a model of Linen, NNX, PyTorch, Haiku, Equinox or Keras, or a function f(x) or "
        "f(variables, x). Wrap other models in a function, for instance lambda variables, x: net.apply(variables, x)."
    )
