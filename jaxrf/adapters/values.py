"""The value of a layer, or of an output, when the model is simply called."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax

from jaxrf.adapters.subject import Subject
from jaxrf.adapters.tap import intercepting

OUTPUT = "output"


def output_name(leaf: str) -> str:
    """The layer's name of an output leaf; a model with one array for an output has the leaf ""."""
    return f"{OUTPUT}/{leaf}" if leaf else OUTPUT


def layer_value(subject: Subject, layer: str) -> Callable[[Any, jax.Array], Any]:
    """`fn(variables, images)`: the value of a layer by its name in the table.

    It is None where the layer is not there, and a tracer that has escaped where the layer is inside the body of a loop.
    """
    found = re.fullmatch(r"(.*?)(?:#(\d+))?", layer)
    assert found is not None
    name, number = found[1], int(found[2] or 0)

    def call(variables: Any, images: jax.Array) -> Any:
        seen: list[jax.Array] = []

        def keep(tapped: str, x: jax.Array) -> jax.Array:
            if tapped == name:
                seen.append(x)
            return x

        with intercepting(keep):
            outputs = subject.fn(variables, images)
        leaves = {
            output_name(jax.tree_util.keystr(path, simple=True, separator="/")): leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path(outputs)
        }
        return leaves[layer] if layer in leaves else seen[number] if number < len(seen) else None

    return call
