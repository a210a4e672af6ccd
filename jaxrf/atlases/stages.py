"""Which layers of a network are the ends of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from jaxrf.geometry.layer_field import LayerField

LONG = 8
"""Modules at one resolution from which on they are cut into four stages, as those of a transformer."""


def stage_ends(layers: Sequence[LayerField]) -> list[str]:
    """The names of the last layers of a network's stages.

    A stage is a run of modules of one resolution, among those that stand directly in the network, or in the one module
    that holds all of it. A run of eight and more is cut into four of about equal length.
    Of a module with several outputs the first one counts. Modules that no path leads to are left out.

    Args:
        layers: the network's table, in order.
    """
    spine = _spine([layer for layer in layers if layer.name != "output" and all(layer.size)])
    ends = []
    for _, group in groupby(spine, key=lambda layer: layer.unit_shape):
        run = [layer.name for layer in group]
        parts = 4 if len(run) >= LONG else 1
        ends += [run[len(run) * part // parts - 1] for part in range(1, parts + 1)]
    return ends or ["output"]


def _spine(layers: Sequence[LayerField], above: str = "") -> list[LayerField]:
    """The modules directly below `above`; where there is one alone, those within it, if there are any."""
    found = [layer for layer in layers if _is_child(layer.name, above)]
    if len(found) == 1:
        return _spine(layers, f"{found[0].name}/") or found
    return found


def _is_child(name: str, above: str) -> bool:
    rest = name.removeprefix(above)
    return name.startswith(above) and "/" not in rest and ("[" not in rest or rest.endswith("[0]"))
