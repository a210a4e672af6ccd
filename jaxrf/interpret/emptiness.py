"""Inputs that are too small for a network: which layer comes out empty."""

from __future__ import annotations

from jaxrf.errors import InputError
from jaxrf.interpret.geometry import Geometry
from jaxrf.primitives import rules


def check_not_empty(geometry: Geometry, model: str) -> None:
    """Check that every window fits and every layer has positions.

    Args:
        geometry: of the traced model.
        model: its name, for the message.

    Raises:
        InputError: one does not; the message says which is the first.
    """
    program = geometry.program
    size = "×".join(map(str, program.input.shape[1:]))
    advice = f"An input of {size} is too small for {model}. Use a larger one, or more padding."
    for equation in program.linear:
        before = equation.operands[equation.tangents[0]].shape
        windowed = equation.primitive in rules and rules[equation.primitive].windowed
        if windowed and 0 in equation.result.shape and 0 not in before:
            raise InputError(
                f"{equation.primitive} {equation.where()} makes an empty array of shape {equation.result.shape[1:]} "
                f"from one of shape {before[1:]}. {advice}"
            )
    empty = [layer for layer in program.layers.values() if layer.tangent is not None and 0 in layer.tangent.shape]
    units = geometry.units if empty else {}
    for layer in empty:
        assert layer.tangent is not None
        shape = layer.tangent.shape
        if layer.name in units and any(shape[axis] == 0 for axis in units[layer.name].units):
            raise InputError(f"Layer {layer.name!r} comes out empty, of shape {shape[1:]}. {advice}")
