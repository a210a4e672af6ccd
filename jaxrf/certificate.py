"""The certificate of a run: the values of the units in the engine's forward pass are those of the model itself.

The engine runs a flattened program, on a crop, through quicker forms of some operations.
The first batch is run through the user's model as it is, and both must agree.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxrf.adapters import Subject, intercepting
from jaxrf.compiler import jit
from jaxrf.errors import CheckError
from jaxrf.faults import fault
from jaxrf.tangent.trace import output_name

LIMIT = {"float64": 1e-9, "float32": 1e-2}
"""Largest difference relative to the largest value, of a hundred layers; coarser types are not certified."""


def certify(
    subject: Subject,
    layer: str,
    variables: Any,
    calls: Sequence[np.ndarray],
    mine: np.ndarray,
    pick: Callable[[np.ndarray, int], np.ndarray],
) -> float | None:
    """Compare values of units with the model's own.

    Args:
        subject: the model.
        layer: whose units they are.
        variables: the model's variables.
        calls: the images, whole ones (n, ...), as the model is called with them: all at once, or one by one.
        mine: (n, unit, channel), from the engine.
        pick: takes those units out of the layer's value for a number of images.

    Returns:
        The largest difference relative to the largest value; None where the layer is inside a loop of the model,
        its type is too coarse to tell, a value is not finite, or XLA is known to compute the model wrongly.

    Raises:
        CheckError: they differ by more than rounding.
    """
    limit = LIMIT.get(str(mine.dtype))
    values = model_values(subject, layer, variables, calls) if limit is not None and mine.shape[-1] else None
    if values is None or limit is None:
        return None
    theirs = np.concatenate([pick(value, len(images)) for value, images in zip(values, calls, strict=True)])
    scale = float(np.abs(theirs).max(initial=0))
    worst = float(np.abs(mine - theirs).max(initial=0)) / (scale or 1.0)
    if not worst <= limit and np.isfinite(theirs).all():
        raise CheckError(
            f"The engine's forward value of layer {layer!r} differs from the model's own by {worst:.3g} of its largest value; "
            f"at most {limit:g} was expected. Is the model a function of its variables and images alone? If it is, this is a "
            "bug of jaxrf: certify=False goes on without this comparison."
        )
    return worst if np.isfinite(worst) else None  # a NaN could not be stored


def model_values(subject: Subject, layer: str, variables: Any, calls: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """The values of a layer, or of an output, when the model is simply called.

    None where they cannot be read, or where XLA is known to compute the model wrongly, with a warning.
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

    compiled = jit(call, quick=True)
    try:
        wrong = fault(compiled.trace(variables, calls[0]).jaxpr)
        if wrong:
            warnings.warn(
                f"{subject.name} runs {wrong}. The maps are those of the model as it is written; its own forward pass is "
                "wrong on this device, and was not compared with the engine's.",
                stacklevel=2,
            )
            return None
        values = [compiled(variables, images) for images in calls]
    except jax.errors.UnexpectedTracerError:
        return None  # the layer is inside the body of a loop or of another transformation
    return None if values[0] is None else [np.asarray(value) for value in values]
