"""The operations of layers: products, convolutions, normalizations, softmax, attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrf.adapters.aten.graph import cast, rules

Array = Any


@rules.register("linear")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Features times a matrix (out, in)."""
    y = lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))
    return y if bias is None else y + bias


@rules.register("matmul", "mm", "bmm", "mv", "dot")
def matmul(x: Array, y: Array) -> Array:
    """The product of matrices, or of stacks of them."""
    return jnp.matmul(x, y)


@rules.register("addmm", "baddbmm")
def addmm(x: Array, a: Array, b: Array, *, beta: float = 1, alpha: float = 1) -> Array:
    """A product of matrices added to x."""
    return beta * x + alpha * jnp.matmul(a, b)


@rules.register("einsum")
def einsum(equation: str, operands: Sequence[Array], *, path: Any = None) -> Array:
    """A sum of products by letters."""
    return jnp.einsum(equation.replace(" ", ""), *operands)


def _each(value: Any, axes: int) -> list[int]:
    """One number for each axis."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values * axes if len(values) == 1 else values


@rules.register("convolution")
def convolution(
    x: Array, weight: Array, bias: Array | None, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Array:  # fmt: skip
    """A convolution of channels-first arrays with a kernel (out, in, *spatial), or (in, out, *spatial) transposed."""
    axes = weight.ndim - 2
    batched = x if x.ndim == axes + 2 else x[None]
    stride, padding, dilation = (_each(one, axes) for one in (stride, padding, dilation))
    strides, dilated = stride, [1] * axes
    sides = [(p, p) for p in padding]
    if transposed:
        weight = _turned(weight, groups)
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
        sides = [(r - p, r - p + more) for r, p, more in zip(reach, padding, _each(output_padding, axes))]
        strides, dilated = [1] * axes, stride
    letters = "".join("XYZ"[:axes])
    y = lax.conv_general_dilated(
        batched, weight, strides, sides, dilated, dilation, (f"NC{letters}", f"OI{letters}", f"NC{letters}"), groups
    )
    y = y if bias is None else y + bias.reshape(-1, *(1,) * axes)
    return y if x.ndim == axes + 2 else y[0]


def _turned(weight: Array, groups: int) -> Array:
    """The kernel (out, in, *spatial) whose convolution is the transposed one of a kernel (in, out, *spatial)."""
    inputs, outputs, *window = weight.shape
    grouped = weight.reshape(groups, inputs // groups, outputs, *window)
    turned = jnp.swapaxes(grouped, 1, 2).reshape(groups * outputs, inputs // groups, *window)
    return jnp.flip(turned, tuple(range(2, turned.ndim)))


def _normalized(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array, Array]:
    """X less its mean, over its deviation; mean and variance."""
    mean = jnp.mean(x, axes, keepdims=True)
    var = jnp.mean(jnp.square(x - mean), axes, keepdims=True)
    return (x - mean) * lax.rsqrt(var + eps), mean, var


def _affine(x: Array, weight: Array | None, bias: Array | None, shape: Sequence[int]) -> Array:
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


@rules.register("layer_norm")
def layer_norm(
    x: Array, shape: Sequence[int], weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5, *_: Any
) -> Array:
    """Each vector of the last axes normalized."""
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return _affine(_normalized(x, axes, eps)[0], weight, bias, tuple(shape))


@rules.register("rms_norm")
def rms_norm(x: Array, shape: Sequence[int], weight: Array | None = None, eps: float | None = None) -> Array:
    """Each vector of the last axes divided by its root mean square."""
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    least = jnp.finfo(x.dtype).eps if eps is None else eps
    y = x * lax.rsqrt(jnp.mean(jnp.square(x), axes, keepdims=True) + least)
    return _affine(y, weight, None, tuple(shape))


@rules.register("group_norm")
def group_norm(
    x: Array, groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5, *_: Any
) -> Array:
    """Groups of channels normalized over themselves and all positions."""
    grouped = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    y = _normalized(grouped, tuple(range(2, grouped.ndim)), eps)[0].reshape(x.shape)
    return _affine(y, weight, bias, (-1, *(1,) * (x.ndim - 2)))


@rules.register("instance_norm")
def instance_norm(
    x: Array, weight: Array | None, bias: Array | None, mean: Array | None, var: Array | None, use_input_stats: bool,
    momentum: float, eps: float, *_: Any,
) -> Array:  # fmt: skip
    """Each channel normalized over all positions, or by running averages."""
    channels = (-1, *(1,) * (x.ndim - 2))
    if use_input_stats:
        return _affine(_normalized(x, tuple(range(2, x.ndim)), eps)[0], weight, bias, channels)
    assert mean is not None and var is not None
    return _by_averages(x, weight, bias, mean, var, eps)


def _by_averages(x: Array, weight: Any, bias: Any, mean: Array, var: Array, eps: float) -> Array:
    channels = (-1, *(1,) * (x.ndim - 2))
    y = (x - mean.reshape(channels)) * lax.rsqrt(var.reshape(channels) + eps)
    return _affine(y, weight, bias, channels)


@rules.register("_native_batch_norm_legit_no_training")
def batch_norm(
    x: Array, weight: Any, bias: Any, mean: Array, var: Array, momentum: float, eps: float
) -> tuple[Array, ...]:
    """Channels normalized by running averages."""
    return _by_averages(x, weight, bias, mean, var, eps), mean, var


@rules.register("_native_batch_norm_legit", "_native_batch_norm_legit_functional")
def batch_norm_of_images(
    x: Array, weight: Any, bias: Any, mean: Array, var: Array, training: bool, momentum: float, eps: float
) -> tuple[Array, ...]:
    """Channels normalized over images and positions in train mode; the averages stay as they were."""
    if not training:
        return _by_averages(x, weight, bias, mean, var, eps), mean, var, mean, var
    return *batch_norm_without_averages(x, weight, bias, True, momentum, eps), mean, var


@rules.register("_native_batch_norm_legit.no_stats")
def batch_norm_without_averages(
    x: Array, weight: Any, bias: Any, training: bool, momentum: float, eps: float
) -> tuple[Array, ...]:
    """Channels normalized over images and positions."""
    axes = (0, *range(2, x.ndim))
    y, mean, var = _normalized(x, axes, eps)
    y = _affine(y, weight, bias, (-1, *(1,) * (x.ndim - 2)))
    return y, mean.ravel(), lax.rsqrt(var + eps).ravel()


@rules.register("softmax", "_softmax")
def softmax(x: Array, dim: int, dtype: Any = None) -> Array:
    """Exponentials over their sum."""
    return jax.nn.softmax(cast(x, dtype) if isinstance(dtype, str) else x, axis=dim)


@rules.register("log_softmax", "_log_softmax")
def log_softmax(x: Array, dim: int, dtype: Any = None) -> Array:
    """The logarithm of the softmax."""
    return jax.nn.log_softmax(cast(x, dtype) if isinstance(dtype, str) else x, axis=dim)


@rules.register("scaled_dot_product_attention")
def attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False,
) -> Array:  # fmt: skip
    """Softmax of products of queries and keys, times values."""
    if dropout_p:
        raise NotImplementedError("attention with dropout; call model.eval(), which switches it off")
    if enable_gqa:
        key, value = (jnp.repeat(one, query.shape[-3] // one.shape[-3], -3) for one in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = jnp.matmul(query * scale, jnp.swapaxes(key, -1, -2))
    if is_causal:
        attn_mask = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    if attn_mask is not None and attn_mask.dtype == bool:
        scores = jnp.where(attn_mask, scores, jnp.finfo(scores.dtype).min)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return jnp.matmul(jax.nn.softmax(scores, axis=-1), value)
