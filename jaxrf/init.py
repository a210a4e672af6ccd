"""Initializers of the effective-receptive-field literature in Flax's form, and their choice by parameter name.

An initializer is a function `init(key, shape, dtype) -> array`, so that those of Flax and JAX fit as they are.
Kernels have the shape (*spatial, inputs, outputs); the fan-in is the product of all axes but the last.
"""

from __future__ import annotations

import fnmatch
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers as standard

from jaxrf.adapters.subject import Subject, leaf_name
from jaxrf.base.registry import Registry
from jaxrf.errors import InputError, unknown

Initializer: TypeAlias = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]

known: Registry[Callable[[], Initializer]] = Registry("initializer")
"""Initializers with their default arguments, for those who name them in a text."""

STANDARD = "glorot_normal glorot_uniform he_normal he_uniform lecun_normal lecun_uniform orthogonal"
for _name in STANDARD.split():
    known.register(_name)(getattr(standard, _name))


@known.register("uniform")
def uniform(total: float = 1.0) -> Initializer:
    """Every weight the same: `total` divided by the fan-in.

    A stack of such 3x3 convolutions has the n-fold convolution of a box as its map, for the score "signed" or "abs",
    and the square of that for "square". Nothing is drawn; all channels are alike.

    Args:
        total: sum of the weights of one output channel.

    Example:
        >>> uniform()(jax.random.key(0), (3, 1, 2), jnp.float32).ravel().round(3).tolist()
        [0.333..., 0.333..., 0.333..., 0.333..., 0.333..., 0.333...]

    References:
        Luo et al. (2016), section 2.2, with all weights equal to one: a matter of scale.
    """

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.full(shape, total / _fan_in(shape), dtype)

    return init


@known.register("random")
def random(gain: float = 1.0) -> Initializer:
    """Independent normal weights of mean zero and variance `gain` divided by the fan-in.

    The expected squared gradient of a linear stack is then again the n-fold convolution of a box.
    A gain of 1 keeps the power of linear layers, 2 that of layers with a ReLU after them.

    Args:
        gain: times the fan-in: the variance.

    Raises:
        InputError: a gain that is not positive.

    Example:
        >>> weights = random()(jax.random.key(0), (3, 3, 64, 64), jnp.float32)
        >>> round(float(weights.var() * 9 * 64), 1)
        1.0

    References:
        Luo et al. (2016), section 2.2: weights drawn independently with mean zero; the law and scale are not given.
    """
    if not gain > 0:
        raise InputError(f"A gain of {gain!r} was asked for. It is a positive number: 1 for linear layers, 2 for ReLU.")

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.normal(key, shape, dtype) * np.sqrt(gain / _fan_in(shape)).astype(dtype)

    return init


@known.register("center_lowered")
def center_lowered(base: Initializer | None = None, center: float = 0.25) -> Initializer:
    """Weights that are smaller at the kernel's center than at its edge, with the power of `base`.

    Position k of the kernel is scaled by `center + (1 - center) * r(k)`, r being its distance from the middle
    over that of a corner; then all by one number, so that the mean square over positions is that of `base`.
    Kernels of one position and dense ones are left alone.
    The variance of the position on a 3x3 kernel goes from 2/3 to 0.803 with a center of 1/4, and to 5/6 with 0:
    the field of a stack grows by the root of the ratio, by 10 and 12 %.

    Args:
        base: what is scaled; He's normal if None.
        center: the factor at the center over that at the corners, in [0, 1]; 1 is `base` itself.

    Raises:
        InputError: a center outside [0, 1].

    Example:
        >>> scaled = center_lowered(uniform(), 0.5)(jax.random.key(0), (3, 1, 1), jnp.float32).ravel()
        >>> (scaled / scaled[0]).round(3).tolist()
        [1.0, 0.5, 1.0]

    References:
        Luo et al. (2016), section 4.1, who propose lower weights at the center and give no profile: this one is ours.
    """
    if not 0 <= center <= 1:
        raise InputError(f"A center of {center!r} was asked for. It is the factor at the kernel's center, in [0, 1].")
    inner = standard.he_normal() if base is None else base

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        profile = _profile(tuple(shape[:-2]), center)
        return inner(key, shape, dtype) * jnp.asarray(profile[..., None, None], dtype)

    return init


def with_init(subject: Subject, patterns: Mapping[str, Initializer | str]) -> Subject:
    """The subject with other initializers for the parameters whose names match.

    Args:
        subject: a model that can be drawn at random.
        patterns: from shell patterns on parameter names, such as "*/kernel" or "params/stem/*", to initializers
            or their names. `*` matches slashes too. Where several patterns match, the last one counts.

    Returns:
        A subject whose `init` draws all parameters as before and then those that match anew,
        each with a key of its own that depends on its name alone.

    Raises:
        InputError: the model cannot be drawn; when drawing, an initializer that does not fit a parameter.
        UnknownNameError: a pattern matches nothing, or there is no initializer of that name.

    Example:
        >>> from jaxrf import zoo
        >>> from jaxrf.adapters import adapt
        >>> stack = with_init(adapt(zoo.conv_stack(depth=2), (9, 9, 3)), {"*/kernel": uniform()})
        >>> kernel = stack.initialize(jax.random.key(0))["params"]["conv_0"]["kernel"]
        >>> float(kernel.min()) == float(kernel.max())
        True
    """
    if subject.init is None:
        subject.initialize(jax.random.key(0))  # says why
    paths, _ = jax.tree_util.tree_flatten_with_path(subject.abstract)
    names = [leaf_name(path) for path, _ in paths]
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            raise unknown("pattern of parameters", pattern, names, hint="A pattern must match at least one of them.")
    chosen = {name: _resolve(init) for name in names for pattern, init in patterns.items() if _matches(name, pattern)}
    original = subject.initialize

    def init(key: jax.Array) -> Any:
        leaves, tree = jax.tree_util.tree_flatten_with_path(original(key))
        drawn = [_draw(chosen, leaf_name(path), key, leaf, subject.kernel_axes) for path, leaf in leaves]
        return jax.tree_util.tree_unflatten(tree, drawn)

    return replace(subject, init=init)


def _draw(
    chosen: Mapping[str, Initializer], name: str, key: jax.Array, leaf: jax.Array, axes: Mapping[str, tuple[int, ...]]
) -> jax.Array:
    """A parameter drawn by the initializer of its name; kernels that lie otherwise are turned to what it expects."""
    if name not in chosen:
        return leaf
    own = jax.random.fold_in(key, zlib.crc32(name.encode()))
    order = axes.get(name, tuple(range(leaf.ndim)))
    shape = tuple(leaf.shape[axis] for axis in order)
    try:
        drawn = chosen[name](own, shape, leaf.dtype)
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"The initializer of parameter {name!r} fails on its shape {shape}: {error} "
            "Use a pattern that leaves this parameter out, such as '*/kernel'."
        ) from error
    if drawn.shape != shape:
        raise InputError(
            f"The initializer of parameter {name!r} returned shape {drawn.shape}; the parameter has {shape}."
        )
    return jnp.transpose(drawn, tuple(int(axis) for axis in np.argsort(order))).astype(leaf.dtype)


def _resolve(init: Initializer | str) -> Initializer:
    if isinstance(init, str):
        return known[init]()
    if not callable(init):
        raise InputError(
            f"{init!r} is not an initializer. Pass a function init(key, shape, dtype), or a name: {list(known)}."
        )
    return init


def _matches(name: str, pattern: str) -> bool:
    """A leading slash is assumed, so that "*/kernel" matches a kernel at the root."""
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase("/" + name, pattern)


def _fan_in(shape: tuple[int, ...]) -> int:
    return max(int(np.prod(shape[:-1])), 1)


def _profile(kernel: tuple[int, ...], center: float) -> np.ndarray:
    """Factors over the kernel's positions whose mean square is one."""
    if max(kernel, default=1) == 1:
        return np.ones(kernel)
    offsets = np.indices(kernel) - (np.array(kernel).reshape(-1, *(1,) * len(kernel)) - 1) / 2
    distance = np.sqrt(np.square(offsets).sum(0))
    factors = center + (1 - center) * distance / distance.max()
    return factors / np.sqrt(np.square(factors).mean())
