"""From a subject to its programs and what is known of them, and from a name to a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from jaxrf.adapters import Subject
from jaxrf.adapters.values import OUTPUT, output_name
from jaxrf.equations.program import Layer, TangentProgram
from jaxrf.errors import InputError, unknown
from jaxrf.interpret.cut import treat_as_constant
from jaxrf.interpret.emptiness import check_not_empty
from jaxrf.interpret.geometry import Geometry
from jaxrf.interpret.image_axis import check_beside, check_images_apart, check_no_batch, keeps_images
from jaxrf.tangent.trace import trace


@dataclass(frozen=True, eq=False)
class Programs:
    """The programs of a subject, each traced once, when it is asked for.

    Two images are needed to see whether a model mixes them; the program that runs takes one, since code may compute with
    the number of images, and has shapes of its own where a part of the image is run.

    Attributes:
        subject: the adapted model.
        constant: layers whose statistics are held constant.
        unknown: for the table: "raise" for primitives without a rule, or "global".
    """

    subject: Subject
    constant: Sequence[str] = ()
    unknown: str = "raise"
    _traced: dict[tuple[int, tuple[int, ...]], Geometry] = field(default_factory=dict, repr=False)

    def of(self, images: int = 1, shape: tuple[int, ...] | None = None) -> Geometry:
        """The program of so many images, of the subject's shape or another one.

        Raises:
            InputError: the model fails on them.
        """
        key = images, shape or self.subject.input_shape
        if key not in self._traced:
            program = traced(replace(self.subject, input_shape=key[1]), self.constant, images)
            self._traced[key] = Geometry(program, self.subject.spatial_axes, self.unknown)
        return self._traced[key]

    @cached_property
    def geometry(self) -> Geometry:
        """The program for boxes: of two images, so that it is seen whether they are mixed.

        Of one image, where the model is written for one: each image is then run alone.

        Raises:
            InputError: the model fails on such an input, a layer comes out empty, or the axis of images is missing.
        """
        found = self._of_two_images()
        if found is None:
            check_beside(self.subject)
            found = self.of()
        check_not_empty(found, self.subject.name)
        check_no_batch(found.program, self.subject)
        return found

    def _of_two_images(self) -> Geometry | None:
        try:
            found = self.of(2)
        except InputError:
            return None
        check_images_apart(found.program, self.subject.name)
        return found if keeps_images(found.program, self.subject) else None


def traced(subject: Subject, constant: Sequence[str] = (), batch: int = 1) -> TangentProgram:
    """The tangent program, with the statistics inside the layers `constant` held constant."""
    return treat_as_constant(trace(subject, batch), constant, subject.spatial_axes)


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
                f"The model's output is not a single array: it has {leaves}. Say which with output={leaves[0]!r}."
            )
        if name not in layers:
            raise unknown("output", output, [o.removeprefix(OUTPUT + "/") for o in program.outputs])
    if name not in layers:
        raise unknown("layer", name, layers)
    if layers[name].tangent is None:
        raise InputError(f"Layer {name!r} has no effective field: {layers[name].note}.")
    return layers[name]
