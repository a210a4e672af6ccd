"""Operations on each element, with PyTorch's derivatives at kinks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrf.adapters.aten.graph import cast, rules

Array = Any

PLAIN: dict[str, Callable[..., Array]] = {
    "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "silu": jax.nn.silu, "exp": jnp.exp,
    "expm1": jnp.expm1, "log": jnp.log, "log1p": jnp.log1p, "log2": jnp.log2, "sqrt": jnp.sqrt, "rsqrt": lax.rsqrt,
    "abs": jnp.abs, "neg": jnp.negative, "reciprocal": jnp.reciprocal, "sin": jnp.sin, "cos": jnp.cos, "tan": jnp.tan,
    "asin": jnp.arcsin, "acos": jnp.arccos, "atan": jnp.arctan, "sinh": jnp.sinh, "cosh": jnp.cosh,
    "erf": jax.scipy.special.erf, "floor": jnp.floor, "ceil": jnp.ceil, "trunc": jnp.trunc, "sign": jnp.sign,
    "square": jnp.square, "logical_not": jnp.logical_not, "bitwise_not": jnp.invert, "isnan": jnp.isnan,
    "isinf": jnp.isinf, "log_sigmoid": jax.nn.log_sigmoid, "softsign": jax.nn.soft_sign,
    "mul": jnp.multiply, "div": jnp.true_divide, "true_divide": jnp.true_divide, "pow": jnp.power,
    "maximum": jnp.maximum, "minimum": jnp.minimum, "remainder": jnp.remainder, "fmod": jnp.fmod,
    "floor_divide": jnp.floor_divide, "atan2": jnp.arctan2, "eq": jnp.equal, "ne": jnp.not_equal, "lt": jnp.less,
    "le": jnp.less_equal, "gt": jnp.greater, "ge": jnp.greater_equal, "logical_and": jnp.logical_and,
    "logical_or": jnp.logical_or, "logical_xor": jnp.logical_xor, "bitwise_and": jnp.bitwise_and,
    "bitwise_or": jnp.bitwise_or, "bitwise_xor": jnp.bitwise_xor, "where": jnp.where,
    "complex": lax.complex, "real": jnp.real, "imag": jnp.imag,
}  # fmt: skip
for _name, _function in PLAIN.items():
    rules.register(_name)(_function)


@rules.register("add")
def add(x: Array, other: Array, *, alpha: float = 1) -> Array:
    """The sum with `alpha` times the other."""
    return jnp.add(x, other if alpha == 1 else other * alpha)


@rules.register("sub")
def sub(x: Array, other: Array, *, alpha: float = 1) -> Array:
    """The difference from `alpha` times the other."""
    return jnp.subtract(x, other if alpha == 1 else other * alpha)


@rules.register("rsub")
def rsub(x: Array, other: Array, alpha: float = 1) -> Array:
    """The other minus `alpha` times x."""
    return sub(other, x, alpha=alpha)


@rules.register("div.Tensor_mode", "div.Scalar_mode")
def div_mode(x: Array, other: Array, *, rounding_mode: str | None = None) -> Array:
    """The quotient, rounded down or to zero."""
    quotient = jnp.true_divide(x, other)
    return {None: lambda q: q, "floor": jnp.floor, "trunc": jnp.trunc}[rounding_mode](quotient)


@rules.register("round")
def round_(x: Array, *, decimals: int = 0) -> Array:
    """The nearest number of so many decimals, halves to even."""
    return jnp.round(x, decimals)


@rules.register("addcmul")
def addcmul(x: Array, a: Array, b: Array, *, value: float = 1) -> Array:
    """A product added to x."""
    return x + value * a * b


@rules.register("lerp")
def lerp(x: Array, end: Array, weight: Array) -> Array:
    """On the line from x to the end."""
    return x + weight * (end - x)


@rules.register("clamp")
def clamp(x: Array, min: Any = None, max: Any = None) -> Array:
    """Within bounds; the derivative is 1 at the bounds, as in PyTorch."""
    x = jnp.asarray(x)
    if min is not None:
        x = jnp.where(x < min, jnp.asarray(min, x.dtype), x)
    return x if max is None else jnp.where(x > max, jnp.asarray(max, x.dtype), x)


@rules.register("clamp_min")
def clamp_min(x: Array, min: Any) -> Array:
    """At least `min`."""
    return clamp(x, min)


@rules.register("clamp_max")
def clamp_max(x: Array, max: Any) -> Array:
    """At most `max`."""
    return clamp(x, None, max)


@rules.register("hardtanh")
def hardtanh(x: Array, low: float = -1.0, high: float = 1.0) -> Array:
    """Within bounds; the derivative is 0 at the bounds."""
    return jnp.where(x <= low, jnp.asarray(low, x.dtype), jnp.where(x >= high, jnp.asarray(high, x.dtype), x))


@rules.register("relu6")
def relu6(x: Array) -> Array:
    """From 0 to 6."""
    return hardtanh(x, 0.0, 6.0)


@rules.register("hardsigmoid")
def hardsigmoid(x: Array) -> Array:
    """A line from 0 at -3 to 1 at 3."""
    return jnp.where(x <= -3, jnp.zeros_like(x), jnp.where(x >= 3, jnp.ones_like(x), x / 6 + 0.5))


@rules.register("hardswish")
def hardswish(x: Array) -> Array:
    """0 below -3, x above 3."""
    return jnp.where(x < -3, jnp.zeros_like(x), jnp.where(x > 3, x, x * (x + 3) / 6))


@rules.register("leaky_relu")
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """A slope below zero."""
    return jnp.where(x > 0, x, x * negative_slope)


@rules.register("prelu")
def prelu(x: Array, weight: Array) -> Array:
    """A slope of each channel below zero."""
    channels = (-1, *(1,) * (x.ndim - 2)) if x.ndim > 1 else (-1,)
    return jnp.where(x > 0, x, x * weight.reshape(channels))


@rules.register("elu")
def elu(x: Array, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Array:
    """An exponential below zero."""
    below = jnp.where(x > 0, 0.0, x)
    return jnp.where(x > 0, x * scale, jnp.expm1(below * input_scale) * (alpha * scale)).astype(x.dtype)


@rules.register("celu")
def celu(x: Array, alpha: float = 1.0) -> Array:
    """An exponential below zero, smooth at zero."""
    return elu(x, alpha, 1.0, 1.0 / alpha)


@rules.register("selu")
def selu(x: Array) -> Array:
    """The self-normalizing unit of Klambauer et al. (2017)."""
    return elu(x, 1.6732632423543772, 1.0507009873554805)


@rules.register("gelu")
def gelu(x: Array, *, approximate: str = "none") -> Array:
    """X times the normal distribution function."""
    return jax.nn.gelu(x, approximate=approximate == "tanh")


@rules.register("mish")
def mish(x: Array) -> Array:
    """X times the hyperbolic tangent of its softplus."""
    return x * jnp.tanh(jax.nn.softplus(x))


@rules.register("softplus")
def softplus(x: Array, beta: float = 1, threshold: float = 20) -> Array:
    """The smooth ReLU; a line above the threshold."""
    small = jnp.where(x * beta > threshold, 0.0, x)
    return jnp.where(x * beta > threshold, x, jax.nn.softplus(small * beta) / beta).astype(x.dtype)


@rules.register("threshold")
def threshold(x: Array, threshold: float, value: float) -> Array:
    """A fixed value up to a threshold."""
    return jnp.where(x > threshold, x, jnp.asarray(value, x.dtype))


@rules.register("masked_fill")
def masked_fill(x: Array, mask: Array, value: Any) -> Array:
    """A fixed value where the mask is."""
    return jnp.where(mask, jnp.asarray(value, x.dtype), x)


@rules.register("glu")
def glu(x: Array, dim: int = -1) -> Array:
    """One half times the sigmoid of the other."""
    a, b = jnp.split(x, 2, dim)
    return a * jax.nn.sigmoid(b)


@rules.register("clone", "alias", "contiguous", "lift_fresh_copy", "_to_copy", "to", "view_as", "_conj_physical")
def same(x: Array, *_: Any, dtype: str | None = None, **__: Any) -> Array:
    """X itself, in another type if one is named."""
    return x if dtype is None else cast(x, dtype)


@rules.register("type_as")
def type_as(x: Array, other: Array) -> Array:
    """In the type of the other."""
    return jnp.asarray(x).astype(other.dtype)


@rules.register("copy")
def copy(x: Array, source: Array, non_blocking: bool = False) -> Array:
    """Other values in the shape and type of x."""
    return jnp.broadcast_to(jnp.asarray(source, x.dtype), x.shape)


@rules.register("fill")
def fill(x: Array, value: Any) -> Array:
    """One value in the shape and type of x."""
    return jnp.full_like(x, value)


@rules.register("detach")
def detach(x: Array) -> Array:
    """Without a derivative."""
    return lax.stop_gradient(x)


@rules.register("_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_size")
def nothing(*_: Any, **__: Any) -> None:
    """Checks that PyTorch has made."""


@rules.register("erfinv")
def erfinv(x: Array) -> Array:
    """The inverse of the error function."""
    return jax.scipy.special.erfinv(x)


@rules.register("view_as_complex")
def view_as_complex(x: Array) -> Array:
    """Pairs on the last axis as complex numbers."""
    return lax.complex(x[..., 0], x[..., 1])


@rules.register("view_as_real")
def view_as_real(x: Array) -> Array:
    """Complex numbers as pairs on a last axis."""
    return jnp.stack([jnp.real(x), jnp.imag(x)], -1)


@rules.register("dropout")
def dropout(x: Array, p: float, train: bool, *, key: Array) -> Array:
    """Elements at random set to zero in train mode, always the same."""
    if not train or p == 0:
        return x
    kept = jax.random.bernoulli(key, 1 - p, x.shape)
    return jnp.where(kept, x / (1 - p) if p < 1 else x, jnp.zeros_like(x))


@rules.register("native_dropout")
def native_dropout(x: Array, p: float, train: bool, *, key: Array) -> tuple[Array, Array]:
    """As `dropout`, with the mask of what was kept."""
    kept = jax.random.bernoulli(key, 1 - p if train else 1.0, x.shape)
    return dropout(x, p, train, key=key), kept


@rules.register("bernoulli")
def bernoulli(x: Array, p: float | None = None, *, key: Array) -> Array:
    """Zeros and ones at random, always the same."""
    return jax.random.bernoulli(key, x if p is None else p, x.shape).astype(x.dtype)


LOG_2 = math.log(2)


@rules.register("exp2")
def exp2(x: Array) -> Array:
    """Powers of two."""
    return jnp.exp(x * LOG_2)
