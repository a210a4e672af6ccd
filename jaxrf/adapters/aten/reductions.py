"""Sums, means, extremes and orders along axes."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxrf.adapters.aten.graph import cast, rules

Array = Any


def _axes(dim: Any) -> Any:
    """Axes as NumPy takes them: an empty list stands for all."""
    return tuple(dim) or None if isinstance(dim, list | tuple) else dim


@rules.register("sum")
def sum_(x: Array, dim: Any = None, keepdim: bool = False, *, dtype: str | None = None) -> Array:
    """The sum."""
    return jnp.sum(x if dtype is None else cast(x, dtype), axis=_axes(dim), keepdims=keepdim)


@rules.register("mean")
def mean(x: Array, dim: Any = None, keepdim: bool = False, *, dtype: str | None = None) -> Array:
    """The mean."""
    return jnp.mean(x if dtype is None else cast(x, dtype), axis=_axes(dim), keepdims=keepdim)


@rules.register("prod")
def prod(x: Array, dim: Any = None, keepdim: bool = False, *, dtype: str | None = None) -> Array:
    """The product."""
    return jnp.prod(x, axis=_axes(dim), keepdims=keepdim)


@rules.register("var", "var.correction")
def var(x: Array, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Array:
    """The variance; without a correction that of a sample."""
    return jnp.var(x, axis=_axes(dim), ddof=int(unbiased) if correction is None else correction, keepdims=keepdim)


@rules.register("std", "std.correction")
def std(x: Array, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Array:
    """The standard deviation; without a correction that of a sample."""
    return jnp.sqrt(var(x, dim, unbiased, keepdim, correction=correction))


@rules.register("var_mean.correction")
def var_mean(x: Array, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> tuple[Array, Array]:
    """The variance and the mean."""
    return var(x, dim, True, keepdim, correction=correction), mean(x, dim, keepdim)


@rules.register("amax")
def amax(x: Array, dim: Any = (), keepdim: bool = False) -> Array:
    """The largest; equal ones share its derivative."""
    return jnp.max(x, axis=_axes(dim), keepdims=keepdim)


@rules.register("amin")
def amin(x: Array, dim: Any = (), keepdim: bool = False) -> Array:
    """The smallest; equal ones share its derivative."""
    return jnp.min(x, axis=_axes(dim), keepdims=keepdim)


@rules.register("max.default")
def max_(x: Array) -> Array:
    """The largest of all."""
    return jnp.max(x)


@rules.register("min.default")
def min_(x: Array) -> Array:
    """The smallest of all."""
    return jnp.min(x)


@rules.register("max.dim")
def max_dim(x: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    """The largest along an axis, and where it is; the first of equal ones has the derivative."""
    return _at(x, jnp.argmax(x, dim, keepdims=True), dim, keepdim)


@rules.register("min.dim")
def min_dim(x: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    """The smallest along an axis, and where it is; the first of equal ones has the derivative."""
    return _at(x, jnp.argmin(x, dim, keepdims=True), dim, keepdim)


def _at(x: Array, where: Array, dim: int, keepdim: bool) -> tuple[Array, Array]:
    value = jnp.take_along_axis(x, where, dim)
    return (value, where) if keepdim else (jnp.squeeze(value, dim), jnp.squeeze(where, dim))


@rules.register("argmax")
def argmax(x: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    """Where the largest is."""
    return jnp.argmax(x, dim, keepdims=keepdim)


@rules.register("argmin")
def argmin(x: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    """Where the smallest is."""
    return jnp.argmin(x, dim, keepdims=keepdim)


@rules.register("any")
def any_(x: Array, dim: Any = None, keepdim: bool = False) -> Array:
    """Whether one is true."""
    return jnp.any(x, axis=_axes(dim), keepdims=keepdim)


@rules.register("all")
def all_(x: Array, dim: Any = None, keepdim: bool = False) -> Array:
    """Whether all are true."""
    return jnp.all(x, axis=_axes(dim), keepdims=keepdim)


@rules.register("cumsum")
def cumsum(x: Array, dim: int, *, dtype: str | None = None) -> Array:
    """The sum up to each position."""
    return jnp.cumsum(x if dtype is None else cast(x, dtype), axis=dim)


@rules.register("cumprod")
def cumprod(x: Array, dim: int, *, dtype: str | None = None) -> Array:
    """The product up to each position."""
    return jnp.cumprod(x, axis=dim)


@rules.register("logsumexp")
def logsumexp(x: Array, dim: Any, keepdim: bool = False) -> Array:
    """The logarithm of the sum of exponentials."""
    return jax.nn.logsumexp(x, axis=_axes(dim), keepdims=keepdim)


@rules.register("linalg_vector_norm")
def vector_norm(x: Array, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    """The norm; of a vector of zeros it has the derivative 0, as in PyTorch."""
    if ord == 2:
        total = jnp.sum(jnp.square(x), axis=_axes(dim), keepdims=keepdim)
        return jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total, 1)), 0).astype(x.dtype)
    if ord == 1:
        return jnp.sum(jnp.abs(x), axis=_axes(dim), keepdims=keepdim)
    return jnp.linalg.vector_norm(x, ord=ord, axis=_axes(dim), keepdims=keepdim)


@rules.register("topk")
def topk(x: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Array, Array]:
    """The k largest, or smallest, and where they are."""
    order = jnp.argsort(-x if largest else x, axis=dim)
    where = jnp.take(order, jnp.arange(k), axis=dim)
    return jnp.take_along_axis(x, where, dim), where


@rules.register("sort")
def sort(x: Array, dim: int = -1, descending: bool = False) -> tuple[Array, Array]:
    """In order, and where each was."""
    where = jnp.argsort(x, axis=dim, descending=descending)
    return jnp.take_along_axis(x, where, dim), where


NORMS = {0: "backward", 1: "ortho", 2: "forward"}
TURNED = {0: "forward", 1: "ortho", 2: "backward"}
"""How NumPy names PyTorch's norms of a transform and of one turned round: no scale, the root, the whole."""


@rules.register("_fft_r2c")
def fft_r2c(x: Array, dim: Any, normalization: int, onesided: bool) -> Array:
    """The Fourier transform of real numbers."""
    function = functools.partial(jnp.fft.rfftn if onesided else jnp.fft.fftn, axes=tuple(dim))
    return function(x, norm=NORMS[normalization])


@rules.register("_fft_c2r")
def fft_c2r(x: Array, dim: Any, normalization: int, last_dim_size: int) -> Array:
    """The inverse Fourier transform whose values are real."""
    sizes = [x.shape[d] for d in dim[:-1]] + [last_dim_size]
    return jnp.fft.irfftn(x, s=sizes, axes=tuple(dim), norm=TURNED[normalization])


@rules.register("_fft_c2c")
def fft_c2c(x: Array, dim: Any, normalization: int, forward: bool) -> Array:
    """The Fourier transform, or its inverse."""
    if forward:
        return jnp.fft.fftn(x, axes=tuple(dim), norm=NORMS[normalization])
    return jnp.fft.ifftn(x, axes=tuple(dim), norm=TURNED[normalization])
