"""What classes and functions that make models ask for: their parameters, as those who call them see them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def required(model: Any) -> list[str] | None:
    """The names of the parameters without a default; None where `model` has no signature.

    Example:
        >>> required(lambda x, y=1, **rest: None)
        ['x']
    """
    if not callable(model):
        return None
    try:
        found = parameters(model).values()
    except (TypeError, ValueError):
        return None
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in found if p.default is p.empty and p.kind not in variadic]


def parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a call of `make`; of a class those of its `__init__`, which some metaclasses hide.

    Raises:
        TypeError, ValueError: `make` has no signature.
    """
    inner, args, keywords = make, (), {}
    if isinstance(make, functools.partial):
        inner, args, keywords = make.func, make.args, make.keywords
    if isinstance(inner, type):
        inner, args = inner.__init__, (None, *args)
    return inspect.signature(functools.partial(inner, *args, **keywords)).parameters
