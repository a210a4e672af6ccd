"""What layers cost: multiply-adds of the derivative, of each layer alone and of all that leads to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from jaxrf.equations.program import Layer, TangentProgram, Variable
from jaxrf.primitives import rules


class Flops(NamedTuple):
    """Multiply-adds of a layer, counted as two.

    Attributes:
        own: of the layer and those inside it, in this call of it; None where they cannot be told from those around it.
        so_far: of all that lies on paths from the input to it.
    """

    own: int | None
    so_far: int


def flops(program: TangentProgram, layers: Collection[Layer]) -> dict[str, Flops]:
    """What layers cost, by their names."""
    costs = [rules[eqn.primitive].flops(eqn) if eqn.primitive in rules else 0 for eqn in program.linear]
    cost = np.array([one for one in costs if one], np.int64)
    behind, within = _reached(program, costs)
    none = np.zeros(len(cost), bool)
    earlier: dict[str, np.ndarray] = {}  # what is behind the calls of a module so far
    here: dict[tuple[str, int], np.ndarray] = {}
    for layer in sorted(layers, key=lambda layer: layer.call):
        reached = behind.get(layer.tangent, none) if layer.tangent else none
        here.setdefault((layer.module, layer.call), earlier.get(layer.module, none))
        earlier[layer.module] = earlier.get(layer.module, none) | reached
    found = {}
    for layer in layers:
        reached = behind.get(layer.tangent, none) if layer.tangent else none
        mine = reached & within.get(layer.module, none) & ~here[layer.module, layer.call]
        known = layer.module in within or layer.parameters is not None
        found[layer.name] = Flops(int(cost[mine].sum()) if known else None, int(cost[reached].sum()))
    return found


def _reached(
    program: TangentProgram, costs: list[int]
) -> tuple[Mapping[Variable, np.ndarray], Mapping[str, np.ndarray]]:
    """Which of the equations that cost something each variable depends on, and which belong to each module."""
    place, count = 0, sum(map(bool, costs))
    behind: dict[Variable, np.ndarray] = {}
    within: dict[str, np.ndarray] = {}
    for eqn, cost in zip(program.linear, costs):
        used = np.zeros(count, bool)
        for i in eqn.tangents:
            used |= behind.get(eqn.operands[i], False)  # type: ignore[arg-type]
        if cost:
            used[place] = True
            for module in eqn.layers:
                within.setdefault(module, np.zeros(count, bool))[place] = True
            place += 1
        behind[eqn.result] = used
    return behind, within
