"""Arrays out of nothing: constants, ranges, random numbers that are always the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxrf.adapters.aten.graph import cast, rules

Array = Any


def _typed(x: Array, dtype: str | None) -> Array:
    return x if dtype is None else cast(x, dtype)


@rules.register("full", "new_full")
def full(*args: Any, dtype: str | None = None, **_: Any) -> Array:
    """One value everywhere."""
    size, value = args[-2:]
    return _typed(jnp.full(tuple(size), value), dtype)


@rules.register("zeros", "new_zeros", "empty", "new_empty", "empty.memory_format")
def zeros(*args: Any, dtype: str | None = None, **_: Any) -> Array:
    """Zeros; also where PyTorch leaves the values open."""
    return _typed(jnp.zeros(tuple(args[-1])), dtype)


@rules.register("ones", "new_ones")
def ones(*args: Any, dtype: str | None = None, **_: Any) -> Array:
    """Ones."""
    return _typed(jnp.ones(tuple(args[-1])), dtype)


@rules.register("full_like")
def full_like(x: Array, value: Any, *, dtype: str | None = None, **_: Any) -> Array:
    """One value in the shape of x."""
    return _typed(jnp.full_like(x, value), dtype)


@rules.register("zeros_like", "empty_like")
def zeros_like(x: Array, *, dtype: str | None = None, **_: Any) -> Array:
    """Zeros in the shape of x."""
    return _typed(jnp.zeros_like(x), dtype)


@rules.register("ones_like")
def ones_like(x: Array, *, dtype: str | None = None, **_: Any) -> Array:
    """Ones in the shape of x."""
    return _typed(jnp.ones_like(x), dtype)


@rules.register("scalar_tensor")
def scalar_tensor(value: Any, *, dtype: str | None = None, **_: Any) -> Array:
    """A number as an array."""
    return _typed(jnp.asarray(value), dtype)


@rules.register("arange")
def arange(*args: Any, dtype: str | None = None, **_: Any) -> Array:
    """Numbers from a start, 0 if none is given, up to an end."""
    return _typed(jnp.arange(*args), dtype)


@rules.register("linspace")
def linspace(start: Any, end: Any, steps: int, *, dtype: str | None = None, **_: Any) -> Array:
    """Numbers evenly spaced, both ends among them."""
    return _typed(jnp.linspace(start, end, steps), dtype)


@rules.register("eye")
def eye(n: int, m: int | None = None, *, dtype: str | None = None, **_: Any) -> Array:
    """The identity matrix."""
    return _typed(jnp.eye(n, m), dtype)


@rules.register("rand")
def rand(size: Sequence[int], *, key: Array, dtype: str | None = None, **_: Any) -> Array:
    """Uniform in [0, 1), always the same."""
    return _typed(jax.random.uniform(key, tuple(size)), dtype)


@rules.register("randn")
def randn(size: Sequence[int], *, key: Array, dtype: str | None = None, **_: Any) -> Array:
    """Normal, always the same."""
    return _typed(jax.random.normal(key, tuple(size)), dtype)


@rules.register("rand_like")
def rand_like(x: Array, *, key: Array, dtype: str | None = None, **_: Any) -> Array:
    """Uniform in [0, 1), in the shape of x."""
    return rand(x.shape, key=key, dtype=dtype or str(x.dtype))


@rules.register("randn_like")
def randn_like(x: Array, *, key: Array, dtype: str | None = None, **_: Any) -> Array:
    """Normal, in the shape of x."""
    return randn(x.shape, key=key, dtype=dtype or str(x.dtype))
