"""What is known of a traced model before any weight or image is.

One value that tables, counts of paths, windows, crops and plans read. It takes a program and yields its parts, each
computed at its first use and once; relations of equations are kept by the program itself, so that they are shared with
whoever reads it. It never looks at units or samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from jaxrf.equations.program import Layer, TangentProgram, Variable
from jaxrf.interpret.axes import Positions, positions
from jaxrf.interpret.fields import Boxes, boxes
from jaxrf.interpret.flops import Flops, flops
from jaxrf.interpret.links import Links, links_of
from jaxrf.interpret.units import UnitAxes, unit_axes


@dataclass(frozen=True, eq=False)
class Geometry:
    """A program and what its shapes and constants tell.

    Attributes:
        program: the traced model.
        spatial: axes of the batched input that are positions.
        unknown: "raise" for primitives without a rule, or "global": they see everything.
    """

    program: TangentProgram
    spatial: tuple[int, ...]
    unknown: str = "raise"
    _seen: dict[Variable, Boxes] = field(default_factory=dict, repr=False)

    @cached_property
    def boxes(self) -> Boxes:
        """Fields on the input of all layers.

        Raises:
            UnknownPrimitiveError: an operation has no rule, and `unknown` is "raise".
        """
        return self.boxes_on(self.program.input)

    @cached_property
    def all_boxes(self) -> Boxes:
        """Fields on the input of all variables of the derivative, not of layers alone: n² of them behind scores of n tokens."""
        return boxes(self.program, self.program.input, self.unknown, [eqn.result for eqn in self.program.linear])

    def boxes_on(self, source: Variable) -> Boxes:
        """Fields on a variable, of all layers behind it.

        Raises:
            UnknownPrimitiveError: as for `boxes`.
        """
        if source not in self._seen:
            self._seen[source] = boxes(self.program, source, self.unknown)
        return self._seen[source]

    @cached_property
    def links(self) -> Links:
        """How results depend on operands, behind the input; operations without a rule see everything."""
        return links_of(self.program, "global")

    @cached_property
    def units(self) -> Mapping[str, UnitAxes]:
        """How the axes of the layers are read, by name."""
        return unit_axes(self.program, self.spatial, self.links)

    def start(self, source: Layer | None) -> UnitAxes:
        """How the axes of what fields are on are read: of a layer, or of the input if None."""
        return UnitAxes(self.spatial, 0, 1) if source is None else self.units[source.name]

    @cached_property
    def positions(self) -> Positions:
        """Which axes of which variables hold positions."""
        return positions(self.program, self.spatial, self.links, self.units)

    @cached_property
    def flops(self) -> Mapping[str, Flops]:
        """What each layer costs by itself, and all that leads to it, by its name."""
        return flops(self.program, self.program.layers.values())
