"""The random numbers that a program draws: masks of dropout and stochastic depth, noise of a latent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jaxrf.equations.program import Layer, TangentProgram
from jaxrf.primitives.operation import Kind, about


def draws(program: TangentProgram, layer: Layer) -> list[tuple[int, ...]]:
    """The shapes of all random numbers that a layer's value and derivative are made of, in order.

    Where they change with the number of images, each image has numbers of its own:
    then an image alone is another sample of the network than the same image in a batch.

    Args:
        program: the traced model.
        layer: one that has a tangent.
    """
    assert layer.tangent is not None
    path = program.ancestors(layer.tangent)
    wanted = [operand for equation in path for operand in equation.operands if not operand.tangent]
    if layer.value is not None:
        wanted.append(layer.value)
    shapes: list[tuple[int, ...]] = []
    for equation in program.needed(wanted):
        if about(equation.primitive).kind is Kind.DRAW:
            shapes.append(equation.result.shape)
        shapes += _inside(equation.params)
    return shapes


def _inside(params: Mapping[str, Any]) -> Iterator[tuple[int, ...]]:
    """The shapes that are drawn in the bodies of loops and branches."""
    for value in params.values():
        for body in value if isinstance(value, tuple | list) else [value]:
            jaxpr = getattr(body, "jaxpr", body)
            for equation in getattr(jaxpr, "eqns", ()):
                if about(equation.primitive.name).kind is Kind.DRAW:
                    yield tuple(equation.outvars[0].aval.shape)
                yield from _inside(equation.params)
