"""Slow and obvious references: the dense Jacobian, and ERF maps by one plain `jax.vjp` per image.

They know nothing of receptive fields, boxes, windows or the tangent program; the engine is tested against them.
Layers inside a model are read, and perturbed, where its taps stand.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import tracers
from jaxtyping import Array, Float

from jaxrf.adapters import Subject, intercepting
from jaxrf.base.compiler import jit
from jaxrf.base.faults import fault
from jaxrf.errors import CheckError, InputError, unknown

PyTree = Any
Select = str | Callable[[PyTree], jax.Array] | None

SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "square": lambda gradient: np.square(gradient).sum(-1),
    "abs": lambda gradient: np.abs(gradient).sum(-1),
    "relu": lambda gradient: np.maximum(gradient, 0).sum(-1),
    "signed": lambda gradient: gradient.sum(-1),
    "positive_sum": lambda gradient: np.maximum(gradient.sum(-1), 0),
}
"""From gradients (..., channel) to scores (...)."""


def jacobian(
    subject: Subject,
    variables: PyTree,
    images: Float[Array, "batch *input"],
    select: Select = None,
    *,
    layer: str | None = None,
    wrt: str | None = None,
) -> Float[Array, "*output_and_input"]:
    """Every derivative of an array of the model with respect to the images, by `jax.jacrev`.

    It holds as many numbers as the output has elements times the input's; only for small models.

    Args:
        subject: the model.
        variables: its variables.
        images: a batch of images; the Jacobian keeps the batch axes of both sides.
        select: which output, where the model has several: a leaf's name such as "logits" or "0", or a function.
        layer: differentiate this layer instead of an output; a repeated call is named `name#1`, in order of calls.
        wrt: differentiate with respect to this layer instead of the images.

    Returns:
        An array of shape `output.shape + images.shape` (or `+ wrt.shape`).

    Raises:
        CheckError: XLA is known to compute the derivative wrongly.
        InputError: the output is not one array, or a layer is inside a body that is traced on its own.
        UnknownNameError: there is no such layer or output.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxrf.adapters import adapt
        >>> subject = adapt(lambda x: 3 * x, (2, 1))
        >>> jacobian(subject, (), jnp.ones((1, 2, 1))).reshape(2, 2).tolist()
        [[3.0, 0.0], [0.0, 3.0]]
    """
    images = jnp.asarray(images)
    value, shift = _value_of_shift(subject, layer, wrt, select, variables, images)
    return _run(jit(jax.jacrev(value, argnums=2)), variables, images, jnp.zeros(shift.shape, shift.dtype))


def erf_map(
    subject: Subject,
    variables: PyTree,
    images: Float[Array, "image *input"],
    unit: tuple[int, ...],
    cotangent: Float[Array, "*channels"],
    *,
    output: Select = None,
    score: str = "square",
    layer: str | None = None,
    wrt: str | None = None,
    unit_axes: tuple[int, ...] | None = None,
    wrt_axes: tuple[int, ...] | None = None,
    batch_axis: int | None = None,
    wrt_batch_axis: int | None = None,
) -> Float[np.ndarray, "image *spatial"]:
    """The ERF map of one unit for each image, by a plain `jax.vjp` over the whole model.

    It costs a forward and a full backward pass of the whole batch for each image.

    Args:
        subject: the model.
        variables: its variables.
        images: a batch of images.
        unit: the unit's position on `unit_axes` of the output.
        cotangent: what is pulled back: one number per channel (all output axes besides images and `unit_axes`),
            or an array with a leading axis of one such cotangent per image.
        output: which output, where the model has several: a leaf's name such as "logits" or "0", or a function.
        score: what an input position gets from its gradient g:
            the sum over channels of g**2 ("square"), |g| ("abs"), max(g, 0) ("relu") or g ("signed").
        layer: the unit is one of this layer instead of an output; a repeated call is named `name#1`, in order of calls.
            Layers inside the bodies of scan, remat, jit or vmap are out of reach:
            under `jax.disable_jit()` those of scan and jit are reached, each iteration as a call of its own.
        wrt: the map is one on this layer instead of on the images.
        unit_axes: axes of the output that are positions.
            None: the subject's, where the output has the rank of the input, else all between batch and features.
            If the axis of images is among them, it holds the images one after another, and the unit counts from its
            image's start.
        wrt_axes: axes of the input, or of `wrt`, that are positions of the map, in order; None: as for the output.
        batch_axis: the output's axis of images, which may hold several channels or positions of each.
            None: axis 0, with one entry per image unless it is among `unit_axes`.
        wrt_batch_axis: that of the input, or of `wrt`.

    Returns:
        Scores in the input's dtype, of shape (image, *spatial).
        Where the images of a batch see each other, each map shows the unit's own image alone.

    Raises:
        CheckError: XLA is known to compute the derivative wrongly.
        InputError: the unit, the cotangent or the output does not fit, or a layer is out of reach.
        UnknownNameError: there is no such layer, output or score.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxrf.adapters import adapt
        >>> subject = adapt(lambda x: x[:, 1:] - x[:, :-1], (4, 1))
        >>> erf_map(subject, (), jnp.zeros((1, 4, 1)), (0,), jnp.ones(1)).tolist()
        [[1.0, 1.0, 0.0, 0.0]]
    """
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    images = jnp.asarray(images)
    value, shift = _value_of_shift(subject, layer, wrt, output, variables, images)
    result = jax.eval_shape(value, variables, images, shift)
    axes = _axes(unit_axes, subject, result.shape)
    batch = _batch_axis(batch_axis, result.shape, axes, len(images), "unit_axes")
    place = _Place(len(images), result.shape, axes, batch, tuple(unit))
    cotangents = place.cotangents(np.asarray(cotangent), result.dtype)

    @jit
    def pull(variables: PyTree, images: jax.Array, cotangent: jax.Array) -> jax.Array:
        zero = jnp.zeros(shift.shape, shift.dtype)
        _, vjp = jax.vjp(lambda shift: value(variables, images, shift), zero)
        return vjp(cotangent)[0]

    axes = _axes(wrt_axes, subject, shift.shape)
    batch = _batch_axis(wrt_batch_axis, shift.shape, axes, len(images), "wrt_axes")
    channels = tuple(axis for axis in range(len(shift.shape)) if axis not in axes)
    order = (*axes, *channels)
    maps = []
    for number, one in enumerate(cotangents):
        gradient = np.asarray(_run(pull, variables, images, one))
        own = _of_image(gradient, batch, number, len(images)).transpose(order)
        maps.append(SCORES[score](own.reshape(*own.shape[: len(axes)], -1)))
    return np.stack(maps)


def _run(program: Any, *arguments: Any) -> jax.Array:
    """What a jitted program gives.

    Raises:
        CheckError: XLA computes it wrongly.
    """
    wrong = fault(program.trace(*arguments).jaxpr)
    if wrong:
        raise CheckError(
            f"The oracle runs {wrong}. So it is not a reference here. Cut by a slice and pad apart from it, or compare in "
            "float64 or on another device."
        )
    return program(*arguments)


@dataclass(frozen=True)
class _Place:
    """Where a unit stands in an output array."""

    images: int
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    batch: int
    unit: tuple[int, ...]

    def cotangents(self, channels: np.ndarray, dtype: np.dtype) -> list[np.ndarray]:
        """One array of the output's shape per image: zero, but for the channels at the unit of that image."""
        mine = _of_image(np.broadcast_to(0, self.shape), self.batch, 0, self.images).shape
        sizes = tuple(mine[axis] for axis in self.axes)
        inside = len(self.unit) == len(sizes) and all(0 <= u < n for u, n in zip(self.unit, sizes, strict=True))
        if not inside:
            raise InputError(f"Unit {self.unit} is outside of the output, whose positions have the sizes {sizes}.")
        alone = {*self.axes, *([self.batch] if mine and mine[self.batch] == 1 else [])}
        wanted = tuple(size for axis, size in enumerate(mine) if axis not in alone)
        if channels.shape not in (wanted, (self.images, *wanted)):
            raise InputError(
                f"The cotangent has shape {channels.shape}; needed is the shape of the channels, {wanted}, "
                f"or one cotangent per image, {(self.images, *wanted)}."
            )
        each = np.broadcast_to(channels, (self.images, *wanted))
        return [self._one(number, each[number], dtype) for number in range(self.images)]

    def _one(self, number: int, channels: np.ndarray, dtype: np.dtype) -> np.ndarray:
        cotangent = np.zeros(self.shape, dtype)
        own = _of_image(cotangent, self.batch, number, self.images)
        at: dict[int, int] = dict(zip(self.axes, self.unit, strict=True))
        index = tuple(at.get(axis, slice(None)) for axis in range(own.ndim))
        own[index] = channels.reshape(own[index].shape)
        return cotangent


@dataclass
class _Taps:
    """A tap handler that adds `shift` to one layer, and keeps the shape of all and the value of another."""

    layer: str | None
    wrt: str | None
    shift: jax.Array
    outer: Any = field(default_factory=tracers.current_trace)
    calls: collections.Counter = field(default_factory=collections.Counter)
    shapes: dict[str, jax.ShapeDtypeStruct] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)
    value: jax.Array | None = None

    def __call__(self, name: str, x: jax.Array) -> jax.Array:
        if tracers.current_trace() != self.outer:
            self.inside.add(name)  # not counted: nn.scan traces its body once more, for shapes
            return x
        full = f"{name}#{self.calls[name]}" if self.calls[name] else name
        self.calls[name] += 1
        self.shapes[full] = jax.ShapeDtypeStruct(x.shape, x.dtype)
        if full == self.wrt:
            x = x + self.shift
        if full == self.layer:
            self.value = x
        return x

    def check(self, name: str) -> None:
        """Raise unless `name` is a call that can be read; calls inside and outside of bodies have no common order."""
        stem = name.partition("#")[0]
        jitted = not jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]
        if stem in self.inside and (name not in self.shapes or jitted):
            raise InputError(
                f"Layer {name!r} is inside the body of a scan, remat, jit or vmap, where plain JAX cannot read it. "
                "Inside of jax.disable_jit() the bodies of scan and jit are run one by one."
            )
        if name not in self.shapes:
            raise unknown("layer", name, self.shapes, hint="Those of functions that are jitted need jax.disable_jit().")


def _value_of_shift(
    subject: Subject, layer: str | None, wrt: str | None, select: Select, variables: PyTree, images: jax.Array
) -> tuple[Callable[[PyTree, jax.Array, jax.Array], jax.Array], jax.ShapeDtypeStruct]:
    """A function `value(variables, images, shift)` and the shape of its shift.

    The value is that of the layer or output; the shift is added to `wrt`, or to the images where that is None.
    So the derivative by the shift, at zero, is the derivative by what it is added to.
    """
    seen: list[_Taps] = []

    def look(variables: PyTree, images: jax.Array) -> None:
        seen.append(_Taps(None, None, images))
        with intercepting(seen[-1]):
            subject.fn(variables, images)

    def value(variables: PyTree, images: jax.Array, shift: jax.Array) -> jax.Array:
        taps = _Taps(layer, wrt, shift)
        with intercepting(taps):
            outputs = subject.fn(variables, images if wrt is not None else images + shift)
        if layer is None:
            return _selected(outputs, select)
        assert taps.value is not None, f"{layer} was there when the model was looked at, and is gone"
        return taps.value

    jax.eval_shape(look, variables, images)
    for name in (layer, wrt):
        if name is not None:
            seen[-1].check(name)
    shift = jax.ShapeDtypeStruct(images.shape, images.dtype) if wrt is None else seen[-1].shapes[wrt]
    return value, shift


def _selected(outputs: PyTree, select: Select) -> jax.Array:
    """The one array among the outputs that `select` means."""
    if callable(select):
        return select(outputs)
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(outputs)
    }
    if select is None and len(leaves) == 1:
        return next(iter(leaves.values()))
    if select is None:
        raise InputError(f"The model has {len(leaves)} outputs, {sorted(leaves)}. Say which by its name.")
    if select not in leaves:
        raise unknown("output", select, leaves)
    return leaves[select]


def _batch_axis(given: int | None, shape: tuple[int, ...], axes: tuple[int, ...], images: int, option: str) -> int:
    """The axis of images, checked to hold as many entries of each image as of every other."""
    batch = given or 0
    rows, rest = divmod(shape[batch], images) if shape else (1, images - 1)
    if rest or (given is None and rows != 1 and 0 not in axes):
        raise InputError(
            f"An array of shape {shape} does not have the {images} images on axis {batch}. Say with {option} which axes are "
            "positions; axis 0 may be one of them, where each image has as many entries there as every other."
        )
    return batch


def _of_image(array: np.ndarray, batch: int, number: int, images: int) -> np.ndarray:
    """The part of one image, as a view: its entries of the axis of images, all of the others."""
    if not array.ndim:
        return array
    rows = array.shape[batch] // images
    return array[(slice(None),) * batch + (slice(number * rows, (number + 1) * rows),)]


def _axes(given: tuple[int, ...] | None, subject: Subject, shape: tuple[int, ...]) -> tuple[int, ...]:
    if given is not None:
        return tuple(given)
    if len(shape) == len(subject.input_shape) + 1:
        return subject.spatial_axes
    return tuple(range(1, len(shape) - 1))
