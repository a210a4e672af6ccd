"""Whether a model takes the axis of images for one of positions: what happens when a batch axis is missing."""

from __future__ import annotations

from functools import reduce

import numpy as np

from jaxrf.errors import InputError
from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Field
from jaxrf.geometry.merge import merge, source
from jaxrf.interpret.fields import relation
from jaxrf.tangent.program import TangentProgram, Variable


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
        if equation.primitive == "conv_general_dilated":
            for axis in equation.params["dimension_numbers"].lhs_spec[2:]:
                if operands[0][0] == 0 and _varies(operands[0][1], axis):
                    raise InputError(
                        f"A convolution slides along the axis of images, {equation.where()}: {model} takes inputs of shape "
                        f"{program.input.shape} for one image, so an axis is missing. Pass images (n, *image), and "
                        "input_shape without n."
                    )
            continue  # the first convolutions tell; behind them the axes are those of the model
        pushed = [relation(program, equation, i, "global")[0].push(field) for i, field in operands]
        images[equation.result] = reduce(merge, pushed)


def _varies(field: Field, axis: int) -> bool:
    """Whether elements along `axis` depend on different images; those in a padding depend on none."""
    some = field.lo < field.hi
    first = np.where(some, field.lo, EMPTY_LO).min(axis=axis)
    last = np.where(some, field.lo, EMPTY_HI).max(axis=axis)
    return bool((first < last).any())
