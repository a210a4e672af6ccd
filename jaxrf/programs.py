"""From a subject to its program, and from a name to a layer of it."""

from __future__ import annotations

from collections.abc import Sequence

from jaxrf.adapters import Subject
from jaxrf.errors import InputError, unknown
from jaxrf.interpret.cut import treat_as_constant
from jaxrf.interpret.emptiness import check_not_empty
from jaxrf.interpret.image_axis import check_beside, check_images_apart, check_no_batch, keeps_images
from jaxrf.tangent.program import Layer, TangentProgram
from jaxrf.tangent.trace import OUTPUT, output_name, trace


def traced(subject: Subject, constant: Sequence[str] = (), batch: int = 1) -> TangentProgram:
    """The tangent program, with the statistics inside the layers `constant` held constant."""
    return treat_as_constant(trace(subject, batch), constant, subject.spatial_axes, "global")


def geometry_program(subject: Subject, constant: Sequence[str] = ()) -> TangentProgram:
    """The program for boxes: traced with two images, so that it is seen whether they are mixed.

    With one image, where the model is written for one: each image is then run alone.

    Raises:
        InputError: the model fails on such an input, a layer comes out empty, or the axis of images is missing.
    """
    program = _of_two_images(subject, constant)
    if program is None:
        check_beside(subject)
        program = traced(subject, constant)
    check_not_empty(program, subject.spatial_axes, subject.name)
    check_no_batch(program, subject)
    return program


def _of_two_images(subject: Subject, constant: Sequence[str]) -> TangentProgram | None:
    try:
        program = traced(subject, constant, batch=2)
    except InputError:
        return None
    check_images_apart(program, subject.name)
    return program if keeps_images(program, subject) else None


def choose(program: TangentProgram, name: str | None, output: str | None) -> Layer:
    """The layer of a name; None for the output.

    Raises:
        UnknownNameError: no such layer or output.
        InputError: several outputs and no choice, or a layer that does not depend on the input.
    """
    layers = program.layers
    if name is None:
        name = output_name("" if output is None else output)
        if output is None and OUTPUT not in layers:
            leaves = [o.removeprefix(OUTPUT + "/") for o in program.outputs]
            raise InputError(
                f"The model's output is no single array: it has {leaves}. Say which with output={leaves[0]!r}."
            )
        if name not in layers:
            raise unknown("output", output, [o.removeprefix(OUTPUT + "/") for o in program.outputs])
    if name not in layers:
        raise unknown("layer", name, layers)
    if layers[name].tangent is None:
        raise InputError(f"Layer {name!r} has no effective field: {layers[name].note}.")
    return layers[name]
