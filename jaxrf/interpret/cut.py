"""Statistics held constant: a program whose named layers keep their main path and lose what sees all positions.

A layer's part of the program is everything between the outputs of the layers before it and its own output.
Inside, two marks are followed from operands to results:

- `reduced`: it went through a sum or a maximum over a whole position axis: means, variances, pooled descriptors;
- `paired`: it was repeated along position axes that it does not have itself: attention weights, whose rows and columns
  are both positions, and what is broadcast over positions.

Where an equation joins operands, those with more marks than another one are cut: `x - mean(x)` keeps x, `x · gate(x)`
keeps the derivative of x, and `softmax(q k) v` that of v.
What has no other path beside it, such as a global pooling alone, stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxrf.adapters.tap import TAP
from jaxrf.equations.program import Equation, Layer, Literal, Operand, TangentProgram, Variable
from jaxrf.errors import InputError, unknown
from jaxrf.geometry.maps import Fixed, Window
from jaxrf.geometry.relations import Product
from jaxrf.interpret.axes import Positions
from jaxrf.interpret.geometry import Geometry
from jaxrf.interpret.links import Link
from jaxrf.primitives.operation import about

Marks = frozenset[str]
NOTE = "its statistics are treated as constant"


def treat_as_constant(program: TangentProgram, names: Sequence[str], spatial: Sequence[int]) -> TangentProgram:
    """The program with the tangents of reduced statistics cut inside the layers `names`.

    Args:
        program: the traced model.
        names: layers, with everything inside of them.
        spatial: axes of the batched input that are positions.

    Raises:
        UnknownNameError: there is no such layer.
        InputError: no derivative passes through the layer, or a single name was given in place of a list.
    """
    if isinstance(names, str):
        raise InputError(f"treat_as_constant={names!r} is one name; a list of names is needed. Write [{names!r}].")
    if not names:
        return program
    layers = dict(program.layers)
    for name in names:
        if name not in layers:
            raise unknown("layer", name, layers, hint="It was named in treat_as_constant.")
        if layers[name].tangent is None:
            raise InputError(f"Layer {name!r} has nothing to treat as constant: {layers[name].note}.")
    known = Geometry(program, tuple(spatial)).positions
    producers = {equation.result: equation for equation in program.linear}
    changed: dict[Equation, Equation] = {}
    for name in names:
        inside = _inside(program, layers[name], producers)
        changed |= _cuts([equation for equation in program.linear if equation in inside], known)
        layers[name] = replace(layers[name], note="; ".join(filter(None, [layers[name].note, NOTE])))
    linear = tuple(changed.get(equation, equation) for equation in program.linear)
    return replace(program, linear=linear, layers=layers)


def _inside(program: TangentProgram, layer: Layer, producers: dict[Variable, Equation]) -> set[Equation]:
    """The equations between the outputs of other layers and that of `layer`; its sublayers are inside."""
    base = layer.name.partition("#")[0]
    outputs = {other.tangent for other in program.layers.values() if other.tangent is not None}
    found: set[Equation] = set()
    todo = [layer.tangent]
    while todo:
        equation = producers.get(todo.pop())  # type: ignore[arg-type]
        if equation is None or equation in found:
            continue
        if equation.primitive == TAP and equation.result is not layer.tangent:
            of = equation.params["name"]
            if equation.result in outputs and not of.startswith(base + "/"):
                continue
        found.add(equation)
        todo += [equation.operands[i] for i in equation.tangents]  # type: ignore[misc]
    return found


def _cuts(inside: Sequence[Equation], known: Positions) -> dict[Equation, Equation]:
    """Equations that lose operands, and what they become."""
    marks: dict[Variable, Marks] = {}
    changed: dict[Equation, Equation] = {}
    for equation in inside:
        links = known.links.get(equation, [])
        mine = {link.operand: _marked(link, marks.get(link.source, frozenset()), known) for link in links}
        kept = {i: m for i, m in mine.items() if not any(other < m for other in mine.values())}
        marks[equation.result] = frozenset().union(*kept.values())
        gone = mine.keys() - kept.keys()
        if gone:
            operands = tuple(_zero(o) if i in gone else o for i, o in enumerate(equation.operands))
            changed[equation] = replace(equation, operands=operands)
    return changed


def _zero(tangent: Operand) -> Literal:
    """A tangent that is zero, without memory."""
    assert isinstance(tangent, Variable)
    return Literal(np.broadcast_to(np.zeros((), tangent.dtype), tangent.shape))


def _marked(link: Link, marks: Marks, known: Positions) -> Marks:
    """The marks of an operand, and what the equation adds to them."""
    operand, result = known.kinds[link.source], known.kinds[link.equation.result]
    if not isinstance(link.relation, Product):
        return marks
    if about(link.equation.primitive).reduces and _reads_whole(link.relation, operand):
        return marks | {"reduced"}
    axes = link.relation.axes
    kept = {out for position, n, (_, out) in zip(operand, link.relation.in_shape, axes) if position and n > 1}
    more = {o for o, (position, n) in enumerate(zip(result, link.relation.out_shape)) if position and n > 1}
    return marks | {"paired"} if None not in kept and kept < more else marks


def _reads_whole(relation: Product, kinds: tuple[bool, ...]) -> bool:
    """Whether a position axis of more than one position is read to its whole length by a single position."""
    for position, (axis_map, out) in zip(kinds, relation.axes):
        if not position or axis_map.in_size == 1:
            continue
        if out is None and isinstance(axis_map, Fixed) and axis_map.whole:
            return True
        if isinstance(axis_map, Window) and axis_map.out_size == 1 and len(axis_map.offsets) >= axis_map.in_size:
            return True
    return False
