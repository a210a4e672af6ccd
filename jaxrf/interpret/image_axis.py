"""What a model makes of the axis of images: takes it for positions, for a batch of its own, or for one image alone."""

from __future__ import annotations

from functools import reduce

import jax
import numpy as np

from jaxrf.adapters.subject import Subject
from jaxrf.adapters.values import output_name
from jaxrf.equations.program import Equation, TangentProgram, Variable
from jaxrf.errors import InputError
from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Field
from jaxrf.geometry.merge import merge, source
from jaxrf.interpret.fields import boxes, relation
from jaxrf.primitives import rules


def check_images_apart(program: TangentProgram, model: str) -> None:
    """Raise where a convolution slides along the axis of images.

    Flax takes an input of one axis less than its convolutions need for a single image without a batch axis.
    Then a batch of such inputs is one image to it, and its maps would mean something else.
    Models that mix images by statistics, or move them about, pass.

    Raises:
        InputError: names the layer and the shape that it got.
    """
    if program.input.shape[0] == 1:
        return
    images: dict[Variable, Field] = {program.input: source(program.input.shape, 0)}
    for equation in program.linear:
        operands = [(i, images[v]) for i, v in enumerate(equation.operands) if v in images]  # type: ignore[index]
        if not operands:
            continue
        if slid := _slid(equation):
            for axis in slid:
                if operands[0][0] == 0 and _varies(operands[0][1], axis):
                    raise InputError(
                        f"A convolution slides along the axis of images, {equation.where()}: {model} takes inputs of shape "
                        f"{program.input.shape} for one image, so an axis is missing. Pass images (n, *image), and "
                        "input_shape without n."
                    )
            continue  # the first convolutions tell; behind them the axes are those of the model
        pushed = [relation(program, equation, i, "global")[0].push(field) for i, field in operands]
        images[equation.result] = reduce(merge, pushed)


def check_no_batch(program: TangentProgram, subject: Subject) -> None:
    """Raise where a shape such as (1, 24, 24, 3) was given to a model of two spatial axes.

    Flax takes all axes before those that its convolutions need for batches, so such a model runs.
    A shape that begins with 1 passes where a convolution has that axis, or where the axes of positions were named.

    Raises:
        InputError: asks whether the 1 is the batch.
    """
    shape, axes = subject.input_shape, subject.spatial_axes
    windows = [len(slid) for equation in program.linear if (slid := _slid(equation))]
    if subject.axes_said or shape[0] != 1 or len(axes) < 2 or not windows or max(windows) >= len(axes):
        return
    raise InputError(
        f"The convolutions of {subject.name} have at most {max(windows)} spatial axes, and an image of {shape} has "
        f"{len(axes)}. Is its 1 the batch? Then leave it out: input_shape={shape[1:]}. "
        f"If it is a position, say so: spatial_axes={axes}."
    )


def keeps_images(program: TangentProgram, subject: Subject) -> bool:
    """Whether a model, traced with two images, is the same model on each of them.

    An output for two images has an axis that is twice as long as for one, and its halves see the first and the second.
    Code that is written for one image has an output that still stands for one: `jax.image.resize(x, (1, 18, 10, 3))`
    blends two images, and `net(x)[0]` reads the first alone.
    A loss, or a mean over images, has no such axis and sees them all: it is made for batches too.
    """
    images: dict[Variable, Field] = {}
    for path, alone in jax.tree_util.tree_leaves_with_path(subject.outputs):
        layer = program.layers.get(output_name(jax.tree_util.keystr(path, simple=True, separator="/")))
        if layer is None or layer.tangent is None:
            continue
        one, two = tuple(alone.shape), layer.tangent.shape
        if one and two == (2 * one[0], *one[1:]):
            continue
        images = images or {v: fields[0] for v, fields in boxes(program, unknown="global").fields.items()}
        seen = images[layer.tangent]
        if one == two:
            if one[:1] == (1,) or (one[:1] and one[0] in _batches(subject)) or not _sees_second(seen):
                return False
            continue
        longer = [axis for axis, (n, m) in enumerate(zip(one, two)) if m == 2 * n]
        if len(one) != len(two) or len(longer) != 1 or not _halves_see_their_own(seen, longer[0], two):
            return False
    return True


def check_beside(subject: Subject) -> None:
    """Raise where an argument beside the image turns one image into several: it holds a value for each of a batch.

    Raises:
        InputError: names the shape of the argument.
    """
    for leaf in jax.tree.leaves(subject.outputs):
        if leaf.shape and leaf.shape[0] in _batches(subject):
            shape = next(shape for shape in subject.beside if shape and shape[0] == leaf.shape[0])
            raise InputError(
                f"{subject.name} makes {leaf.shape[0]} outputs of one image, as many as an argument of shape {shape} "
                f"has entries. Models are called with one image, and what stands beside it is the same for all images: "
                f"pass one of shape {(1, *shape[1:])}, and call once for each where they differ."
            )


def _batches(subject: Subject) -> set[int]:
    """Guess for how many images the other arguments may have been made."""
    return {shape[0] for shape in subject.beside if shape and shape[0] > 1}


def _sees_second(images: Field) -> bool:
    return bool(((images.lo < images.hi) & (images.hi > 1)).any())


def _halves_see_their_own(field: Field, axis: int, shape: tuple[int, ...]) -> bool:
    """Whether the first half of `axis` sees image 0, and the second image 1, wherever it sees any."""
    lo, hi = (np.broadcast_to(a, shape) for a in (field.lo, field.hi))
    half = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))]) >= shape[axis] // 2
    return bool(((lo >= hi) | ((lo <= half) & (half < hi))).all())


def _slid(equation: Equation) -> list[int]:
    """The axes of its image that an equation takes for positions, in order; none where it is not a convolution."""
    return sorted(rules[equation.primitive].slides(equation, 0)) if equation.primitive in rules else []


def _varies(field: Field, axis: int) -> bool:
    """Whether elements along `axis` depend on different images; those in a padding depend on none."""
    some = field.lo < field.hi
    first = np.where(some, field.lo, EMPTY_LO).min(axis=axis)
    last = np.where(some, field.lo, EMPTY_HI).max(axis=axis)
    return bool((first < last).any())
