"""Measures that move in steps: JAX would give them the gradient zero, and so they refuse to have one.

A count of entries above a threshold, or the first square that holds a share, does not move with a small change of the
map; where it moves, it jumps. A loss made of it would not be trained, silently.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.statistics.measures.arrays import namespace


def in_steps(instead: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare that a measure moves in steps, and which one to differentiate instead.

    Its values under `jit` and `vmap` are as they were; `jax.grad` and whatever else asks for a derivative by the maps,
    or by the place of the unit, raise an InputError.
    """

    def mark(measure: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(measure)
        def stepped(maps: Any, *options: Any, **named: Any) -> Any:
            given = {"": maps, **named}
            arrays = {name: value for name, value in given.items() if namespace(value) is not np}

            def on(arrays: dict[str, Any]) -> Any:
                both = {**given, **arrays}
                return measure(both.pop(""), *options, **both)

            return without_derivative(on, measure.__name__, instead)(arrays)

        stepped.instead = instead  # type: ignore[attr-defined]
        return stepped

    return mark


def without_derivative(
    function: Callable[..., Any], name: str, instead: str, of: str = "the map"
) -> Callable[..., Any]:
    """`function` of arrays, which raises an InputError where JAX asks for its derivative by them."""

    def refuse(primals: Any, tangents: Any) -> Any:
        raise InputError(
            f"The measure {name!r} is a step function of {of}: its derivative is zero, or does not exist. "
            f"Differentiate a smooth one, such as {instead!r}, or measure jax.lax.stop_gradient of {of} to have the value "
            "alone."
        )

    def call(argument: Any) -> Any:
        arrays = argument.values() if isinstance(argument, dict) else (argument,)
        if namespace(*arrays) is np:
            return function(argument)
        from jax import custom_jvp

        guarded = custom_jvp(function)
        guarded.defjvp(refuse)
        return guarded(argument)

    return call
