"""The layer that is run piece by piece: its value as a function, and its row at any size of the input.

Takes a model and how it is called; yields a `PieceLayer`. It traces models on shapes and runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxrf.adapters import Subject, adapt
from jaxrf.adapters.values import layer_value
from jaxrf.base.compiler import jit
from jaxrf.engine.crop import total_step
from jaxrf.equations.program import Variable
from jaxrf.errors import InputError
from jaxrf.geometry.row import Row
from jaxrf.interpret import table
from jaxrf.interpret.geometry import Geometry
from jaxrf.planning.programs import Programs, choose


@dataclass(frozen=True)
class Shaped:
    """A layer traced at one size of the input.

    Attributes:
        row: of the layer.
        unit_axes: axes of the layer's value that are its units.
        step: per spatial axis, by how much the input moves in one period of all that leads to the layer; None where
            something on the way has none.
    """

    row: Row
    unit_axes: tuple[int, ...]
    step: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class PieceLayer:
    """A layer of a model.

    Attributes:
        model, how: the model, and the arguments of `adapt` beside its shape.
        subject: the model on the whole input.
        layer, output: names; None for the output, and for the only one.
    """

    model: Any
    how: Mapping[str, Any]
    subject: Subject
    layer: str | None
    output: str | None
    _traced: dict[tuple[int, ...], Shaped] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, model: Any, shape: Sequence[int], layer: str | None, output: str | None, how: Mapping[str, Any]):
        """The layer of a model on an input of this shape.

        Raises:
            InputError: the model does not take it, or has no variables.
        """
        subject = adapt(model, shape, **how)
        if subject.variables is None:
            raise InputError(f"{subject.name} needs variables to run. Pass them, or draw some: model.init(key, image).")
        return cls(model, how, subject, layer, output)

    def at(self, shape: Sequence[int]) -> Shaped:
        """The layer on inputs of another shape.

        Raises:
            InputError: the model does not take it.
        """
        key = tuple(shape)
        if key not in self._traced:
            self._traced[key] = self._shaped(key)
        return self._traced[key]

    def _shaped(self, shape: tuple[int, ...]) -> Shaped:
        subject = self.subject if shape == self.subject.input_shape else adapt(self.model, shape, **self.how)
        geometry = Programs(subject).geometry
        target = choose(geometry.program, self.layer, self.output)
        row = table.row(geometry, target)
        passed = [eqn.result for eqn in geometry.program.ancestors(target.tangent)]  # type: ignore[arg-type]
        step = tuple(
            None if phases is None else _step(geometry, passed, axis)
            for phases, axis in zip(row.phases, subject.spatial_axes)
        )
        return Shaped(row, geometry.units[target.name].units, step)

    @property
    def name(self) -> str:
        """The layer's name in the table."""
        return next(iter(self._traced.values())).row.name

    @cached_property
    def value(self) -> Any:
        """`images -> value of the layer`, compiled once for each shape."""
        read, variables = layer_value(self.subject, self.name), self.subject.variables
        compiled = jit(lambda variables, images: read(variables, images))
        on_device = jax.device_put(variables)
        return lambda images: compiled(on_device, images)

    def with_sizes(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Shape of one image with other sizes of its spatial axes."""
        shape = list(self.subject.input_shape)
        for axis, n in zip(self.subject.spatial_axes, sizes):
            shape[axis - 1] = n
        return tuple(shape)

    def shape(self, images: Sequence[int]) -> tuple[int, ...]:
        """Shape of the layer's value on images of this shape; nothing is computed."""
        read = layer_value(self.subject, self.name)
        given = jax.ShapeDtypeStruct(tuple(images), self.subject.dtype)
        try:
            return tuple(jax.eval_shape(read, self.subject.abstract, given).shape)
        except jax.errors.UnexpectedTracerError:
            raise InputError(
                f"Layer {self.name!r} is inside the body of a loop or of another transformation, where its value cannot be "
                "read. Choose a layer outside of it."
            ) from None


def _step(geometry: Geometry, passed: Sequence[Variable], axis: int) -> int | None:
    found = total_step(geometry.all_boxes, passed, (axis,))
    return None if found is None else found[0]


def as_images(image: Any) -> Any:
    """A batch of images as it was given, or as an array.

    Raises:
        InputError: no batch of images of a floating type.
    """
    found = image if hasattr(image, "shape") and hasattr(image, "dtype") else np.asarray(image)
    if len(found.shape) < 2 or 0 in found.shape:
        raise InputError(
            f"The image has shape {tuple(found.shape)}; needed is (n, *image), with n at least 1: image[None]."
        )
    return found
